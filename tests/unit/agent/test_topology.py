"""The verb ``topology`` with a ``cypher-shell`` that does as it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from controller.agent import topology
from controller.agent.lock import JVM_LOCK, held
from controller.agent.surroundings import Configuration, Credentials, configuration, credentials
from controller.agent.topology import look, own_address
from controller.neo4j.topology import HostedDatabase
from tests.unit.agent.conftest import Container

SHELL = """\
#!/bin/sh
printf '%s\\n' "$NEO4J_USERNAME" "$NEO4J_PASSWORD" "$@" >> {here}/shell.txt
cat {here}/shell.out
cat {here}/shell.err >&2
exit $(cat {here}/shell.exit)
"""
ROWS = """\
name, type, address, role, writer, requestedStatus, currentStatus, databaseID, lastCommittedTxn, replicationLag, statusMessage
"neo4j", "standard", "core-0.ns.svc:7687", "primary", TRUE, "online", "online", "AA", 42, 0, ""
"neo4j", "standard", "read-0.ns.svc:7687", "secondary", FALSE, "online", "online", "AA", 41, -1, ""
"""  # noqa: E501 - as long as Neo4j prints it


@pytest.fixture
def shell(container: Container) -> Container:
    says(container, ROWS)
    program = container.bin / "cypher-shell"
    program.write_text(SHELL.format(here=container.bin))
    program.chmod(0o755)
    return container


def says(container: Container, out: str, err: str = "", code: int = 0) -> None:
    for name, text in (("out", out), ("err", err), ("exit", str(code))):
        (container.bin / f"shell.{name}").write_text(text)


def test_the_rows_the_version_and_the_own_address(shell: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_AUTH", "neo4j/pass/word")
    monkeypatch.setenv("NEO4J_server_default__advertised__address", "core-0.ns.svc")
    answer = look(os.environ)
    assert answer.error == ""
    assert [(row.address, row.role, row.writer) for row in answer.databases] == [
        ("core-0.ns.svc:7687", "primary", True),
        ("read-0.ns.svc:7687", "secondary", False),
    ]
    assert (answer.neo4j_version, answer.server_address) == ("5.26.3", "core-0.ns.svc:7687")
    username, password, *argv = (shell.bin / "shell.txt").read_text().splitlines()
    assert (username, password) == ("neo4j", "pass/word")
    assert argv[:2] == ["-a", "bolt://localhost:7687"]
    assert not any("word" in argument for argument in argv)


def test_a_failed_look_is_an_error_without_the_password(shell: Container) -> None:
    says(shell, "", "The client is unauthorized due to authentication failure, not pass-word.\n", 1)
    answer = look(dict(os.environ) | {"NEO4J_AUTH": "neo4j/pass-word"})
    assert answer.databases == ()
    assert "unauthorized due to authentication failure" in answer.error
    assert "pass-word" not in answer.error


def test_no_rows_are_an_error_and_not_an_empty_dbms(shell: Container) -> None:
    says(shell, "")
    assert "no databases" in look(dict(os.environ) | {"NEO4J_AUTH": "neo4j/x"}).error


def test_without_credentials_nothing_is_started(shell: Container) -> None:
    assert "neither NEO4J_AUTH nor" in look(os.environ).error
    assert not (shell.bin / "shell.txt").exists()


def test_while_a_dump_runs_no_second_jvm_is_started(
    shell: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "PATIENCE_SECONDS", 0.1)
    with held(shell.places.requests / JVM_LOCK, 0):
        assert look(dict(os.environ) | {"NEO4J_AUTH": "neo4j/x"}).error.startswith("busy")
    assert not (shell.bin / "shell.txt").exists()


def test_a_shell_that_hangs_is_given_up(shell: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "TIMEOUT_SECONDS", 0.2)
    (shell.bin / "cypher-shell").write_text("#!/bin/sh\nexec sleep 60\n")
    assert "no answer from the database" in look(dict(os.environ) | {"NEO4J_AUTH": "neo4j/x"}).error


def test_the_verb_always_answers_one_line(container: Container) -> None:
    done = container.verb("topology")
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert "error" in json.loads(line)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"NEO4J_AUTH": "neo4j/a/b"}, Credentials("neo4j", "a/b")),
        ({"NEO4J_AUTH": "none"}, Credentials("", "")),
        ({"NEO4J_AUTH_PATH": "/auth"}, Credentials("neo4j", "from file")),
        ({"NEO4J_AUTH_FILE": "/auth"}, Credentials("neo4j", "from file")),
        ({"NEO4J_USERNAME": "ops", "NEO4J_PASSWORD": "p"}, Credentials("ops", "p")),
        ({"NEO4J_PASSWORD": "p"}, Credentials("neo4j", "p")),
        ({"NEO4J_AUTH_PATH": "/not there"}, None),
        ({}, None),
    ],
)
def test_where_credentials_come_from(
    container: Container, env: dict[str, str], expected: Credentials | None
) -> None:
    (container.root / "auth").write_text("neo4j/from file\n")
    assert credentials(env) == expected


def test_a_password_is_never_shown() -> None:
    assert "geheim" not in repr(Credentials("neo4j", "geheim"))


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("", "localhost:6362"),
        ("127.0.0.1:6362", "localhost:6362"),
        ("0.0.0.0:7000", "localhost:7000"),
        (":7000", "localhost:7000"),
        ("127.0.0.7:6362", "127.0.0.7:6362"),
        ("neo4j-0", "neo4j-0:6362"),
        ("[::]:6362", "localhost:6362"),
        ("[fd00::1]:7000", "[fd00::1]:7000"),
        ("$(hostname):6362", "localhost:6362"),
    ],
)
def test_the_own_backup_listener(listen: str, address: str) -> None:
    assert Configuration({"server.backup.listen_address": listen}, {}).backup_address() == address


def test_the_environment_overrules_the_file(container: Container) -> None:
    conf = container.root / "conf"
    conf.mkdir()
    (conf / "neo4j.conf").write_text(
        "# server.backup.listen_address=0.0.0.0:1\nserver.backup.listen_address = 0.0.0.0:7000\n"
        "server.bolt.tls_level=REQUIRED\nserver.bolt.advertised_address=me:7777\n"
    )
    env = {"NEO4J_CONF": "/conf"}
    assert configuration(env).backup_address() == "localhost:7000"
    assert configuration(env).bolt_address() == "bolt+ssc://localhost:7687"
    assert configuration(env).advertised_address() == "me:7777"
    env["NEO4J_server_backup_listen__address"] = ":7001"
    assert configuration(env).backup_address() == "localhost:7001"


def test_the_own_address_is_recognised_or_left_open(tmp_path: Path) -> None:
    def row(address: str) -> HostedDatabase:
        return HostedDatabase("a", "standard", address, "primary", True, "online", "online")

    assert own_address([row("x:7687"), row("x:7687"), row("")], "other") == "x:7687"
    assert own_address([row("core-0.a:7687"), row("core-1.a:7687")], "core-1.ns.svc") == "core-1.a:7687"
    assert own_address([row("10.0.0.1:7687"), row("10.0.0.2:7687")], "core-1") == ""
