"""A small product on the machinery: a Widget has so many Parts of one colour, and says so in its status.

Small on purpose. Everything is there that a reconciler does to a cluster (children with names of their own,
apply, deletion by uid, a finalizer, a status) and nothing resyncs: a change that is lost stays lost.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from controller.kube.client import Client
from controller.kube.controller import Done
from controller.kube.errors import AlreadyExists, Conflict, NotFound
from controller.kube.informer import Informer
from controller.kube.objects import KubeObject
from controller.kube.resource import Resource
from controller.kube.workqueue import WorkQueue
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry
from hack.devcluster.store import Change
from tests.sim.http import Incoming
from tests.sim.trace import Trace

GROUP, NAMESPACE = "sim.example", "default"
WIDGETS = Resource(GROUP, "v1", "widgets", "Widget")
PARTS = Resource(GROUP, "v1", "parts", "Part")
WIDGET_KIND: GroupResource = (GROUP, "widgets")
PART_KIND: GroupResource = (GROUP, "parts")
FINALIZER = f"{GROUP}/parts"
OWNER = "owner"
COLORS = ("red", "green", "blue")

Key = tuple[str, str]


class WidgetSpec(msgspec.Struct, frozen=True):
    parts: int = 0
    color: str = ""


class WidgetStatus(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    painted: int = 0


class Widget(KubeObject, frozen=True, gc=False, kw_only=True):
    spec: WidgetSpec = WidgetSpec()
    status: WidgetStatus = WidgetStatus()


class PartSpec(msgspec.Struct, frozen=True):
    color: str = ""


class PartStatus(msgspec.Struct, frozen=True):
    color: str = ""


class Part(KubeObject, frozen=True, gc=False, kw_only=True):
    spec: PartSpec = PartSpec()
    status: PartStatus = PartStatus()

    @property
    def owner(self) -> str:
        references = self.metadata.owner_references or ()
        return next((each.uid for each in references if each.controller), "")


class WidgetReconciler:
    """``await reconciler(key)``, level-triggered and without memory."""

    def __init__(self, client: Client, widgets: Informer[Widget], parts: Informer[Part]) -> None:
        self._client, self._widgets, self._parts = client, widgets, parts

    async def __call__(self, key: Key) -> Done:
        widget = self._widgets.store.get(*key)
        if widget is None:
            return Done()
        parts = self._parts.store.by_index(OWNER, widget.uid)
        try:
            if widget.metadata.deletion_timestamp:
                await self._clean_up(widget, parts)
            elif FINALIZER not in (widget.metadata.finalizers or ()):
                await self._set_finalizers(widget, [*(widget.metadata.finalizers or ()), FINALIZER])
            else:
                await self._shape(widget, {part.name: part for part in parts})
        except NotFound:
            # What we acted on is gone, and the cache will say so.
            return Done()
        return Done()

    async def _clean_up(self, widget: Widget, parts: list[Part]) -> None:
        for part in parts:
            await self._delete(part)
        if not parts and FINALIZER in (widget.metadata.finalizers or ()):
            rest = [name for name in widget.metadata.finalizers or () if name != FINALIZER]
            await self._set_finalizers(widget, rest)

    async def _set_finalizers(self, widget: Widget, names: list[str]) -> None:
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": widget.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": names},
        ]
        await self._client.json_patch(WIDGETS, widget.name, widget.namespace, patch)

    async def _shape(self, widget: Widget, parts: dict[str, Part]) -> None:
        wanted = [part_name(widget.name, number) for number in range(widget.spec.parts)]
        for name in wanted:
            if name not in parts:
                await self._create(widget, name)
            elif parts[name].spec.color != widget.spec.color:
                spec = {"color": widget.spec.color}
                content = {"metadata": {"name": name, "namespace": widget.namespace}, "spec": spec}
                await self._client.apply(PARTS, content, field_manager="widgets")
        for name in sorted(parts.keys() - {*wanted}):
            await self._delete(parts[name])
        await self._report(widget, parts)

    async def _create(self, widget: Widget, name: str) -> None:
        # A cache that has not heard of the owner's end would make parts as fast as the collector takes them.
        newest = await self._client.get(WIDGETS, widget.name, widget.namespace, as_=Widget)
        if newest.uid != widget.uid:
            return
        owner = {"apiVersion": WIDGETS.api_version, "kind": WIDGETS.kind, "name": widget.name}
        metadata = {
            "name": name,
            "namespace": widget.namespace,
            "ownerReferences": [{**owner, "uid": widget.uid, "controller": True}],
        }
        body = {"apiVersion": PARTS.api_version, "kind": PARTS.kind, "metadata": metadata}
        try:
            await self._client.create(PARTS, {**body, "spec": {"color": widget.spec.color}})
        except AlreadyExists:
            found = await self._client.get(PARTS, name, widget.namespace, as_=Part)
            if found.owner != widget.uid:
                # Of a namesake that was deleted: the collector takes it away, and then there is room.
                raise

    async def _delete(self, part: Part) -> None:
        with contextlib.suppress(NotFound, Conflict):
            await self._client.delete(PARTS, part.name, part.namespace, uid=part.uid)

    async def _report(self, widget: Widget, parts: dict[str, Part]) -> None:
        painted = sum(part.status.color == widget.spec.color for part in parts.values())
        status = WidgetStatus(widget.metadata.generation, painted)
        if status != widget.status:
            metadata = {"resourceVersion": widget.resource_version}
            body = {"metadata": metadata, "status": msgspec.to_builtins(status)}
            await self._client.merge_patch(WIDGETS, widget.name, widget.namespace, body, subresource="status")


def part_name(widget: str, number: int) -> str:
    """What makes a second try harmless."""
    return f"{widget}-{number}"


def build_caches(
    client: Client, queue: WorkQueue[Key], streamed: bool
) -> tuple[Informer[Widget], Informer[Part]]:
    """The informers, with the handlers that wake."""
    widgets = Informer(client, WIDGETS, Widget, streamed=streamed)
    parts = Informer(client, PARTS, Part, indexes={OWNER: lambda part: (part.owner,)}, streamed=not streamed)

    def on_widget(old: Widget | None, new: Widget | None) -> None:
        item = new or old
        if item is not None and (old is None or new is None or _asked(old) != _asked(new)):
            queue.add((item.namespace, item.name))

    def on_part(old: Part | None, new: Part | None) -> None:
        for item in (old, new):
            if item is not None:
                for reference in item.metadata.owner_references or ():
                    queue.add((item.namespace, reference.name))

    widgets.add_handler(on_widget)
    parts.add_handler(on_part)
    return widgets, parts


def _asked(widget: Widget) -> tuple[object, ...]:
    return (
        widget.uid,
        widget.metadata.generation,
        widget.metadata.finalizers,
        widget.metadata.deletion_timestamp,
        widget.status,
    )


# --- the world around it ---------------------------------------------------------------------------


def definition(kind: Resource) -> Obj:
    """The custom resource definition."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"plural": kind.plural, "kind": kind.kind, "singular": kind.kind.lower()},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


class WidgetWorld:
    """Users who change their minds, somebody who breaks things, the painter of parts, the collector."""

    observed: tuple[GroupResource, ...] = (WIDGET_KIND, PART_KIND)

    def __init__(self, registry: Registry, trace: Trace, seed: int) -> None:
        self._registry, self._trace = registry, trace
        self._chance = random.Random(f"widgets {seed}")
        self.made: Counter[tuple[str, str]] = Counter()
        """Parts by owner's uid and name: how often each was made, less how often it went."""
        for kind in (WIDGETS, PARTS):
            registry.create(("apiextensions.k8s.io", "customresourcedefinitions"), definition(kind))

    # --- what users do -------------------------------------------------------------------------------

    def script(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When somebody does something, and what."""
        names = [f"w{number}" for number in range(self._chance.randint(1, 5))]
        for name in names:
            yield self._chance.choice((0.0, self._chance.uniform(0.0, seconds))), f"make {name}"
        verbs = ("change", "change", "change", "delete", "make", "break", "wipe")
        for _ in range(self._chance.randint(0, 8)):
            yield (
                self._chance.uniform(1.0, seconds),
                f"{self._chance.choice(verbs)} {self._chance.choice(names)}",
            )

    def do(self, what: str) -> None:
        """One step of the script; raises ApiStatus where it makes no sense any more."""
        verb, name = what.split()
        spec = {"parts": self._chance.randint(0, 4), "color": self._chance.choice(COLORS)}
        match verb:
            case "make":
                self._registry.create(
                    WIDGET_KIND, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
                )
            case "change":
                self._registry.modify(WIDGET_KIND, (NAMESPACE, name), lambda old: old | {"spec": spec})
            case "delete":
                self._registry.delete(WIDGET_KIND, NAMESPACE, name)
            case "break":
                self._registry.delete(PART_KIND, NAMESPACE, part_name(name, self._chance.randint(0, 3)))
            case "wipe":
                self._registry.modify(
                    WIDGET_KIND, (NAMESPACE, name), lambda old: old | {"status": {}}, subresource="status"
                )

    # --- what follows --------------------------------------------------------------------------------

    def committed(self, request: Incoming | None, gr: GroupResource, change: Change) -> tuple[str, float]:
        """Checks a change; what the cluster's own controllers do about it, and after how long."""
        if gr == WIDGET_KIND:
            self._check_status(request, change)
            return ("collect", self._chance.uniform(0.1, 3.0)) if change.new is None else ("", 0.0)
        self._count(change)
        return f"paint {change.last['metadata']['name']}", self._chance.uniform(0.05, 4.0)

    def follow(self, what: str) -> None:
        """Do it; raises ApiStatus when it is no longer there."""
        verb, _, name = what.partition(" ")
        if verb == "collect":
            self._collect()
        else:
            self._collect()
            self._registry.modify(
                PART_KIND,
                (NAMESPACE, name),
                lambda old: old | {"status": {"color": old["spec"]["color"]}},
                subresource="status",
            )

    def _collect(self) -> None:
        owners = {each["metadata"]["uid"] for each in self._registry.list(WIDGET_KIND)[0]}
        for part in self._registry.list(PART_KIND)[0]:
            if owner_of(part) not in owners:
                self._registry.delete(PART_KIND, NAMESPACE, part["metadata"]["name"])

    def _check_status(self, request: Incoming | None, change: Change) -> None:
        if change.old is None or change.new is None or request is None:
            return
        before, after = (
            (each.get("status") or {}).get("observedGeneration", 0) for each in (change.old, change.new)
        )
        if after < before:
            raise self._trace.fail("checks", f"observedGeneration goes back from {before} to {after}")

    def _count(self, change: Change) -> None:
        metadata = change.last["metadata"]
        owner = owner_of(change.last)
        name = (owner, metadata["name"])
        if change.old is None:
            self.made[name] += 1
        elif change.new is None:
            self.made[name] -= 1
        if self.made[name] > 1:
            raise self._trace.fail("checks", f"part {metadata['name']} is there twice")

    # --- rest ----------------------------------------------------------------------------------------

    def unfinished(self) -> Iterator[str]:
        """What is not yet as its users want it."""
        parts = self._registry.list(PART_KIND)[0]
        widgets = self._registry.list(WIDGET_KIND)[0]
        for part in parts:
            if owner_of(part) not in {each["metadata"]["uid"] for each in widgets}:
                yield f"part {part['metadata']['name']} has no owner"
        for widget in widgets:
            yield from self._unfinished(widget, parts)

    def _unfinished(self, widget: Obj, parts: list[Obj]) -> Iterator[str]:
        metadata, spec = widget["metadata"], widget["spec"]
        if metadata.get("deletionTimestamp"):
            yield f"{metadata['name']} is still being deleted"
            return
        own = {
            each["metadata"]["name"]: (each["spec"]["color"], (each.get("status") or {}).get("color"))
            for each in parts
            if owner_of(each) == metadata["uid"]
        }
        wanted = {
            part_name(metadata["name"], number): (spec["color"], spec["color"])
            for number in range(spec["parts"])
        }
        if own != wanted:
            yield f"{metadata['name']} has {own}, not {wanted}"
        status = {"observedGeneration": metadata["generation"], "painted": spec["parts"]}
        if widget.get("status") != status:
            yield f"{metadata['name']} says {widget.get('status')}, not {status}"


def owner_of(part: Obj) -> str:
    """The uid of the widget."""
    return str(((part["metadata"].get("ownerReferences") or [{}])[0]).get("uid", ""))
