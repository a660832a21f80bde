"""Kubernetes' protobuf, decoded: kubectl 1.32 and later send built-in objects in it and never fall back.

Guarantee: the built-in types that ``kubectl create`` and ``kubectl auth`` send, as the JSON that they stand
for. A field whose number is not known is refused, never dropped.
Non-guarantee: answers are JSON. Zeros are left out as Go's ``omitempty`` does, but for a list of fields
where zero says something.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hack.devcluster.errors import bad_request, unsupported_media_type
from hack.devcluster.kinds import BUILT_IN
from hack.devcluster.models import PREFIX, component
from hack.devcluster.objects import Obj, group_of

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_BINARY = frozenset({("V1Secret", "data"), ("V1ConfigMap", "binaryData")})
_REVIEWS = {
    "SelfSubjectAccessReview": "V1SelfSubjectAccessReview",
    "SelfSubjectRulesReview": "V1SelfSubjectRulesReview",
    "SelfSubjectReview": "V1SelfSubjectReview",
    "TokenRequest": "AuthenticationV1TokenRequest",
}
_ZERO_SPEAKS = frozenset(
    {"replicas", "parallelism", "completions", "backoffLimit", "terminationGracePeriodSeconds", "value"}
    | {
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "successfulJobsHistoryLimit",
        "emptyDir",
        "suspend",
    }
    | {"failedJobsHistoryLimit", "startingDeadlineSeconds", "runAsUser", "runAsGroup", "fsGroup", "optional"}
    | {"defaultMode", "mode", "revisionHistoryLimit", "progressDeadlineSeconds", "partition", "privileged"}
    | {"automountServiceAccountToken", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsNonRoot"}
    | {"controller", "blockOwnerDeletion", "immutable", "enableServiceLinks"}
)

Raw = int | bytes


def decode(data: bytes) -> Obj:
    """Raises ApiStatus: 415 for a type that is not known here, 400 for what cannot be read."""
    if not data.startswith(_MAGIC):
        raise bad_request("the body is not a Kubernetes protobuf message")
    try:
        return _envelope(data[len(_MAGIC) :])
    except (IndexError, ValueError, TypeError) as error:
        raise bad_request(f"the protobuf message cannot be read: {error}") from error


def _envelope(data: bytes) -> Obj:
    unknown = dict(_fields(data))
    about = dict(_fields(_bytes(unknown[1])))
    api_version, kind = _bytes(about[1]).decode(), _bytes(about[2]).decode()
    model = _model(group_of(api_version), kind)
    return {"apiVersion": api_version, "kind": kind, **_message(model, model, _bytes(unknown.get(2, b"")))}


def _model(group: str, kind: str) -> str:
    found = next((each for each in BUILT_IN if (each.group, each.kind) == (group, kind)), None)
    model = str(found.storage.schema["$ref"]).removeprefix(PREFIX) if found else _REVIEWS.get(kind, "")
    if model not in _numbers():
        raise unsupported_media_type(("application/json", "application/yaml"))
    return model


@cache
def _numbers() -> dict[str, dict[int, str]]:
    lines = (Path(__file__).parent / "protobuf_fields.txt").read_text(encoding="ascii").splitlines()
    tables = {}
    for model, *fields in (line.split() for line in lines if not line.startswith("#")):
        tables[model] = {int(number): name for number, name in (field.split(":") for field in fields)}
    return tables


def _message(table: str, model: str, data: bytes) -> Obj:
    properties = component(model)["properties"]
    result: Obj = {}
    for number, raw in _fields(data):
        name = _numbers().get(table, {}).get(number)
        if name is None:
            raise bad_request(f"protobuf field {number} of {table} is not known to this server: send JSON")
        if name == "status":
            continue  # what a client says of it at creation is never taken
        if name.startswith("="):
            result |= _message(name[1:], model, _bytes(raw))
        else:
            _put(result, model, name, properties[name], raw)
    return result


def _put(result: Obj, model: str, name: str, schema: Obj, raw: Raw) -> None:
    if schema.get("type") == "array":
        result.setdefault(name, []).append(_value(schema["items"], raw))
    elif "additionalProperties" in schema:
        entry = dict(_fields(_bytes(raw)))
        key, content = _bytes(entry.get(1, b"")).decode(), entry.get(2, b"")
        if (model, name) in _BINARY:
            value: Any = base64.b64encode(_bytes(content)).decode()
        else:
            value = _value(schema["additionalProperties"], content)
        result.setdefault(name, {})[key] = value
    else:
        value = _value(schema, raw)
        if value not in (None, "", 0, {}) or (name in _ZERO_SPEAKS and value != ""):
            result[name] = value


def _value(schema: Obj, raw: Raw) -> Any:
    reference = schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref")
    if reference:
        model = reference.removeprefix(PREFIX)
        return _message(model, model, _bytes(raw))
    if schema.get("format") == "quantity":
        return _bytes(dict(_fields(_bytes(raw))).get(1, b"")).decode()
    if schema.get("format") == "date-time":
        return _time(dict(_fields(_bytes(raw))))
    if schema.get("x-kubernetes-int-or-string"):
        parts = dict(_fields(_bytes(raw)))
        return _bytes(parts.get(3, b"")).decode() if parts.get(1) else _signed(parts.get(2, 0))
    match schema.get("type"):
        case "string":
            return _bytes(raw).decode()
        case "integer":
            return _signed(raw)
        case "boolean":
            return bool(raw)
        case _:
            text = _bytes(dict(_fields(_bytes(raw))).get(1, b""))
            return json.loads(text) if text else None


def _time(parts: dict[int, Raw]) -> str | None:
    if not parts.get(1):
        return None
    return datetime.fromtimestamp(_signed(parts[1]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bytes(raw: Raw) -> bytes:
    if not isinstance(raw, bytes):
        raise TypeError("a number stands where a message or text belongs")
    return raw


def _signed(raw: Raw) -> int:
    if not isinstance(raw, int):
        raise TypeError("a message or text stands where a number belongs")
    return raw - (1 << 64) if raw >> 63 else raw


def _fields(data: bytes) -> Iterator[tuple[int, Raw]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
            case 2:
                length, position = _varint(data, position)
                if position + length > len(data):
                    raise ValueError("it ends too early")
                yield tag >> 3, data[position : position + length]
                position += length
            case other:
                raise ValueError(f"wire type {other} is never sent for these types")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
