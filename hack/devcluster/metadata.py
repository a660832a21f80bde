"""``metadata``: what the server sets, what nobody may change, and which names are names."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from hack.devcluster.errors import Cause, forbidden_field, invalid_field, required
from hack.devcluster.kinds import Kind
from hack.devcluster.objects import Obj, dig

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"(?:(?P<prefix>[^/]+)/)?(?P<name>[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)")
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")

_NAME_RULES: dict[str, tuple[re.Pattern[str], int]] = {
    "namespaces": (LABEL, 63),
    "services": (SERVICE, 63),
    "statefulsets": (SUBDOMAIN, 253),
}
_PATH_SEGMENT = frozenset({"roles", "clusterroles", "rolebindings", "clusterrolebindings"})

_SUBDOMAIN_HINT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def fresh(obj: Obj, kind: Kind, now: str) -> None:
    """What the server sets on a new object, in place."""
    metadata = obj["metadata"]
    for name in (*_SERVER_OWNED, "selfLink"):
        metadata.pop(name, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:58] + uuid.uuid4().hex[:5]
    if not kind.namespaced:
        metadata.pop("namespace", None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now
    if kind.has_generation:
        metadata["generation"] = 1


def carry_over(old: Obj, new: Obj) -> None:
    """Whatever a writer says about them, in place: these are the server's own."""
    metadata = new["metadata"]
    for name in (*_SERVER_OWNED, "generateName"):
        metadata.pop(name, None)
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
    if "managedFields" not in metadata and "managedFields" in old["metadata"]:
        metadata["managedFields"] = old["metadata"]["managedFields"]


def faults(obj: Obj, kind: Kind, old: Obj | None) -> Iterator[Cause]:
    metadata = obj["metadata"]
    yield from _name_faults(metadata, kind)
    yield from _label_faults(metadata)
    for index, reference in enumerate(metadata.get("ownerReferences") or ()):
        path = f"metadata.ownerReferences[{index}]"
        missing = (name for name in ("apiVersion", "kind", "name", "uid") if not reference.get(name))
        yield from (invalid_field(f"{path}.{name}", "", f"{name} must not be empty") for name in missing)
    if sum(bool(each.get("controller")) for each in metadata.get("ownerReferences") or ()) > 1:
        yield invalid_field(
            "metadata.ownerReferences", "", "Only one reference can have Controller set to true."
        )
    for name in metadata.get("finalizers") or ():
        if not _QUALIFIED.fullmatch(name):
            yield invalid_field(
                "metadata.finalizers", name, "name part must consist of alphanumeric characters"
            )
    if old is not None and dig(old, "metadata", "deletionTimestamp"):
        added = set(metadata.get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            told = ", ".join(f'"{name}"' for name in sorted(added))
            why = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers {told}"
            )
            yield forbidden_field("metadata.finalizers", why)


def _name_faults(metadata: Obj, kind: Kind) -> Iterator[Cause]:
    name = metadata.get("name") or ""
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif kind.plural in _PATH_SEGMENT and kind.group == "rbac.authorization.k8s.io":
        if "/" in name or "%" in name or name in (".", ".."):
            yield invalid_field("metadata.name", name, "may not contain '/' or '%'")
    else:
        pattern, longest = _NAME_RULES.get(kind.plural, (SUBDOMAIN, 253))
        if not pattern.fullmatch(name):
            yield invalid_field("metadata.name", name, _SUBDOMAIN_HINT)
        if len(name) > longest:
            yield invalid_field("metadata.name", name, f"must be no more than {longest} characters")


def _label_faults(metadata: Obj) -> Iterator[Cause]:
    for key, value in (metadata.get("labels") or {}).items():
        yield from _key_faults("metadata.labels", key)
        yield from label_value_faults("metadata.labels", value)
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _key_faults("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > 256 * 1024:
        yield Cause("metadata.annotations", "FieldValueTooLong", "Too long: must have at most 262144 bytes")


def _key_faults(path: str, key: str) -> Iterator[Cause]:
    found = _QUALIFIED.fullmatch(key)
    if not found or len(found["name"]) > 63:
        why = "name part must be no more than 63 alphanumeric characters, '-', '_' or '.'"
        yield invalid_field(path, key, why)
    elif found["prefix"] and (len(found["prefix"]) > 253 or not SUBDOMAIN.fullmatch(found["prefix"])):
        yield invalid_field(path, key, f"prefix part {_SUBDOMAIN_HINT}")


def label_value_faults(path: str, value: Any) -> Iterator[Cause]:
    if len(value) > 63:
        yield invalid_field(path, value, "must be no more than 63 characters")
    if not _VALUE.fullmatch(value):
        yield invalid_field(
            path,
            value,
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'",
        )
