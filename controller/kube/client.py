"""Typed verbs on the API server: one method, one request, failures as :mod:`controller.kube.errors`.

Guarantee: nothing is retried here except a refused token, so the caller alone decides what an unknown
outcome (:class:`ConnectionFailed`) means. ``as_`` may be ``dict`` or a msgspec Struct, which is decoded
straight from the bytes and never holds more than its own fields.

Non-guarantee: no caching, no rate limit, no validation of what is sent.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import msgspec

from controller.kube.config import ClusterConfig
from controller.kube.errors import ServerError, api_error
from controller.kube.resource import PODS, Resource
from controller.kube.transport import REQUEST_SECONDS, Fence, Query, Transport

if TYPE_CHECKING:
    from controller.kube.exec import ExecSession

T = TypeVar("T")

PAGE_LIMIT = 500
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a list that is not its items."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    metadata: ListMeta = ListMeta()
    items: list[T] | None = None


class Client:
    """``async with Client(config) as client``. Safe for any number of tasks at once."""

    def __init__(
        self, config: ClusterConfig, *, timeout: float = REQUEST_SECONDS, fence: Fence | None = None
    ) -> None:
        """``fence`` decides over every request that is no GET, right before it is sent."""
        self.config = config
        self._timeout = timeout
        self.transport = Transport(config, fence)

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    @overload
    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any]: ...

    @overload
    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, as_: type[T]
    ) -> T: ...

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, as_: Any = dict
    ) -> Any:
        """One object."""
        return decode(await self.raw("GET", resource.path(namespace, name)), as_)

    @overload
    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[dict[str, Any]]: ...

    @overload
    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        as_: type[T],
    ) -> list[T]: ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        as_: Any = dict,
    ) -> Any:
        """All objects of a collection, read in pages of one consistent snapshot."""
        query = selectors(label_selector, field_selector)
        items: list[Any] = []
        token = ""
        while True:
            page: Page[Any] = await self.list_page(resource, namespace, [*query, *paging(token)], as_=as_)
            items += page.items or []
            token = page.metadata.continue_
            if not token:
                return _with_kind(items, resource)

    async def list_page(
        self, resource: Resource, namespace: str | None, query: Query, *, as_: type[T]
    ) -> Page[T]:
        """One page, with whatever query the caller thinks right."""
        body = await self.raw("GET", resource.path(namespace), query=query)
        page: Page[T] = decode(body, Page[as_])  # type: ignore[valid-type]
        return page

    async def create(
        self, resource: Resource, obj: Mapping[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        """A new object; ``AlreadyExists`` when its name is taken."""
        where = namespace or obj.get("metadata", {}).get("namespace")
        return await self._write("POST", resource.path(where), obj, JSON)

    async def replace(
        self, resource: Resource, obj: Mapping[str, Any], *, subresource: str | None = None
    ) -> dict[str, Any]:
        """The whole object; ``Conflict`` when its ``resourceVersion`` is no longer the newest."""
        return await self._write("PUT", _path_of(resource, obj, subresource), obj, JSON)

    async def apply(
        self,
        resource: Resource,
        obj: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        """Server-side apply: exactly these fields are ours, and fields we applied before go away."""
        query = [("fieldManager", field_manager), ("force", "true" if force else "false")]
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
        return await self._write("PATCH", _path_of(resource, obj, subresource), full, APPLY_PATCH, query)

    @overload
    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> dict[str, Any]: ...

    @overload
    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
        as_: type[T],
    ) -> T: ...

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Mapping[str, Any],
        *,
        subresource: str | None = None,
        as_: Any = dict,
    ) -> Any:
        """RFC 7386; a ``metadata.resourceVersion`` in the patch makes it conditional."""
        path, body = resource.path(namespace, name, subresource), msgspec.json.encode(patch)
        return decode(await self.raw("PATCH", path, body=body, content_type=MERGE_PATCH), as_)

    async def json_patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        """RFC 6902; a failing ``test`` operation arrives as ``Invalid``."""
        return await self._write("PATCH", resource.path(namespace, name, subresource), patch, JSON_PATCH)

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Ask for deletion; with ``uid``, of this very object and never of a namesake (``Conflict``)."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        body = msgspec.json.encode(options)
        await self.raw("DELETE", resource.path(namespace, name), body=body, content_type=JSON)

    async def read_log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> str:
        """What the container wrote so far, as text; bytes that are no UTF-8 become U+FFFD."""
        query = [("container", container)]
        query += [("tailLines", str(tail_lines))] if tail_lines is not None else []
        query += [("limitBytes", str(limit_bytes))] if limit_bytes is not None else []
        return (await self.raw("GET", PODS.path(namespace, pod, "log"), query=query)).decode(
            "utf-8", "replace"
        )

    def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> contextlib.AbstractAsyncContextManager[ExecSession]:
        """Run a command in a container; see :class:`ExecSession`."""
        # Here and not above: it brings aiohttp, which nothing else on this side needs.
        from controller.kube.exec import open_exec

        return open_exec(self.transport, PODS.path(namespace, pod, "exec"), container, command)

    def stream(
        self, resource: Resource, namespace: str | None, query: Query, *, idle_seconds: float
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        """The raw chunks of a collection's watch."""
        return self.transport.stream(resource.path(namespace), query=query, idle_seconds=idle_seconds)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        content_type: str | None = None,
    ) -> bytes:
        """The body of a successful answer; every other answer is raised as an :class:`ApiError`."""
        answer = await self.transport.request(
            method, path, query=query, body=body, content_type=content_type, timeout=self._timeout
        )
        if not 200 <= answer.status < 300:
            raise api_error(answer.status, answer.body, answer.headers.get("retry-after"))
        return answer.body

    async def _write(
        self, method: str, path: str, content: object, content_type: str, query: Query = ()
    ) -> dict[str, Any]:
        body = msgspec.json.encode(content)
        return decode(await self.raw(method, path, query=query, body=body, content_type=content_type), dict)


def selectors(label_selector: str | None, field_selector: str | None) -> list[tuple[str, str]]:
    """The query of a list's or watch's selectors."""
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return [(key, value) for key, value in pairs if value]


def paging(token: str) -> list[tuple[str, str]]:
    """The query of a list's next page; an empty token is the first."""
    return [("limit", str(PAGE_LIMIT)), *([("continue", token)] if token else [])]


def decode(body: bytes, as_: type[T]) -> T:
    """``body`` as ``as_``; what does not fit is the server's error, named."""
    try:
        wanted: Any = as_
        decoded: T = _decoder(wanted).decode(body)
    except msgspec.MsgspecError as error:
        raise ServerError(f"the answer is not what was expected: {error}", reason="BadAnswer") from error
    return decoded


@functools.cache
def _decoder(as_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(as_)


def _path_of(resource: Resource, obj: Mapping[str, Any], subresource: str | None) -> str:
    metadata = obj["metadata"]
    return resource.path(metadata.get("namespace"), metadata["name"], subresource)


def _with_kind(items: list[T], resource: Resource) -> list[T]:
    """The server leaves apiVersion and kind out of a list's items; a dict gets them back."""
    for item in items:
        if isinstance(item, dict):
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
    return items
