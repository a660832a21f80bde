"""The API server without HTTP: every read and write goes through here, the node's and the controllers' too.

Guarantee: what LIBRARIES of API semantics call correctness: one version counter, conflicts on stale
versions, a write that changes nothing leaves no trace, status and the rest never written through each
other's door, generation, finalizers and deletion, ownership of fields, defaults and validation.
Non-guarantee: authentication and authorisation are the server's (:mod:`apiserver`), not asked here.
Objects that are handed out are shared: a caller copies before it changes one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from hack.devcluster import builtin_rules, crd, lifecycle, metadata, rules
from hack.devcluster.apply import apply
from hack.devcluster.errors import (
    ApiStatus,
    Cause,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_field,
    no_such_path,
    not_found,
    stale,
)
from hack.devcluster.kinds import Kind, Kinds, Version
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting, timestamp
from hack.devcluster.ownership import Manager, Ownership
from hack.devcluster.schema import default, prune, validate
from hack.devcluster.selectors import predicate
from hack.devcluster.store import Store

__all__ = ["ApiStatus", "GroupResource", "Registry", "WriteOptions"]

CRDS: GroupResource = ("apiextensions.k8s.io", "customresourcedefinitions")
NAMESPACES: GroupResource = ("", "namespaces")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    manager: str = "devcluster"
    dry_run: bool = False
    version: str = ""
    """The API version that the writer speaks; empty means the stored one."""


_DEFAULT = WriteOptions()


class Registry:
    """``now`` is the clock of everything that is stamped; ``root_ca`` goes into every namespace."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        history: int = 5000,
        root_ca: str = "",
    ) -> None:
        self.kinds = Kinds()
        self.store = Store(history)
        self._now = now
        self._root_ca = root_ca
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self.create(NAMESPACES, {"metadata": {"name": name}})

    @property
    def version(self) -> int:
        return self.store.version

    def now(self) -> datetime:
        return self._now()

    def kind(self, gr: GroupResource) -> Kind:
        """Raises ApiStatus(404) for a type that is not served."""
        kind = self.kinds.get(gr)
        if kind is None:
            raise no_such_path()
        return kind

    # --- reading ------------------------------------------------------------------------------------

    def get(self, gr: GroupResource, namespace: str, name: str) -> Obj:
        """Raises ApiStatus(404)."""
        kind = self.kind(gr)
        obj = self.store.get(gr, (namespace if kind.namespaced else "", name))
        if obj is None:
            raise not_found(gr, name)
        return obj

    def find(self, gr: GroupResource, namespace: str, name: str) -> Obj | None:
        return self.store.get(gr, (namespace, name))

    def list(
        self,
        gr: GroupResource,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        at: int | None = None,
    ) -> tuple[list[Obj], int]:
        """Objects, and the version that they are the state of. No namespace means all of them."""
        accepts = predicate(label_selector, field_selector, self.kind(gr).selectable)
        found = [
            obj
            for obj in self.store.list(gr, at)
            if (not namespace or obj["metadata"].get("namespace") == namespace) and accepts(obj)
        ]
        return found, self.store.version if at is None else at

    async def watch(self, gr: GroupResource, since: int) -> AsyncIterator[tuple[str, Obj]]:
        """Type and object of exactly the changes after ``since``. Raises ApiStatus(410)."""
        async for change in self.store.watch(gr, since):
            yield change.type, change.last

    async def wait_for_change(self) -> None:
        """Until anything at all is written."""
        await self.store.wait_for_change()

    # --- writing ------------------------------------------------------------------------------------

    def create(self, gr: GroupResource, obj: Obj, options: WriteOptions = _DEFAULT) -> Obj:
        """Raises ApiStatus: 409 when it exists, 422 when it is invalid, 403 in a terminating namespace."""
        return self._create(self.kind(gr), obj, options, None)

    def _create(self, kind: Kind, obj: Obj, options: WriteOptions, ownership: Ownership | None) -> Obj:
        new = self._typed(kind, obj)
        if dig(new, "metadata", "resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        metadata.fresh(new, kind, self._stamp())
        self._check_namespace(kind, new)
        if "status" in kind.storage.subresources and kind.gr != NAMESPACES:
            new.pop("status", None)
        self._default(kind, new)
        owners = ownership or self._tracked(kind, {}, new, options, "")
        self._check(kind, new, None)
        if self.store.get(kind.gr, self._key(kind, new)) is not None:
            raise already_exists(kind.gr, new["metadata"]["name"])
        owners.write(new, kind.api_version(options.version or kind.storage.name), self._stamp())
        if options.dry_run:
            return new
        stored = self.store.put(kind.gr, new)
        return self._after_write(kind, stored)

    def update(
        self, gr: GroupResource, obj: Obj, *, subresource: str = "", options: WriteOptions = _DEFAULT
    ) -> Obj:
        """Replace. Raises ApiStatus: 404, 409 when version or uid are not the stored one's, 422."""
        kind = self.kind(gr)
        typed = self._typed(kind, obj)
        old = self.get(gr, typed["metadata"].get("namespace", ""), typed["metadata"].get("name", ""))
        if kind.is_custom and not typed["metadata"].get("resourceVersion"):
            cause = invalid_field("metadata.resourceVersion", 0, "must be specified for an update")
            raise invalid(kind.plural, kind.group, typed["metadata"]["name"], [cause])
        return self._replace(kind, old, typed, options, subresource)

    def update_status(self, gr: GroupResource, obj: Obj) -> Obj:
        return self.update(gr, obj, subresource="status")

    def modify(
        self,
        gr: GroupResource,
        key: tuple[str, str],
        change: Callable[[Obj], Obj],
        *,
        subresource: str = "",
        options: WriteOptions = _DEFAULT,
    ) -> Obj:
        """Read, ``change`` a copy, write, with nothing in between: what a patch is."""
        kind = self.kind(gr)
        old = self.get(gr, *key)
        changed = self._typed(kind, change(copy(old)))
        if (changed["metadata"].get("name"), changed["metadata"].get("namespace", "")) != (key[1], key[0]):
            raise bad_request("the name or namespace of the object does not match the one in the URL")
        return self._replace(kind, old, changed, options, subresource)

    def apply(
        self,
        gr: GroupResource,
        obj: Obj,
        *,
        force: bool = False,
        subresource: str = "",
        options: WriteOptions = _DEFAULT,
    ) -> tuple[Obj, bool]:
        """Server-side apply: the object, and whether it was made. Raises ApiStatus(409) for a conflict."""
        kind = self.kind(gr)
        applied = self._typed(kind, obj)
        if applied["metadata"].pop("managedFields", None):
            raise bad_request("metadata.managedFields must be nil")
        key = self._key(kind, applied)
        live = self.store.get(gr, key)
        version = applied["metadata"].pop("resourceVersion", None)
        if live is None and (subresource or version):
            raise not_found(gr, key[1]) if subresource else stale(gr, key[1])
        if version and live and version != live["metadata"]["resourceVersion"]:
            raise stale(gr, key[1])
        _keep_to_door(kind.storage, applied, subresource)
        manager = (options.manager, "Apply", subresource)
        base = live or {"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": {}}
        new, ownership = apply(kind.storage.schema, base, applied, manager, force=force)
        if live is None:
            return self._create(kind, new, options, ownership), True
        return self._replace(kind, live, new, options, subresource, ownership), False

    def delete(
        self,
        gr: GroupResource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = "Background",
        grace_seconds: int | None = None,
        dry_run: bool = False,
    ) -> Obj:
        """Delete, or mark as being deleted; the last state. Raises ApiStatus: 404, 409 for a precondition."""
        kind = self.kind(gr)
        old = self.get(gr, namespace, name)
        for field, wanted in (("uid", uid), ("resourceVersion", resource_version)):
            actual = old["metadata"][field]
            if wanted and wanted != actual:
                label = "UID" if field == "uid" else "ResourceVersion"
                raise conflict(gr, name, _precondition(label, wanted, actual))
        new = lifecycle.deleting(kind, old, self._now(), propagation, grace_seconds)
        if dry_run:
            return new
        return self._settle(kind, old, new)

    # --- how a write is done ------------------------------------------------------------------------

    def _replace(
        self,
        kind: Kind,
        old: Obj,
        new: Obj,
        options: WriteOptions,
        subresource: str,
        ownership: Ownership | None = None,
    ) -> Obj:
        name = old["metadata"]["name"]
        wanted_uid = new["metadata"].get("uid")
        if wanted_uid and wanted_uid != old["metadata"]["uid"]:
            raise conflict(kind.gr, name, _precondition("UID", wanted_uid, old["metadata"]["uid"]))
        version = new["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise stale(kind.gr, name)
        new = _through_door(kind.storage, old, new, subresource)
        metadata.carry_over(old, new)
        self._default(kind, new)
        owners = ownership or self._tracked(kind, old, new, options, subresource)
        self._check(kind, new, old)
        if lifecycle.needs_generation(kind, old, new):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        owners.write(new, kind.api_version(options.version or kind.storage.name), self._stamp())
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        return new if options.dry_run else self._settle(kind, old, new)

    def _settle(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """Store ``new`` unless nothing changed; an object whose deletion nothing holds up goes instead."""
        if lifecycle.is_gone(kind, new):
            last = self.store.remove(kind.gr, self._key(kind, new), new)
            self._after_remove(kind, last)
            return last
        if new == old:
            return old
        stored = self.store.put(kind.gr, new)
        return self._after_write(kind, stored)

    def _typed(self, kind: Kind, obj: Obj) -> Obj:
        """A copy in the stored version, without fields that the type does not have."""
        new: Obj = copy(obj)
        if not isinstance(new.get("metadata"), dict):
            new["metadata"] = {}
        new = {"apiVersion": kind.api_version(kind.storage.name), "kind": kind.kind} | {
            name: value for name, value in new.items() if name not in ("apiVersion", "kind")
        }
        prune(kind.storage.schema, new, drop_null=not kind.is_custom)
        prune({"$ref": "#/components/schemas/V1ObjectMeta"}, new["metadata"], drop_null=True)
        return new

    def _default(self, kind: Kind, new: Obj) -> None:
        """What a real server's decoder fills in; the writer is taken to have said it."""
        if not kind.is_custom:
            builtin_rules.check_types(kind, new)
        default(kind.storage.schema, new)
        builtin_rules.default(kind, new)

    def _check(self, kind: Kind, new: Obj, old: Obj | None) -> None:
        """What admission fills in, which nobody owns; and validation. Raises ApiStatus."""
        builtin_rules.prepare(kind, new, old, self.find)
        if kind.gr == CRDS:
            new.update(crd.with_status(new, self._stamp()) if not list(crd.faults(new)) else {})
        causes = list(self._faults(kind, new, old))
        if causes:
            raise invalid(kind.kind, kind.group, new["metadata"].get("name", ""), causes)

    def _faults(self, kind: Kind, new: Obj, old: Obj | None) -> Iterator[Cause]:
        yield from metadata.faults(new, kind, old)
        if kind.is_custom:
            schema = kind.storage.schema
            yield from rules.checked(schema, new, old, validate(schema, new))
        else:
            yield from builtin_rules.faults(kind, new, old)
        if kind.gr == CRDS:
            yield from crd.faults(new)

    def _tracked(self, kind: Kind, old: Obj, new: Obj, options: WriteOptions, subresource: str) -> Ownership:
        """Who owns what after a plain write of ``new`` over ``old``."""
        resets = new["metadata"].get("managedFields") != dig(old, "metadata", "managedFields")
        ownership = Ownership(new if resets else old)
        manager: Manager = (options.manager, "Update", subresource)
        has_status = "status" in kind.storage.subresources
        with suppress(KeyError, TypeError):  # an item without its key has no path; validation refuses it next
            ownership.track(kind.storage.schema, old, new, manager, has_status=has_status)
        return ownership

    def _check_namespace(self, kind: Kind, obj: Obj) -> None:
        if not kind.namespaced:
            return
        name = obj["metadata"].get("namespace")
        if not name:
            raise bad_request("an object of a namespaced type needs a namespace")
        namespace = self.store.get(NAMESPACES, ("", name))
        if namespace is None:
            raise not_found(NAMESPACES, name)
        if is_deleting(namespace):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            cause = Cause(
                "metadata.namespace", "NamespaceTerminating", f"namespace {name} is being terminated"
            )
            raise forbidden(kind.gr, obj["metadata"].get("name", ""), why, [cause])

    # --- what follows from a write ------------------------------------------------------------------

    def _after_write(self, kind: Kind, obj: Obj) -> Obj:
        if kind.gr == CRDS:
            self._serve(crd.kind_of(obj))
            if is_deleting(obj):
                self._clean_up_definition(obj)
        elif kind.gr == NAMESPACES and not is_deleting(obj):
            self._furnish(obj["metadata"]["name"])
        return obj

    def _serve(self, kind: Kind) -> None:
        """Objects stored under an older schema are read through the new one."""
        self.kinds.add(kind)

        def reread(obj: Obj) -> Obj:
            new = self._typed(kind, obj)
            default(kind.storage.schema, new)
            return new

        self.store.rewrite(kind.gr, reread)

    def _furnish(self, namespace: str) -> None:
        """What a real cluster's controllers put into every namespace, in the same moment."""
        within = {"namespace": namespace}
        if self.find(("", "serviceaccounts"), namespace, "default") is None:
            self.create(("", "serviceaccounts"), {"metadata": {"name": "default", **within}})
        if self.find(("", "configmaps"), namespace, "kube-root-ca.crt") is None:
            trust = {"metadata": {"name": "kube-root-ca.crt", **within}, "data": {"ca.crt": self._root_ca}}
            self.create(("", "configmaps"), trust)

    def _clean_up_definition(self, definition: Obj) -> None:
        """A definition goes after its objects; those with finalizers hold it up."""
        gr = (definition["spec"]["group"], definition["spec"]["names"]["plural"])
        for obj in self.store.list(gr):
            if not is_deleting(obj):
                self.delete(gr, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._finish_definition(gr)

    def _finish_definition(self, gr: GroupResource) -> None:
        name = f"{gr[1]}.{gr[0]}"
        definition = self.find(CRDS, "", name)
        if definition and is_deleting(definition) and not self.store.list(gr):
            self.kinds.remove(gr)
            self.modify(
                CRDS, ("", name), lambda obj: lifecycle.without_finalizer(obj, lifecycle.CRD_FINALIZER)
            )

    def _after_remove(self, kind: Kind, last: Obj) -> None:
        if kind.gr == CRDS:
            self.kinds.remove((last["spec"]["group"], last["spec"]["names"]["plural"]))
        elif kind.is_custom:
            self._finish_definition(kind.gr)

    def _key(self, kind: Kind, obj: Obj) -> tuple[str, str]:
        namespace = obj["metadata"].get("namespace", "") if kind.namespaced else ""
        return namespace, obj["metadata"].get("name", "")

    def _stamp(self) -> str:
        return timestamp(self._now())


def _keep_to_door(version: Version, obj: Obj, subresource: str) -> None:
    """What an applied configuration says through the wrong door is not said, and not owned."""
    if subresource == "status":
        for name in set(obj) - {"apiVersion", "kind", "metadata", "status"}:
            del obj[name]
        known = {name: obj["metadata"][name] for name in ("name", "namespace") if name in obj["metadata"]}
        obj["metadata"] = known
    elif "status" in version.subresources:
        obj.pop("status", None)


def _through_door(version: Version, old: Obj, new: Obj, subresource: str) -> Obj:
    """Only status changes through ``status``, and only the rest without it."""
    if subresource == "status":
        kept: Obj = copy(old)
        kept["metadata"]["managedFields"] = new["metadata"].get("managedFields") or old["metadata"].get(
            "managedFields", []
        )
        kept.pop("status", None)
        return kept | ({"status": new["status"]} if "status" in new else {})
    if "status" in version.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy(old["status"])
    if "finalize" in version.subresources and subresource != "finalize":
        new["spec"] = copy(old.get("spec") or {})
    return new


def _precondition(label: str, wanted: str, actual: str) -> str:
    return f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {actual}"
