"""What the API server refuses with: ``metav1.Status`` as an exception, in the server's own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hack.devcluster.objects import GroupResource, Obj


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason among several why an object is refused."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


def required(field: str, hint: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value{': ' + hint if hint else ''}")


def forbidden_field(field: str, why: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")


def invalid_field(field: str, value: object, why: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown(value)}: {why}")


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


class ApiStatus(Exception):
    """An answer that is not a success; ``body`` is what travels."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def body(self) -> Obj:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def qualified(gr: GroupResource) -> str:
    group, plural = gr
    return f"{plural}.{group}" if group else plural


def _details(gr: GroupResource, name: str) -> Obj:
    group, plural = gr
    return {"name": name, **({"group": group} if group else {}), "kind": plural}


def not_found(gr: GroupResource, name: str) -> ApiStatus:
    return ApiStatus(404, "NotFound", f'{qualified(gr)} "{name}" not found', _details(gr, name))


def no_such_path() -> ApiStatus:
    return ApiStatus(404, "NotFound", "the server could not find the requested resource")


def already_exists(gr: GroupResource, name: str) -> ApiStatus:
    return ApiStatus(409, "AlreadyExists", f'{qualified(gr)} "{name}" already exists', _details(gr, name))


def conflict(gr: GroupResource, name: str, why: str) -> ApiStatus:
    message = f'Operation cannot be fulfilled on {qualified(gr)} "{name}": {why}'
    return ApiStatus(409, "Conflict", message, _details(gr, name))


def stale(gr: GroupResource, name: str) -> ApiStatus:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(gr, name, why)


def apply_conflict(causes: Sequence[Cause]) -> ApiStatus:
    """``causes`` name the manager in their message and the field in their field."""
    by_manager: dict[str, list[str]] = {}
    for cause in causes:
        by_manager.setdefault(cause.message, []).append(cause.field)
    told = "\n".join(
        f"{manager}: {fields[0]}"
        if len(fields) == 1
        else f"{manager}:\n" + "\n".join(f"- {field}" for field in fields)
        for manager, fields in by_manager.items()
    )
    plural = "s" if len(causes) > 1 else ""
    return ApiStatus(
        409,
        "Conflict",
        f"Apply failed with {len(causes)} conflict{plural}: {told}",
        {"causes": [_cause(cause) for cause in causes]},
    )


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiStatus:
    told = str(causes[0]) if len(causes) == 1 else "[" + ", ".join(map(str, causes)) + "]"
    qualified_kind = f"{kind}.{group}" if group else kind
    details = {
        "name": name,
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [_cause(cause) for cause in causes],
    }
    return ApiStatus(422, "Invalid", f'{qualified_kind} "{name}" is invalid: {told}', details)


def _cause(cause: Cause) -> Obj:
    return {"reason": cause.reason, "message": cause.message, "field": cause.field}


def bad_request(message: str) -> ApiStatus:
    return ApiStatus(400, "BadRequest", message)


def expired(message: str) -> ApiStatus:
    return ApiStatus(410, "Expired", message)


def unauthorized() -> ApiStatus:
    return ApiStatus(401, "Unauthorized", "Unauthorized")


def forbidden(gr: GroupResource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiStatus:
    details = _details(gr, name)
    if causes:
        details["causes"] = [_cause(cause) for cause in causes]
    named = f' "{name}"' if name else ""
    return ApiStatus(403, "Forbidden", f"{qualified(gr)}{named} is forbidden: {why}", details)


def method_not_allowed() -> ApiStatus:
    message = "the server does not allow this method on the requested resource"
    return ApiStatus(405, "MethodNotAllowed", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiStatus:
    told = f"accepted media types include: {', '.join(accepted)}"
    message = f"the body of the request was in an unknown format - {told}"
    return ApiStatus(415, "UnsupportedMediaType", message)
