"""Everything that can go wrong with the API server, as types; one place turns answers into them.

Guarantee: code outside ``controller.kube`` never sees an exception of the HTTP library. An
:class:`ApiError` means that the server answered, so a write did not happen; a
:class:`ConnectionFailed` means that nobody knows whether it did.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class KubeError(Exception):
    """Base of all errors of this package."""


class ConfigError(KubeError):
    """The kubeconfig or the in-cluster files are missing or make no sense."""


class ConnectionFailed(KubeError):
    """Not reached, or cut before the answer was complete: the outcome of a write is unknown."""


class Fenced(KubeError):
    """Not sent: this process may not write, because it does not lead or cannot be sure that it does."""


class ApiError(KubeError):
    """The server answered with a failure. ``details`` is the Status object's, possibly empty."""

    default_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str = "",
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.default_status if status is None else status
        self.reason = reason
        self.details = details or {}
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.status}{' ' + self.reason if self.reason else ''})"


class BadRequest(ApiError):
    """400."""

    default_status = 400


class Unauthorized(ApiError):
    """401, also with a token that was just read again."""

    default_status = 401


class Forbidden(ApiError):
    """403: RBAC, quota, a terminating namespace, or an admission plugin."""

    default_status = 403


class NotFound(ApiError):
    """404: the object is not there."""

    default_status = 404


class NotServed(ApiError):
    """404 for the path: the server does not know the kind; while it starts, it may only not know it yet.

    Not a :class:`NotFound`, because it says nothing about any object.
    """

    default_status = 404


class Conflict(ApiError):
    """409: the object changed since it was read, or another field manager owns a field."""

    default_status = 409


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists."""

    default_status = 409


class Gone(ApiError):
    """410: the resource version or the continue token is too old."""

    default_status = 410


class Invalid(ApiError):
    """422: the schema or a validation rule refused the object."""

    default_status = 422


class TooManyRequests(ApiError):
    """429: come back after ``retry_after`` seconds, or after a back-off."""

    default_status = 429


class ServerError(ApiError):
    """5xx, timeouts of the server's own included."""


_NO_SUCH_PATH = "the server could not find the requested resource"
_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def api_error(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """The error for an HTTP answer; a body that is no Status (a proxy's page) becomes the message."""
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        text = body[:300].decode("utf-8", "replace").strip()
        class_ = NotServed if status == 404 else _class_for(status, "")
        return class_(text or f"HTTP status {status}", status=status, retry_after=seconds)
    return status_error({"code": status, **document}, retry_after=seconds)


def status_error(status: dict[str, Any], *, retry_after: float | None = None) -> ApiError:
    """The error for a Status object: an HTTP body, a watch's ERROR event, or exec's channel 3."""
    code, reason = int(status.get("code") or 500), str(status.get("reason") or "")
    details, message = status.get("details") or {}, str(status.get("message") or "")
    if retry_after is None and details.get("retryAfterSeconds"):
        retry_after = float(details["retryAfterSeconds"])
    class_ = NotServed if code == 404 and message == _NO_SUCH_PATH else _class_for(code, reason)
    return class_(
        message or reason or f"status {code}",
        status=code,
        reason=reason,
        details=details,
        retry_after=retry_after,
    )


def _class_for(status: int, reason: str) -> type[ApiError]:
    if reason == "AlreadyExists":
        return AlreadyExists
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ServerError if status >= 500 else ApiError
