"""What is known about one container of a pod, and how ``status.containerStatuses`` says it.

Guarantee: the state is waiting, running or terminated with the kubelet's reasons, and the run before is kept.
Non-guarantee: it decides nothing; see :mod:`hack.devcluster.container_loop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from hack.devcluster.containers import Container
from hack.devcluster.logs import LogFile
from hack.devcluster.objects import Obj, timestamp
from hack.devcluster.shapes import now, short_hash


@dataclass(slots=True)
class ContainerState:
    """One container, over all its runs."""

    name: str
    image: str
    pod_uid: str
    state: Obj = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Obj = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container: Container | None = None
    log: LogFile | None = None
    previous_log: LogFile | None = None
    gone: anyio.Event = field(default_factory=anyio.Event)
    """Set when the current run is over."""

    @property
    def is_terminated(self) -> bool:
        return "terminated" in self.state

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        return self.state["terminated"]["exitCode"] if self.is_terminated else None

    def wait(self, reason: str, message: str = "") -> None:
        """Waiting; what ended before becomes the last state."""
        self._remember()
        self.ready = self.started = False
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    def _remember(self) -> None:
        if self.is_terminated:
            self.last = self.state

    def run(self, container: Container, log: LogFile) -> None:
        self._remember()
        self.container, self.log, self.previous_log = container, log, self.log
        self.gone = anyio.Event()
        self.ready = self.started = False

    def begin(self) -> None:
        self.state = {"running": {"startedAt": timestamp(now())}}

    def end(self, exit_code: int, message: str, reason: str = "") -> None:
        started = (self.state.get("running") or {}).get("startedAt", timestamp(now()))
        self.ready = self.started = False
        self.container = None
        self.gone.set()
        self.state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason or ("Error" if exit_code else "Completed"),
                "startedAt": started,
                "finishedAt": timestamp(now()),
                "containerID": self._id(),
            }
            | ({"message": message} if message else {})
        }

    def _id(self) -> str:
        return f"process://{self.pod_uid}-{self.name}-{self.restarts}"

    def as_status(self) -> Obj:
        status: Obj = {
            "name": self.name,
            "image": self.image,
            "imageID": f"local://{short_hash(self.image)}",
            "state": self.state,
            "lastState": self.last,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }
        return status | ({"containerID": self._id()} if self.log is not None else {})
