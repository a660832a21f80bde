"""Which state of a collection a list asks for: its version, how that is meant, and the place in the pages.

Guarantee: options that a real server refuses are refused with its status and its field; a page's token
carries the version of the first page. At version 0
there are no pages, as where a cache answers. Non-guarantee: ``Any`` and ``NotOlderThan`` are answered
with the newest state, which both allow.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from hack.devcluster.errors import ApiStatus, Cause, bad_request, forbidden_field, invalid, invalid_field
from hack.devcluster.objects import Key
from hack.devcluster.requests import is_true

Query = Mapping[str, str]
_MATCHES = ("Exact", "NotOlderThan")
_FIELD = "resourceVersionMatch"


def check(query: Query, *, watch: bool) -> None:
    """Raises ApiStatus(422) for options that contradict each other."""
    match, version = query.get(_FIELD, ""), query.get("resourceVersion", "")
    initial = watch and is_true(query.get("sendInitialEvents"))
    causes = list(_initial(query, match)) if initial else list(_match(query, match, version, watch=watch))
    if not watch and "sendInitialEvents" in query:
        causes.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if causes:
        raise invalid("ListOptions", "meta.k8s.io", "", causes)


def _initial(query: Query, match: str) -> list[Cause]:
    if match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        return [forbidden_field(_FIELD, why)]
    if query.get("continue"):
        return [forbidden_field("continue", f"{_FIELD} is forbidden when continue is provided")]
    return []


def _match(query: Query, match: str, version: str, *, watch: bool) -> list[Cause]:
    if not match:
        return []
    causes = []
    if watch:
        why = f"{_FIELD} is forbidden for watch unless sendInitialEvents is provided"
        causes.append(forbidden_field(_FIELD, why))
    if not version and not watch:
        causes.append(forbidden_field(_FIELD, f"{_FIELD} is forbidden unless resourceVersion is provided"))
    if query.get("continue"):
        causes.append(forbidden_field(_FIELD, f"{_FIELD} is forbidden when continue is provided"))
    if match not in _MATCHES:
        told = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(Cause(_FIELD, "FieldValueNotSupported", told))
    if match == "Exact" and version == "0":
        causes.append(forbidden_field(_FIELD, f'{_FIELD} "exact" is forbidden for resourceVersion "0"'))
    return causes


def position(query: Query, newest: int) -> tuple[int | None, Key | None]:
    """The version to list at, None for now, and the key to go on after. Raises ApiStatus."""
    asked, match = query.get("resourceVersion", ""), query.get(_FIELD, "")
    if held := query.get("continue"):
        if asked and asked != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        version, key = _from_token(held)
        return version, key
    version = _number(asked) if asked else 0
    if version > newest:
        raise _too_large(version, newest)
    # A limit beside a version has meant that very version since before there was a match to say so.
    limited = not match and int(query.get("limit") or 0) > 0 and version > 0
    return (version if match == "Exact" or limited else None), None


def limit(query: Query) -> int:
    """How many objects a page may have; 0 means all of them."""
    from_cache = query.get("resourceVersion") == "0" and not query.get("continue")
    return 0 if from_cache else int(query.get("limit") or 0)


def _too_large(version: int, newest: int) -> ApiStatus:
    message = f"Too large resource version: {version}, current: {newest}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return ApiStatus(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def _number(text: str) -> int:
    if not text.isdecimal():
        cause = invalid_field("resourceVersion", text, "must be a number")
        raise invalid("ListOptions", "meta.k8s.io", "", [cause])
    return int(text)


def token(version: int, key: Key) -> str:
    """What a client hands back to get the next page."""
    return base64.urlsafe_b64encode(json.dumps({"rv": version, "start": key}).encode()).decode()


def _from_token(held: str) -> tuple[int, Key]:
    try:
        content = json.loads(base64.urlsafe_b64decode(held))
        namespace, name = content["start"]
        return content["rv"], (namespace, name)
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
