"""A real Azure Blob Storage emulator (Azurite, from npm) for tests, on a free port of this machine.

Guarantee: a pinned version, installed once below ``.cache``, answers when the context is entered and is
gone when it is left; it tells nobody outside that it runs. Node.js comes along where there is none. Nothing
is skipped: where the installation fails, the test fails.

Non-guarantee: everything is in memory and gone at the end.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import hack.node

VERSION = "3.35.0"
ACCOUNT = "devstoreaccount1"
# The emulator's own, published in its manual: no secret of anybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_HOME = Path(__file__).parents[2] / ".cache" / f"azurite-{VERSION}"
_LISTENS = re.compile(rb"listen(?:ing|s) (?:at|on) https?://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Azurite:
    """Where it is."""

    endpoint: str
    """Of the account."""

    def make_container(self) -> str:
        name = f"container-{uuid4().hex[:12]}"
        headers = {"x-ms-date": _now(), "x-ms-version": "2021-12-02", "Content-Length": "0"}
        named = "".join(f"{key}:{headers[key]}\n" for key in ("x-ms-date", "x-ms-version"))
        signed = "PUT" + "\n" * 12 + f"{named}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        digest = hmac.digest(base64.b64decode(KEY), signed.encode(), "sha256")
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        url = f"{self.endpoint}/{name}?restype=container"
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)):
            return name


@contextmanager
def azurite() -> Iterator[Azurite]:
    program = _installed()
    command = [*program, "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]
    with subprocess.Popen(
        [*command, "--disableTelemetry", "--silent"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield Azurite(f"http://127.0.0.1:{_port(process)}/{ACCOUNT}")
        finally:
            process.terminate()


def _installed() -> list[str]:
    _HOME.mkdir(parents=True, exist_ok=True)
    entry = _HOME / "node_modules/azurite/dist/src/blob/main.js"
    with (_HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        node, npm = hack.node.find()
        if not (_HOME / ".complete").exists():
            command = [*npm, "install", "--prefix", str(_HOME), "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run([*command, f"azurite@{VERSION}"], check=True, capture_output=True, timeout=300)
            (_HOME / ".complete").touch()
    return [*node, str(entry)]


def _port(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    said = b""
    for line in process.stdout:
        said += line
        if match := _LISTENS.search(line):
            return int(match[1])
    raise RuntimeError(f"Azurite did not start: {said.decode(errors='replace')}")


def _now() -> str:
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def sas() -> str:
    """A shared access signature of the account, for an hour or two: a token as a user would have."""
    expiry = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": expiry, "sip": "", "spr": "https,http"}
    version = "2018-11-09"
    signed = "\n".join([ACCOUNT, *fields.values(), version, ""])
    digest = hmac.digest(base64.b64decode(KEY), signed.encode(), "sha256")
    fields |= {"sv": version, "sig": base64.b64encode(digest).decode()}
    return urlencode({name: value for name, value in fields.items() if value})
