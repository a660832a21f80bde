"""One standalone Neo4j with its agent, an S3 server behind a gate, and runs with trouble in them.

Guarantee: agent and runner are real processes and can be killed; the agent is started again as the kubelet
would, a runner that died without a result is started again with the same run id as its Job would. What
every database held at every transaction is remembered, to be compared with what is restored.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from controller.repository.encryption import age, bech32
from controller.repository.stores.s3 import S3Store
from controller.wire.messages import Retention, RunResult, RunSpec, Server, StorageTarget
from hack.devcluster.neo4j_sim.image import install
from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.store import digest
from tests.faults.gate import Gate, gate_before
from tests.faults.plan import Kind, Trouble
from tests.faults.runner_process import Order, store_at
from tests.support.local_agent import CHECKOUT, DIRECTORIES, LocalAgent
from tests.support.s3 import S3Server
from tests.unit.neo4j_sim.support import Cluster, running

POD = "s0"
VERSION = "2026.07.1"
DATABASES = ("system", "orders", "customers")
ATTEMPTS = 4
"""One more than the Job's backoffLimit of 3."""
RUN_SECONDS = 120.0
RESTART_SECONDS = 0.2
_SECRET = bytes(range(7, 39))
KEYS = {
    "key": _SECRET.hex().encode(),
    "age-recipients": str(age.Identity(_SECRET).recipient).encode(),
    "age-identity": bech32.encode("age-secret-key-", _SECRET).upper().encode(),
}


class Agent:
    """The sidecar's daemon, started again whenever it dies."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        for directory in DIRECTORIES:
            (root / directory).mkdir(parents=True, exist_ok=True)
        self.root = root
        self.local = LocalAgent(POD, env | {"CONTAINER_ROOT": str(root), "PYTHONDONTWRITEBYTECODE": "1"})
        self._log = (root / "agent.log").open("ab")
        self._daemon = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.local.argv("run"),
            env=dict(self.local.env),
            cwd=CHECKOUT,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self) -> None:
        """As the kernel does when memory runs out, and the kubelet's restart a moment later."""
        self._daemon.kill()
        self._daemon.wait()
        time.sleep(RESTART_SECONDS)
        self._daemon = self._start()

    def order(self, faults: Json) -> None:
        """What the simulated neo4j-admin shall suffer from."""
        (self.root / "data/sim-faults.json").write_bytes(msgspec.json.encode(faults))

    def staged(self) -> list[str]:
        staging = self.root / "data/backups/.staging"
        return sorted(path.name for path in staging.iterdir()) if staging.exists() else []

    def stop(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        self._log.close()


@dataclass
class Told:
    """What came of a run: the result that was reported, if any, and the log."""

    run_id: str
    result: RunResult | None
    log: str
    attempts: int


@dataclass
class World:
    """Where runs happen. Its history is one repository."""

    cluster: Cluster
    agent: Agent
    gate: Gate
    bucket: str
    spec: RunSpec
    contents: dict[tuple[str, int], str] = field(default_factory=dict)
    """Database and transaction → digest of the content."""
    scratch: Path = Path()

    @property
    def store(self) -> S3Store:
        """Past the gate."""
        return store_at(self.gate.target, self.bucket, "ns/nightly")

    def write(self, draw: random.Random) -> None:
        """Some transactions, and what the databases hold now."""
        for name in DATABASES:
            if name != "system" and draw.random() < 0.8:
                self.cluster[POD].commit(draw.randint(1, 3), name)
            frames = self.cluster[POD].dbms.replicas[name].store.frames()
            found = digest(frames)
            self.contents[name, int(found["lastTx"])] = str(found["digest"])

    def run(self, run_id: str, trouble: Trouble | None) -> Told:
        """One run as its Job would have it."""
        self.gate.arm(trouble)
        self.agent.order(_faults(trouble))
        try:
            return self._job(run_id, trouble)
        finally:
            self.gate.arm(None)
            self.agent.order({})

    def _job(self, run_id: str, trouble: Trouble | None) -> Told:
        verify = trouble.verify if trouble else True
        order = Order(
            spec=msgspec.structs.replace(self.spec, verify=verify),
            run_id=run_id,
            endpoint=self.gate.endpoint,
            bucket=self.bucket,
            prefix="ns/nightly",
            agents={POD: dict(self.agent.local.env)},
            keys=KEYS,
            trouble=trouble,
        )
        log = ""
        for attempt in range(1, ATTEMPTS + 1):
            strike = trouble if attempt == 1 or (trouble and trouble.for_ever) else None
            output = self._pod(order, strike)
            log += output
            result = _result(output)
            if result is not None:
                return Told(run_id, result, log, attempt)
        return Told(run_id, None, log, ATTEMPTS)

    def _pod(self, order: Order, trouble: Trouble | None) -> str:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.runner_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
        )
        striker = threading.Thread(target=self._strike, args=(trouble, process))
        striker.start()
        try:
            out, _ = process.communicate(msgspec.msgpack.encode(order), timeout=RUN_SECONDS)
        finally:
            process.kill()
            striker.join()
        return out.decode("utf-8", "replace")

    def _strike(self, trouble: Trouble | None, runner: subprocess.Popen[bytes]) -> None:
        kind = trouble.kind if trouble else None
        if trouble is None or kind not in {Kind.AGENT_KILLED, Kind.RUNNER_KILLED, Kind.RUNNER_TERMINATED}:
            return
        # The start of the interpreter is not the run: strike anywhere after it.
        with suppress(subprocess.TimeoutExpired):
            runner.wait(0.4 + trouble.seconds)
        if kind is Kind.AGENT_KILLED:
            self.agent.kill()
            return
        with suppress(ProcessLookupError):
            runner.send_signal(signal.SIGKILL if kind is Kind.RUNNER_KILLED else signal.SIGTERM)


def _faults(trouble: Trouble | None) -> Json:
    kind = trouble.kind if trouble else None
    slow = {"slow_bytes_per_second": 400_000} if kind in {Kind.AGENT_KILLED, Kind.RUNNER_KILLED} else {}
    match kind:
        case Kind.DATABASE_DISK_FULL:
            return {"no_space": True}
        case Kind.ADMIN_KILLED:
            return {"kill": True}
    return slow


def _result(output: str) -> RunResult | None:
    for line in reversed(output.splitlines()):
        _, word, text = line.partition(" result ")
        if word:
            return msgspec.json.decode(text, type=RunResult)
    return None


@contextmanager
def a_world(directory: Path, s3: S3Server, seed: int) -> Iterator[World]:
    """A world with an empty repository; encryption is the seed's choice."""
    algorithms = ("", "AES256", "ChaCha20")
    hosts = {POD: "primary"}
    databases: tuple[Json, ...] = (
        {"name": "system", "type": "system", "hosts": hosts},
        {"name": "orders", "hosts": hosts, "storeBytes": 300_000},
        {"name": "customers", "hosts": hosts, "storeBytes": 60_000},
    )
    with ExitStack() as stack:
        cluster = stack.enter_context(running(directory / "servers", databases, version=VERSION))
        home = directory / "pod"
        home.mkdir()
        install(home, VERSION)
        address = cluster.address(POD)
        env = {"NEO4J_AUTH": "neo4j/neo4j", "DEVCLUSTER_POD_IP": address, "POD_IP": address}
        agent = Agent(home, dict(os.environ) | env)
        stack.callback(agent.stop)
        bucket = s3.make_bucket()
        gate = stack.enter_context(gate_before(s3.endpoint))
        spec = RunSpec(
            namespace="ns",
            backup="nightly",
            backup_uid=f"uid-{seed}",
            generation=1,
            deployment="graph",
            servers=(Server(pod=POD, namespace="ns"),),
            storage=StorageTarget(type="s3", bucket=bucket),
            encryption=algorithms[seed % 3],  # type: ignore[arg-type]
            retention=Retention(max_count=3),
            max_chain_length=4,
        )
        scratch = directory / "restored"
        scratch.mkdir()
        yield World(cluster, agent, gate, bucket, spec, scratch=scratch)
