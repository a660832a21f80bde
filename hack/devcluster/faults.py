"""Trouble on demand: refusals, lost answers and cut streams, for whoever must survive them.

Guarantee: a fault fires for the requests that it matches, as many times as it says, in the order added.
Non-guarantee: nothing here is random; tests draw their own schedules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from aiohttp import web

from hack.devcluster.errors import ApiStatus

_BYTES_LEFT = web.RequestKey("bytes_left", int)
ENDS_AFTER = web.RequestKey("ends_after", float)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    """What happens to requests whose method and prefixes of path and User-Agent match.

    ``status`` answers instead of the server; ``delay_seconds`` comes first; ``drop`` cuts the connection
    before anything is done, and ``hang`` leaves it open for ever; ``lose_answer`` does the work and then
    cuts; ``cut_after_bytes`` cuts a stream, in the middle of a line if need be; after ``cut_after_seconds``
    it is cut, after ``end_after_seconds`` ended as if its time were over.
    """

    method: str = ""
    path: str = ""
    agent: str = ""
    watch_only: bool = False
    times: int = 1
    status: int = 0
    reason: str = ""
    retry_after_seconds: int | None = None
    delay_seconds: float = 0
    drop: bool = False
    hang: bool = False
    lose_answer: bool = False
    cut_after_bytes: int | None = None
    cut_after_seconds: float | None = None
    end_after_seconds: float | None = None
    fired: int = field(default=0, init=False)

    def matches(self, request: web.Request) -> bool:
        return (
            self.fired < self.times
            and (not self.method or request.method == self.method)
            and request.path.startswith(self.path)
            and request.headers.get("User-Agent", "").startswith(self.agent)
            and (not self.watch_only or "watch" in request.query)
        )


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._open: list[web.Request] = []

    def add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def cut_open(self, agent: str = "") -> None:
        """Cut the connections of requests that are being answered now, watches above all."""
        for request in self._open:
            if request.headers.get("User-Agent", "").startswith(agent):
                _cut(request)

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._open.append(request)
        try:
            return await self._handle(request, handler)
        finally:
            self._open.remove(request)

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = next((each for each in self._faults if each.matches(request)), None)
        if fault is None:
            return await handler(request)
        fault.fired += 1
        if fault.delay_seconds:
            await anyio.sleep(fault.delay_seconds)
        if fault.hang:
            await anyio.sleep_forever()
        if fault.drop:
            return _cut(request)
        if fault.status:
            return _refusal(fault)
        if fault.cut_after_bytes is not None:
            request[_BYTES_LEFT] = fault.cut_after_bytes
        if fault.end_after_seconds is not None:
            request[ENDS_AFTER] = fault.end_after_seconds
        with anyio.move_on_after(fault.cut_after_seconds):
            response = await handler(request)
            return _cut(request) if fault.lose_answer else response
        return _cut(request)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refusal(fault: Fault) -> web.Response:
    error = ApiStatus(fault.status, fault.reason or "InternalError", "a fault was asked for")
    headers = (
        {"Retry-After": str(fault.retry_after_seconds)} if fault.retry_after_seconds is not None else None
    )
    return web.json_response(error.body(), status=fault.status, headers=headers)


class CutStream(web.StreamResponse):
    """A stream that a fault may cut."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        request = self._req
        left = request.get(_BYTES_LEFT) if request is not None else None
        if left is None or request is None:
            await super().write(data)
            return
        await super().write(bytes(data)[:left])
        request[_BYTES_LEFT] = left - len(data)
        if left <= len(data) and request.transport is not None:
            request.transport.close()
            raise ConnectionResetError("cut by a fault")
