"""A container's environment and command line, resolved as the kubelet resolves them.

Guarantee: the same order of precedence, ``$(VAR)`` expansion and error texts as the kubelet's.
Non-guarantee: of a Service's variables only those of ``kubernetes`` exist.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import Obj
from hack.devcluster.quantities import value
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CONFIG_MAPS, SECRETS, annotations_of, labels_of, namespace_of

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^()$]*)\))")
_INDEXED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class ConfigError(Exception):
    """Why a container cannot be created yet; the text is what ``kubectl describe`` shows."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the downward API can tell beyond the pod's own object."""

    pod: Obj
    address: str
    node: str


def field_value(facts: PodFacts, path: str) -> str:
    """The value of a ``fieldRef``."""
    indexed = _INDEXED.fullmatch(path)
    if indexed:
        source = labels_of if indexed[1] == "labels" else annotations_of
        return source(facts.pod).get(indexed[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        source = labels_of if path.endswith("labels") else annotations_of
        return "\n".join(f'{key}="{value}"' for key, value in sorted(source(facts.pod).items()))
    metadata, spec = facts.pod["metadata"], facts.pod["spec"]
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": facts.node,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
        "status.hostIP": "127.0.0.1",
    }
    if path not in known:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(known[path])


def resource_value(container: Obj, reference: Obj) -> str:
    """The value of a ``resourceFieldRef``, rounded up to whole divisors."""
    kind, _, resource = reference["resource"].partition(".")
    amounts = (container.get("resources") or {}).get(kind) or {}
    divisor = value(str(reference.get("divisor") or "1")) or Decimal(1)
    return str(math.ceil(value(str(amounts.get(resource, "0"))) / divisor))


def expand(text: str, known: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced where NAME is known, ``$$`` is ``$``, everything else left as it is."""
    return _REFERENCE.sub(lambda m: "$" if m[1] else known.get(m[2], m[0]), text)


def resolve(registry: Registry, facts: PodFacts, container: Obj, base: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``container`` on top of ``base``. Raises ConfigError while something is missing."""
    namespace, result = namespace_of(facts.pod), dict(base)
    for source in container.get("envFrom") or []:
        result |= _all_of(registry, namespace, source)
    for variable in container.get("env") or []:
        if "valueFrom" not in variable:
            result[variable["name"]] = expand(variable.get("value") or "", result)
            continue
        value = _from_source(registry, facts, container, variable["valueFrom"])
        if value is not None:
            result[variable["name"]] = value
    return result


def _all_of(registry: Registry, namespace: str, source: Obj) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for kind, key in (("secret", "secretRef"), ("configmap", "configMapRef")):
        if key in source:
            data = _data(registry, kind, namespace, source[key]) or {}
            return {prefix + name: value.decode(errors="replace") for name, value in data.items()}
    return {}


def _from_source(registry: Registry, facts: PodFacts, container: Obj, source: Obj) -> str | None:
    if "fieldRef" in source:
        return field_value(facts, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(container, source["resourceFieldRef"])
    kind = "secret" if "secretKeyRef" in source else "configmap"
    reference = source["secretKeyRef" if kind == "secret" else "configMapKeyRef"]
    namespace = namespace_of(facts.pod)
    data = _data(registry, kind, namespace, reference)
    if data is not None and reference["key"] in data:
        return data[reference["key"]].decode(errors="replace")
    if reference.get("optional"):
        return None
    spelled = "Secret" if kind == "secret" else "ConfigMap"
    raise ConfigError(f"couldn't find key {reference['key']} in {spelled} {namespace}/{reference['name']}")


def _data(registry: Registry, kind: str, namespace: str, reference: Obj) -> dict[str, bytes] | None:
    try:
        return data_of(registry, kind, namespace, reference["name"])
    except ApiStatus:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind} "{reference["name"]}" not found') from None


def data_of(registry: Registry, kind: str, namespace: str, name: str) -> dict[str, bytes]:
    """The decoded content of a Secret or ConfigMap. Raises ApiStatus."""
    obj: dict[str, Any] = registry.get(SECRETS if kind == "secret" else CONFIG_MAPS, namespace, name)
    encoded = obj.get("data" if kind == "secret" else "binaryData") or {}
    data = {key: base64.b64decode(value) for key, value in encoded.items()}
    if kind != "secret":
        data |= {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return data


def command_line(
    container: Obj, entrypoint: Sequence[str], args: Sequence[str], env: Mapping[str, str]
) -> list[str]:
    """``command`` replaces the image's entrypoint and its arguments, ``args`` its arguments only."""
    command = [expand(each, env) for each in container.get("command") or []]
    given = [expand(each, env) for each in container.get("args") or []]
    if command:
        return command + given
    return [*entrypoint, *(given or args)]
