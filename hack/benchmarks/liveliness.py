"""Is the operator alive while it works? ``python -m hack.benchmarks.liveliness``

Measures the real program against the benchmarks' API server while it syncs 50 000 backups, reconciles
them as the leader, and is hit by a storm of 20 000 changes: how late its event loop is, and how
long ``/healthz`` takes, asked from outside every 20 ms.

Guarantee: what is late counts for every moment that it spans; a stage in which the operator did not do its
work is an error. Non-guarantee: both are also late when the machine is; what a bystander missed is printed, and
so is what the loop's own work took (its CPU time), which another load on the machine does not change.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hack.benchmarks.measure import Process, Unfinished
from hack.benchmarks.scenarios import ROOT, Server, Wrong

HEARD = 'informer_events_total{resource="neo4jbackups"}'
PROBE_SECONDS = 0.02
HEALTH_LIMIT_SECONDS = 0.05
LAG_LIMIT_SECONDS = 0.1
PATIENCE_SECONDS = 300.0
KUBECONFIG = """{{current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}],
clusters: [{{name: c, cluster: {{server: "{url}"}}}}], users: [{{name: u, user: {{token: t}}}}]}}
"""


@dataclass
class Prober:
    """Asks ``/healthz`` as a kubelet would, only far more often."""

    port: int
    took: list[float] = field(default_factory=list)
    bystander: list[float] = field(default_factory=list)
    """How late this thread woke: what the machine costs, and not the operator."""
    _end: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _run(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30.0)) as open_:
            self._ask(open_)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            start = time.monotonic()
            self.bystander.append(start - due)
            status, _ = ask(connection, "/healthz")
            if status != 200:
                raise Wrong(f"/healthz answered {status}")
            self.took.append(time.monotonic() - start)
            due = max(due + PROBE_SECONDS, time.monotonic())

    def report(self) -> dict[str, float]:
        """Since the last one."""
        took, self.took = sorted(self.took), []
        late, self.bystander = sorted(self.bystander), []
        return {
            "p99": took[int(len(took) * 0.99)],
            "max": took[-1],
            "bystander": late[-1],
            "asked": len(took),
        }


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@dataclass
class Operator:
    """The process and two ways to look at it."""

    process: Process
    port: int

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30.0)
        try:
            return ask(connection, path)
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        text = self.get("/metrics")[1]
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def measure(number: int, events: int, logs: Path) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """Stage, lag of the loop, answers of ``/healthz``."""
    found = []
    with Server(logs, "hack.benchmarks.lively_server") as server, _operator(server, number, logs) as operator:
        prober = Prober(operator.port)
        with prober.running():

            def stage(name: str) -> None:
                _until(lambda: bool(prober.took), "asked for its health")
                operator.process.tell(name)
                found.append((name, operator.process.stage(name, 60.0)[1], prober.report()))

            _until(lambda: operator.get("/readyz")[0] == 200, "synced")
            stage("first sync")
            _until(lambda: server.do("counts").get("patch", 0) > number // 20, "reconciling")
            stage("reconciling")
            server.do(f"prepare?events={events}")
            stage("(the server prepares the storm)")
            before, written = operator.metric(HEARD), server.do("counts")["patch"]
            server.do("blast")
            _until(lambda: operator.metric(HEARD) >= before + events, "through the storm")
            _until(lambda: server.do("counts")["patch"] > written + number // 20, "reconciling after it")
            stage("storm, while reconciling")
    return found


@contextlib.contextmanager
def _operator(server: Server, number: int, logs: Path) -> Iterator[Operator]:
    server.do(f"load?n={number}")
    kubeconfig = logs / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(url=server.url))
    port = _free_port()
    argv = [sys.executable, "-m", "hack.benchmarks.lively_operator", "--image", "o:1", "--kubeconfig"]
    argv += [str(kubeconfig), "--host", "127.0.0.1", "--port", str(port), "--lease-namespace", "default"]
    with Process(argv, {}, ROOT, logs / "operator.log") as process:
        operator = Operator(process, port)
        _until(lambda: _listens(operator), "listening")
        yield operator


def _listens(operator: Operator) -> bool:
    try:
        return operator.get("/healthz")[0] == 200
    except ConnectionError:
        return False


def _free_port() -> int:
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
        return port


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise Unfinished(f"not {what} after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.2)


def main() -> int:
    """Print the table; 1 when a limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--logs", type=Path, help="keep the logs there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given.objects, given.events, given.logs or Path(scratch))
    print(
        "| stage | loop late: p50 | p99 | max | by own work: p99 | max | /healthz: p99 | max | bystander: max |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, lag, health in found:
        figures = [lag[key] for key in ("p50", "p99", "max", "own_p99", "own_max")]
        figures += [health[key] for key in ("p99", "max", "bystander")]
        print(f"| {name} | " + " | ".join(f"{1000 * seconds:.1f} ms" for seconds in figures) + " |")
    late = [name for name, lag, _ in found if lag["p99"] > LAG_LIMIT_SECONDS]
    slow = [name for name, _, health in found if health["max"] > HEALTH_LIMIT_SECONDS]
    print(f"event loop over {1000 * LAG_LIMIT_SECONDS:.0f} ms at p99: {', '.join(late) or 'never'}")
    print(f"/healthz over {1000 * HEALTH_LIMIT_SECONDS:.0f} ms: {', '.join(slow) or 'never'}")
    return 1 if late or slow else 0


if __name__ == "__main__":
    sys.exit(main())
