"""What an end-to-end test holds in its hands: kubectl, on whatever control plane was chosen.

Guarantee: everything a test does here, a person could have typed. Nothing reaches into the operator.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

Json = dict[str, Any]
T = TypeVar("T")

PATIENCE_SECONDS = 180.0
"""Long: a real cluster on a slow machine starts a dozen pods for some tests."""


@dataclass(frozen=True, slots=True)
class Images:
    """References that the control plane can run."""

    operator: str = "localhost/neo4j-backup-operator:dev"
    neo4j: str = "localhost/neo4j-sim:dev"
    s3: str = "localhost/s3-server:dev"


class KubectlFailed(AssertionError):
    """kubectl ended with another code than 0; the message has what it printed."""

    def __init__(self, command: Iterable[str], result: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command)}\nexit {result.returncode}\n{result.stdout}{result.stderr}")
        self.result = result


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One kubectl with one kubeconfig."""

    path: str
    kubeconfig: str
    server_minor: int
    """Minor version of the API server: 25 and later know CEL and CronJob v1 alone."""

    def run(
        self, *args: str, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        command = [self.path, f"--kubeconfig={self.kubeconfig}", *args]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def __call__(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        result = self.run(*args, stdin=stdin, timeout=timeout)
        if result.returncode:
            raise KubectlFailed(("kubectl", *args), result)
        return result.stdout

    def get(self, *args: str) -> Json:
        """The object, or the list, as JSON."""
        answer: Json = json.loads(self("get", *args, "-o", "json"))
        return answer

    def find(self, *args: str) -> Json | None:
        """The object, or None when there is none; any other failure is raised."""
        result = self.run("get", *args, "-o", "json", "--ignore-not-found")
        if result.returncode:
            raise KubectlFailed(("kubectl", "get", *args), result)
        return json.loads(result.stdout) if result.stdout.strip() else None

    def apply(self, *objects: Json) -> str:
        return self("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def eventually(look: Callable[[], T | None], what: str, timeout: float = PATIENCE_SECONDS) -> T:
    """The first result of ``look`` that is true; AssertionError with the last one after ``timeout``."""
    deadline = time.monotonic() + timeout
    while True:
        result = look()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}; last seen: {result!r}")
        time.sleep(0.3)
