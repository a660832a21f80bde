"""A ``neo4j-admin`` that does what a test tells it: for outcomes that a simulator as strict as Neo4j refuses.

What it should do stands in ``fake.json`` beside it; what it was asked for is appended to ``calls.jsonl``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PREFIX = "2026-01-01 00:00:00.000+0000 INFO  [c.n.b.b.BackupOutputMonitor] "
COLUMNS = "FILE | DATABASE | DATABASE ID | TIME (UTC) | FULL | COMPRESSED | LOWEST TX | HIGHEST TX"


def main(arguments: list[str]) -> int:
    told: dict[str, Any] = json.loads((HERE / "fake.json").read_text())
    note = {"argv": arguments, "env": dict(os.environ), "at": time.time()}
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(note) + "\n")
    if arguments == ["--version"]:
        print(told.get("version", "5.26.3"))
        return 0
    if arguments[:2] == ["database", "backup"]:
        return backup(told, arguments[2:])
    if arguments[:2] == ["backup", "inspect"]:
        return inspect(told, Path(arguments[-1]))
    return 2


def backup(told: dict[str, Any], arguments: list[str]) -> int:
    target = Path(value(arguments, "--to-path"))
    names = [argument for argument in arguments if not argument.startswith("--")]
    names = told.get("hosted", ["neo4j", "system"]) if names == ["*"] else names
    temporary = Path(value(arguments, "--temp-path"))
    if not temporary.is_dir() or list(temporary.iterdir()):
        print("Storage staging path is not empty or does not exist", file=sys.stderr)
        return 1
    (temporary / "copy").write_bytes(b"x" * 1000)
    for name in names:
        print(f"{PREFIX}Start backup of database '{name}'.")
        sys.stdout.flush()
        time.sleep(told.get("seconds", 0))
        if name in told.get("skips", []):
            continue
        if name in told.get("fails", {}):
            print(f"Backup of database '{name}' failed. Reason: {told['fails'][name]}", file=sys.stderr)
            continue
        file = f"{name}-2026-01-01T00-00-00.backup"
        if "fills_until" in told and not fill(target / file, told["fills_until"]):
            return 1
        (target / file).write_bytes(name.encode() * told.get("size", 1000))
        print(f"Finished artifact creation '{file}' for database '{name}', took 1ms.")
    if told.get("last"):
        print(told["last"], file=sys.stderr)
    return int(told.get("exit", 1 if set(names) & set(told.get("fails", {})) else 0))


def fill(path: Path, until: int) -> bool:
    """Write until no more than ``until`` bytes are free, then wait to be ended."""
    with path.open("wb") as file:
        try:
            while (found := os.statvfs(path)).f_bavail * found.f_frsize > until or not until:
                file.write(bytes(1 << 20))
                file.flush()
        except OSError as error:
            print(f"java.io.IOException: {error.strerror}", file=sys.stderr)
            return False
    time.sleep(60)
    return True


def inspect(told: dict[str, Any], directory: Path) -> int:
    print(COLUMNS)
    for path in sorted(directory.glob("*.backup")):
        database = path.name[: -len("-2026-01-01T00-00-00.backup")]
        if database not in told.get("unreadable", []):
            print(f"file://{path} | {database} | id-{database} | 2026-01-01 00:00:00 | true | true | 1 | 42")
    return int(told.get("inspect_exit", 0))


def value(arguments: list[str], name: str) -> str:
    return next(argument.partition("=")[2] for argument in arguments if argument.startswith(f"{name}="))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
