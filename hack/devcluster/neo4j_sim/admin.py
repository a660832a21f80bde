"""``neo4j-admin``: the launcher that parses, and the second process that works.

Guarantee: bad usage ends before anything is read or written (64; 2 for an unknown category); memory settings
that a JVM refuses end the run; SIGTERM ends both processes with 143. As with the real tool, killing only the
launcher with SIGKILL leaves the worker running.
Non-guarantee: memory is not used, only compared with the cgroup's limit when told where to read it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from hack.devcluster.neo4j_sim import backup, config, faults, inspecting, recovery, sizes, surface
from hack.devcluster.neo4j_sim.console import Console
from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.picocli import CommandSpec, Parsed, UsageError, parse
from hack.devcluster.neo4j_sim.places import Installation

USAGE = 64
Isolation = Callable[[Callable[[], int]], int]
_PAGE_CACHE_DEFAULT = "8m"
_CATEGORIES = ("backup", "database", "dbms", "server")


def _validate(console: Console) -> int:
    database = console.parsed.value("--database")
    raise CommandFailed(f"No sharded property database '{database}' was found.")


_WORKERS: dict[str, Callable[[Console], int]] = {
    "backup": backup.run,
    "inspect": inspecting.run,
    "aggregate": recovery.aggregate,
    "aggregate-backup": recovery.aggregate,
    "check": recovery.check,
    "restore": recovery.restore,
    "info": recovery.info,
    "validate": _validate,
}


def main(installation: Installation, arguments: Sequence[str], isolate: Isolation | None = None) -> int:
    """``isolate`` runs the work; left out, in a second process as the real tool does."""
    run = isolate or _in_worker
    known = surface.commands(installation.version)
    if list(arguments) in (["--version"], ["-V"], ["version"]):
        print(installation.version_text)
        return 0
    if list(arguments[:1]) == ["sim-digest"]:
        parsed = Parsed(positionals=list(arguments[1:]))
        return _guarded(
            installation, parsed, lambda console: recovery.print_digest(console, arguments[1]), run
        )
    if list(arguments) in (["--help"], ["-h"], ["help"]):
        print(_root_usage(known))
        return 0
    spec = known.get((arguments[0], arguments[1])) if len(arguments) > 1 else None
    if spec is None:
        return _unknown(arguments, known)
    try:
        parsed = parse(spec, arguments[2:])
    except UsageError as error:
        return _bad_usage(error, spec)
    if parsed.help_requested:
        print(spec.usage())
        return 0
    return _guarded(installation, parsed, lambda console: _work(console, spec), run, spec)


def _root_usage(known: dict[tuple[str, str], CommandSpec]) -> str:
    listed = "\n".join(f"  {' '.join(words)}" for words in sorted(known))
    return f"\nUsage: neo4j-admin [-hV] [COMMAND]\n\nCommands:\n{listed}\n"


def _unknown(arguments: Sequence[str], known: dict[tuple[str, str], CommandSpec]) -> int:
    """Picocli's own code, 2, because only leaf commands were given 64."""
    if not arguments or arguments[0] not in _CATEGORIES:
        if arguments:
            print(f"Unmatched argument at index 0: '{arguments[0]}'", file=sys.stderr)
        print(_root_usage(known), file=sys.stderr)
        return 2
    if tuple(arguments[:2]) in {("database", name) for name in surface.NOT_SIMULATED}:
        print(f"'{' '.join(arguments[:2])}' is not simulated", file=sys.stderr)
        return 70
    if len(arguments) > 1:
        print(f"Unmatched argument at index 1: '{arguments[1]}'", file=sys.stderr)
    print(_root_usage(known), file=sys.stderr)
    return 2


def _bad_usage(error: UsageError, spec: CommandSpec) -> int:
    print(error, file=sys.stderr)
    if error.suggestions:
        print(f"Possible solutions: {', '.join(error.suggestions)}", file=sys.stderr)
    else:
        print(spec.usage(), file=sys.stderr)
    return USAGE


def _config_files(installation: Installation, parsed: Parsed) -> list[Path]:
    """Lowest priority first."""
    names = ("neo4j.conf", "neo4j-admin.conf", "neo4j-admin-database-backup.conf")
    files = [installation.conf / name for name in names]
    additional = parsed.value("--additional-config")
    if additional and not Path(additional).is_file():
        raise CommandFailed(f"File {additional} does not exist")
    return [*files, Path(additional)] if additional else files


def _guarded(
    installation: Installation,
    parsed: Parsed,
    work: Callable[[Console], int],
    run: Isolation,
    spec: CommandSpec | None = None,
) -> int:
    verbose = parsed.flag("--verbose")
    try:
        files = _config_files(installation, parsed)
        settings = config.read(files, parsed.flag("--expand-commands"))
        console = Console(installation, settings, parsed, faults.load())
        if verbose:
            print(
                f"neo4j {installation.version_text}\nVM Name: simulated\nConfiguration files used: {files[0]}"
            )
        _check_memory(settings, parsed, spec)
        return run(lambda: _attempt(lambda: work(console), verbose))
    except CommandFailed as error:
        return _report(error, verbose)


def _work(console: Console, spec: CommandSpec) -> int:
    try:
        return _WORKERS[spec.words[1]](console)
    except UsageError as error:
        return _bad_usage(error, spec)


def _report(error: CommandFailed, verbose: bool) -> int:
    if verbose:
        print(f"org.neo4j.cli.CommandFailedException: {error}", file=sys.stderr)
        print("\tat org.neo4j.cli.AbstractCommand.call(AbstractCommand.java)", file=sys.stderr)
    else:
        print(error, file=sys.stderr)
        print("Run with '--verbose' for a more detailed error message.", file=sys.stderr)
    return error.exit_code


def _check_memory(settings: config.Config, parsed: Parsed, spec: CommandSpec | None) -> None:
    """Raises CommandFailed where the JVM would not start; ends by SIGKILL where it would not fit."""
    heap_text = os.environ.get("HEAP_SIZE") or settings.get("server.memory.heap.max_size", "")
    if os.environ.get("JAVA_OPTS"):
        if os.environ.get("HEAP_SIZE"):
            print("WARNING! HEAP_SIZE is ignored, because JAVA_OPTS is set", file=sys.stderr)
        heap_text = ""
    try:
        heap = sizes.jvm_bytes(heap_text) if heap_text else 0
    except ValueError as error:
        raise CommandFailed(
            f"{error}\nError: Could not create the Java Virtual Machine.\n"
            "Error: A fatal exception has occurred. Program will exit."
        ) from error
    limit_file = os.environ.get("NEO4J_SIM_MEMORY_LIMIT_FILE", "")
    if not limit_file:
        return
    limit_text = Path(limit_file).read_text(encoding="utf-8").strip()
    page_cache_text = parsed.value("--pagecache") or settings.get("server.memory.pagecache.size", "")
    page_cache = sizes.setting_bytes(page_cache_text or _PAGE_CACHE_DEFAULT)
    if limit_text == "max":
        return
    needed = (heap or int(limit_text) // 4) + max(page_cache, _off_heap(spec, parsed, int(limit_text)))
    if needed > int(limit_text):
        os.kill(os.getpid(), signal.SIGKILL)


def _off_heap(spec: CommandSpec | None, parsed: Parsed, limit: int) -> int:
    """What a consistency check allows itself: unless told otherwise, nearly everything."""
    if spec is None or spec.words[1] != "check":
        return 0
    told = parsed.value("--max-off-heap-memory") or "90%"
    return limit * int(told[:-1]) // 100 if told.endswith("%") else sizes.setting_bytes(told)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


def _in_worker(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    worker = os.fork()
    if worker == 0:
        os._exit(_worker(work))
    forwarded = False

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal forwarded
        forwarded = True
        os.kill(worker, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    if forwarded:
        return 143
    return code if code >= 0 else 128 - code


def _worker(work: Callable[[], int]) -> int:
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return work()
    except SystemExit as error:
        return int(error.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _attempt(work: Callable[[], int], verbose: bool) -> int:
    try:
        return work()
    except CommandFailed as error:
        return _report(error, verbose)
    except OSError as error:
        return _report(CommandFailed(f"java.io.IOException: {error.strerror}: {error.filename}"), verbose)
