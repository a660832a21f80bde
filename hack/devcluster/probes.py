"""Liveness, readiness and startup probes.

Guarantee: thresholds, delays, timeouts and handlers (exec, httpGet, tcpSocket) mean what a kubelet means.
Non-guarantee: while a container is not ready or not started it is asked every second even where the period is
longer, so that nobody who develops waits for a period; failures are then weighed by the time they stand for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import anyio

from hack.devcluster.container_state import ContainerState
from hack.devcluster.containers import Container, StartError
from hack.devcluster.objects import Obj

Unhealthy = Callable[[str, str], None]
"""Told the probe's name and why it failed."""


@dataclass(slots=True)
class Prober:
    """The probes of one run of a container."""

    spec: Obj
    container: Container
    address: str
    state: ContainerState
    changed: Callable[[], None]
    unhealthy: Unhealthy
    _failed: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Keep ``state.started`` and ``state.ready``. Returns when the container has to be killed."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._all)
            await self._failed.wait()
            group.cancel_scope.cancel()

    async def _all(self) -> None:
        if "startupProbe" in self.spec:
            await self._until_started(self.spec["startupProbe"])
        self.state.started = True
        self.state.ready = "readinessProbe" not in self.spec
        self.changed()
        async with anyio.create_task_group() as group:
            if "readinessProbe" in self.spec:
                group.start_soon(self._keep_ready, self.spec["readinessProbe"])
            if "livenessProbe" in self.spec:
                group.start_soon(self._keep_alive, self.spec["livenessProbe"])

    async def _until_started(self, probe: Obj) -> None:
        await anyio.sleep(probe.get("initialDelaySeconds", 0))
        period = probe.get("periodSeconds", 10)
        left = probe.get("failureThreshold", 3) * period
        while (reason := await self._ask(probe)) is not None:
            self.unhealthy("Startup", reason)
            left -= min(period, 1)
            if left <= 0:
                self._failed.set()
            await anyio.sleep(min(period, 1))

    async def _keep_ready(self, probe: Obj) -> None:
        await anyio.sleep(probe.get("initialDelaySeconds", 0))
        successes = failures = 0
        while True:
            reason = await self._ask(probe)
            successes, failures = (successes + 1, 0) if reason is None else (0, failures + 1)
            if reason is not None:
                self.unhealthy("Readiness", reason)
            ready = self.state.ready
            if successes >= probe.get("successThreshold", 1):
                ready = True
            elif failures >= probe.get("failureThreshold", 3):
                ready = False
            if ready != self.state.ready:
                self.state.ready = ready
                self.changed()
            period = probe.get("periodSeconds", 10)
            await anyio.sleep(period if ready else min(period, 1))

    async def _keep_alive(self, probe: Obj) -> None:
        await anyio.sleep(probe.get("initialDelaySeconds", 0))
        failures = 0
        while True:
            reason = await self._ask(probe)
            failures = 0 if reason is None else failures + 1
            if reason is not None:
                self.unhealthy("Liveness", reason)
            if failures >= probe.get("failureThreshold", 3):
                self._failed.set()
            await anyio.sleep(probe.get("periodSeconds", 10))

    async def _ask(self, probe: Obj) -> str | None:
        """Why the probe fails, or None."""
        seconds = probe.get("timeoutSeconds", 1)
        try:
            with anyio.fail_after(seconds):
                return await self._handler(probe)
        except TimeoutError:
            return f"command timed out after {seconds}s" if "exec" in probe else f"timeout after {seconds}s"
        except (OSError, StartError, aiohttp.ClientError) as error:
            return str(error)

    def _handler(self, probe: Obj) -> Awaitable[str | None]:
        if "exec" in probe:
            return self._ask_command(probe["exec"]["command"])
        if "httpGet" in probe:
            return self._ask_http(probe["httpGet"])
        return self._ask_tcp(probe["tcpSocket"])

    async def _ask_command(self, command: list[str]) -> str | None:
        process = await self.container.exec(command, stdin=False)
        output: list[bytes] = []
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_collect, process.stdout, output)
                if process.stderr is not None:
                    group.start_soon(_collect, process.stderr, output)
            return None if await process.wait() == 0 else b"".join(output).decode(errors="replace")
        finally:
            await process.aclose()

    async def _ask_http(self, request: Obj) -> str | None:
        host, port = request.get("host") or self.address, self._port(request["port"])
        url = f"{request.get('scheme', 'HTTP').lower()}://{host}:{port}{request.get('path', '/')}"
        headers = {each["name"]: each["value"] for each in request.get("httpHeaders") or []}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=False) as answer:
            passed = 200 <= answer.status < 400
            return None if passed else f"HTTP probe failed with statuscode: {answer.status}"

    async def _ask_tcp(self, target: Obj) -> str | None:
        host, port = target.get("host") or self.address, self._port(target["port"])
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            return f"dial tcp {host}:{port}: connect: connection refused"
        await stream.aclose()
        return None

    def _port(self, port: int | str) -> int:
        if isinstance(port, int) or port.isdigit():
            return int(port)
        return next(int(each["containerPort"]) for each in self.spec["ports"] if each.get("name") == port)


async def _collect(stream: anyio.abc.ByteReceiveStream, into: list[bytes]) -> None:
    into.extend([chunk async for chunk in stream])
