"""``cypher-shell``.

Guarantee: options, environment variables, exit codes and the plain and verbose formats are the real tool's;
no rows print nothing in plain format; a wrong password ends with 1 and the driver's words.
Non-guarantee: no prompt: without a terminal the real tool has none either.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NoReturn
from urllib.parse import urlsplit

from hack.devcluster.neo4j_sim import protocol
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.places import Installation
from hack.devcluster.neo4j_sim.protocol import BOLT_PORT, Connection, Json

_TIMEOUT = 30.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"cypher-shell: error: {message}", file=sys.stderr)
        raise SystemExit(1)


def _parser() -> _Parser:
    parser = _Parser(prog="cypher-shell", allow_abbrev=False)
    default_address = (
        os.environ.get("NEO4J_URI") or os.environ.get("NEO4J_ADDRESS") or "neo4j://localhost:7687"
    )
    parser.add_argument("-a", "--address", "--uri", default=default_address)
    parser.add_argument("-u", "--username", default=os.environ.get("NEO4J_USERNAME", ""))
    parser.add_argument("-p", "--password", default=os.environ.get("NEO4J_PASSWORD", ""))
    parser.add_argument("-d", "--database", default=os.environ.get("NEO4J_DATABASE", ""))
    parser.add_argument("--format", choices=("auto", "verbose", "plain"), default="auto")
    parser.add_argument("-P", "--param", action="append", default=[])
    parser.add_argument("--non-interactive", action="store_true")
    parser.add_argument("--encryption", choices=("true", "false", "default"), default="default")
    parser.add_argument("--access-mode", choices=("read", "write"), default="write")
    parser.add_argument("--fail-fast", action="store_true")
    parser.add_argument("--fail-at-end", action="store_true")
    parser.add_argument("-f", "--file")
    parser.add_argument("-v", "--version", action="store_true")
    parser.add_argument("cypher", nargs="?")
    return parser


def statements(text: str) -> Iterator[str]:
    """Split at semicolons outside quotes. Shell commands (``:param``) end at the line."""
    current, quote = "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif character == ";" or (character == "\n" and current.lstrip().startswith(":")):
            if current.strip():
                yield current.strip()
            current = ""
            continue
        current += character
    if current.strip():
        yield current.strip()


def _parameters(given: Sequence[str]) -> Json:
    found: Json = {}
    for text in given:
        name, arrow, value = text.partition("=>")
        if not arrow:
            name, _, value = text.strip("{}").partition(":")
        value = value.strip()
        found[name.strip()] = value[1:-1] if value[:1] in "'\"" else int(value)
    return found


# --- formats -------------------------------------------------------------------------------------


def formatted(value: Any) -> str:
    """As the Java driver prints values: only double quotes are escaped inside strings."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case str():
            return '"' + value.replace('"', '\\"') + '"'
        case list():
            return "[" + ", ".join(map(formatted, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{name}: {formatted(item)}" for name, item in value.items()) + "}"
        case _:
            return str(value)


def plain(answer: Json) -> str:
    rows = [", ".join(map(formatted, row)) for row in answer["rows"]]
    return "\n".join([", ".join(answer["columns"]), *rows]) if rows else ""


def verbose(answer: Json) -> str:
    cells = [answer["columns"], *([formatted(value) for value in row] for row in answer["rows"])]
    count = len(answer["rows"])
    timing = "ready to start consuming query after 1 ms, results consumed after another 0 ms"
    footer = f"{count} row{'' if count == 1 else 's'}\n{timing}"
    if not answer["columns"]:
        return footer
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "+" + "-" * (sum(widths) + 3 * len(widths) - 1) + "+"
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, "", footer])


# --- connection ----------------------------------------------------------------------------------


def _connect(address: str) -> tuple[Connection, bool]:
    url = urlsplit(address if "://" in address else f"neo4j://{address}")
    host, port = url.hostname or "localhost", url.port or BOLT_PORT
    try:
        return protocol.connect(host, port, _TIMEOUT), url.scheme.startswith("neo4j")
    except OSError as error:
        raise ServerError(
            "ServiceUnavailable",
            f"Unable to connect to {host}:{port}, ensure the database is running and that there is a working "
            "network connection to it.",
        ) from error


def _texts(options: argparse.Namespace) -> list[str]:
    if options.cypher:
        return list(statements(options.cypher))
    if options.file:
        with open(options.file, encoding="utf-8") as file:
            return list(statements(file.read()))
    return list(statements(sys.stdin.read()))


def main(installation: Installation, arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.version:
        print(f"Cypher-Shell {installation.version_text}")
        return 0
    show = (
        verbose
        if options.format == "verbose" or (options.format == "auto" and sys.stdout.isatty())
        else plain
    )
    try:
        connection, routed = _connect(options.address)
        with closing(connection):
            base: Json = {
                "user": options.username,
                "password": options.password,
                "database": options.database,
                "parameters": _parameters(options.param),
                "routed": routed,
            }
            # Connecting authenticates even when there is no statement.
            _ask(connection, {**base, "statement": "RETURN 1"})
            return _run(connection, base, _texts(options), show, options.fail_at_end)
    except ServerError as error:
        print(error.message, file=sys.stderr)
        return 1
    except OSError:
        print("Connection to the database terminated.", file=sys.stderr)
        return 1


def _run(connection: Connection, base: Json, texts: Sequence[str], show: Any, at_end: bool) -> int:
    failed = False
    for text in texts:
        if text.startswith(":"):
            continue
        try:
            shown = show(_ask(connection, {**base, "statement": text}))
            if shown:
                print(shown)
        except ServerError as error:
            print(error.message, file=sys.stderr)
            if not at_end:
                return 1
            failed = True
    return 1 if failed else 0


def _ask(connection: Connection, message: Json) -> Json:
    answer = connection.ask(message)
    if "error" in answer:
        raise ServerError(answer["error"], answer["message"])
    return answer
