"""File → hash → encrypt → S3, beside what people would use instead: wall time, CPU and memory a GiB.

    .venv/bin/python -m hack.benchmarks.data_path [--size 4GiB] [--repeat 3] [--write]

Guarantee: every upload was counted by the server to the byte; peers take turns within a round, and a round
starts with another one each time; CPU and memory are the kernel's figures for the whole process, its
start-up and its children included. Ends with 1 when we are not the cheapest and the fastest of a kind.

Non-guarantee: wall times are those of this machine with client and server on the same cores. The memory of
a pipeline is that of its largest process.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hack.benchmarks.data_floor import floors
from hack.benchmarks.data_peers import CACHE, ENCRYPTED, OURS, PLAIN, ROOT, WHOLE_WAY, Peer, Target, foreign
from hack.benchmarks.data_report import Figures, Row, document, memory_table, table, write
from hack.benchmarks.discard import STATS
from hack.benchmarks.measure import whole_run
from hack.devcluster.certificates import make_identity

GIB = 1024**3
SIZES = {"MiB": 1024**2, "GiB": GIB}


class Wrong(RuntimeError):
    """A peer did not do what it was to do."""


@dataclass
class Server:
    """The discarding server, in a process of its own."""

    endpoint: str
    ca: Path | None
    process: subprocess.Popen[bytes]
    uploads: int = 0
    context: ssl.SSLContext | None = field(default=None)

    def stats(self) -> tuple[dict[str, int], float]:
        with urllib.request.urlopen(self.endpoint + STATS, context=self.context) as answer:
            said = json.load(answer)
        return said["sizes"], said["cpu"]

    def target(self, file: Path) -> Target:
        self.uploads += 1
        return Target(file, self.endpoint, f"object-{self.uploads}", self.ca)


@contextmanager
def serving(tls: bool) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        identity = make_identity(datetime.now(UTC))
        bundle, ca = directory / "server.pem", directory / "ca.pem"
        bundle.write_text(identity.key + identity.certificate)
        ca.write_text(identity.ca)
        argv = [sys.executable, "-m", "hack.benchmarks.discard"]
        argv += ["--certificate", str(bundle)] if tls else []
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            place = f"127.0.0.1:{int(process.stdout.readline())}"
            try:
                if tls:
                    context = ssl.create_default_context(cafile=str(ca))
                    yield Server(f"https://{place}", ca, process, context=context)
                else:
                    yield Server(f"http://{place}", None, process)
            finally:
                process.kill()


@contextmanager
def source(size: int) -> Iterator[Path]:
    """Random bytes in memory, so that neither a disk nor luck with compression is measured."""
    directory = Path("/dev/shm")
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize < size + GIB or _available() < size + GIB:
        CACHE.mkdir(parents=True, exist_ok=True)
        directory = CACHE
    with tempfile.NamedTemporaryFile(dir=directory, prefix="data-path-") as file:
        left = size
        while left:
            left -= file.write(os.urandom(min(left, 16 * 1024**2)))
        file.flush()
        yield Path(file.name)


@contextmanager
def sparse(size: int) -> Iterator[Path]:
    """A file that is as long as it says and nowhere on the disk: for memory, where content is no matter."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=CACHE, prefix="sparse-") as file:
        os.truncate(file.name, size)
        yield Path(file.name)


def upload(peer: Peer, server: Server, file: Path) -> Figures:
    """Run it once, and believe it only when the server saw all of it."""
    target = server.target(file)
    size = file.stat().st_size
    _, before = server.stats()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        env = {**os.environ, **peer.env}
        books = whole_run(peer.command(target), stdout=said, stderr=errors, env=env, cwd=ROOT)
        errors.seek(0)
        complaint = errors.read().decode(errors="replace")[-500:]
        said.seek(0)
        stated = int(json.loads(said.read())["size"]) if peer.ours and not books.code else None
    sizes, after = server.stats()
    _check(peer, books.code, complaint, _found(sizes, target.key), size, stated)
    return Figures(
        wall=books.wall / size * GIB,
        cpu=books.cpu / size * GIB,
        rss=books.peak,
        server=(after - before) / size * GIB,
    )


def _check(peer: Peer, code: int, complaint: str, arrived: int, size: int, stated: int | None) -> None:
    if code:
        raise Wrong(f"{peer.name} ended with {code}: {complaint}")
    most = size if peer.kind == PLAIN else int(size * 1.01) + 1000
    least = size if peer.kind == PLAIN else size + 1
    if not least <= arrived <= most or stated not in (None, arrived):
        raise Wrong(f"{peer.name}: {arrived} bytes arrived of {size} (it says {stated})")


def _found(sizes: dict[str, int], key: str) -> int:
    # rclone's crypt adds a suffix to the name
    return max((size for path, size in sizes.items() if path.split("/")[-1].split(".")[0] == key), default=0)


def rounds(peers: Sequence[Peer], server: Server, file: Path, repeat: int) -> list[Row]:
    figures: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for number in range(repeat):
        turn = number % len(peers)
        for peer in (*peers[turn:], *peers[:turn]):
            one = upload(peer, server, file)
            figures[peer.name].append(one)
            print(f"{peer.name:24} {one.wall:6.2f} s {one.cpu:6.2f} s CPU {one.rss:5.0f} MiB", flush=True)
    return [Row(peer, _median(figures[peer.name])) for peer in peers]


def _median(figures: Sequence[Figures]) -> Figures:
    return Figures(
        wall=statistics.median(one.wall for one in figures),
        cpu=statistics.median(one.cpu for one in figures),
        rss=max(one.rss for one in figures),
        server=statistics.median(one.server for one in figures),
    )


def losses(rows: Sequence[Row]) -> list[str]:
    """Where somebody else is better than the best of ours of the same kind."""
    found = []
    for kind in (PLAIN, ENCRYPTED):
        same = [row for row in rows if row.peer.kind == kind]
        # Each of our ciphers has to win: a user chooses it for other reasons.
        for what in ("wall", "cpu"):
            mine = max(getattr(row.figures, what) for row in same if row.peer.ours)
            others = [row for row in same if not row.peer.ours and getattr(row.figures, what) <= mine]
            found += [f"{kind}: {row.peer.name} is better in {what}" for row in others]
    return found


def memory(server: Server, sizes: Sequence[int]) -> list[tuple[int, float]]:
    """Peak of ours with encryption, by size."""
    measured = []
    for size in sizes:
        with sparse(size) as file:
            measured.append((size, max(upload(peer, server, file).rss for peer in OURS[1:])))
            print(f"memory at {size / GIB:g} GiB: {measured[-1][1]:.0f} MiB", flush=True)
    return measured


def _available() -> int:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def size_of(text: str) -> int:
    for unit, factor in SIZES.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    raise argparse.ArgumentTypeError(f"{text!r} is no size: write 512MiB or 4GiB")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="The data path beside rclone, aws and age.")
    parser.add_argument("--size", type=size_of, default=4 * GIB)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--memory", type=size_of, nargs="*", default=[GIB, 4 * GIB, 16 * GIB])
    parser.add_argument("--http", action="store_true", help="without TLS")
    parser.add_argument("--write", action="store_true", help="put the result into docs/data-path.md")
    return parser


def main() -> int:
    options = parser().parse_args()
    others, problems = foreign()
    with serving(not options.http) as server:
        with source(options.size) as file:
            rows = rounds([*OURS, *others], server, file, options.repeat)
            whole = rounds(WHOLE_WAY, server, file, min(3, options.repeat))
        peaks = memory(server, options.memory)
    lost = losses(rows)
    tables = [table(rows, whole), memory_table(peaks), floors()]
    text = document(options.size, options.repeat, not options.http, tables, [*problems, *lost])
    print(text)
    if options.write:
        write(text)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
