"""Who asked for what, when, and what came of it: the audit log of the embedded API server.

Guarantee: every request that arrived is here, in the order of arrival, refused ones included; ``at`` is on
the event loop's clock. Non-guarantee: bodies; and the oldest are forgotten.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REMEMBERED = 100_000


@dataclass(slots=True)
class Entry:
    """One request."""

    at: float
    agent: str
    """The User-Agent header."""
    method: str
    path: str
    watches: bool
    code: int = 0
    """0 while there is no answer; a watch is answered when it ends."""

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")


class Audit:
    """``entries`` grows while the server runs."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=REMEMBERED)

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        agent = request.headers.get("User-Agent", "")
        now = asyncio.get_running_loop().time()
        entry = Entry(now, agent, request.method, request.path, "watch" in request.query)
        self._entries.append(entry)
        response = await handler(request)
        entry.code = response.status
        return response
