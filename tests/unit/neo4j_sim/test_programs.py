"""The installed tree, started as programs: wrappers, processes, signals, and the shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import shell
from hack.devcluster.neo4j_sim.image import SimImage, install
from tests.unit.neo4j_sim.support import eventually, free_block

PASSWORD = "long-enough"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> SimImage:
    """Installed at one place, used at another."""
    installed = install(tmp_path_factory.mktemp("installed"), "5.26.3")
    moved = tmp_path_factory.mktemp("container")
    shutil.copytree(installed.root, moved, dirs_exist_ok=True)
    shutil.rmtree(installed.root)
    return SimImage(moved, "5.26.3")


class Pod:
    """One server process and tools with the same environment."""

    def __init__(self, image: SimImage, root: Path, environment: dict[str, str]) -> None:
        # Its own copy, as every container has: the entrypoint writes into it.
        shutil.copytree(image.root, root / "fs")
        self.image = image = SimImage(root / "fs", image.version)
        self.environment = {
            "PATH": f"{image.home / 'bin'}:{os.environ['PATH']}",
            "CONTAINER_ROOT": str(root),
            "DEVCLUSTER_POD_IP": f"{free_block()}.2",
            "HOSTNAME": "solo-0",
            "TZ": "UTC",
            "NEO4J_ACCEPT_LICENSE_AGREEMENT": "eval",
            "NEO4J_AUTH": f"neo4j/{PASSWORD}",
            **environment,
        }
        self.log = root / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [image.root / "startup" / "docker-entrypoint.sh", "neo4j"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self) -> None:
        eventually(
            lambda: "Started." in self.log.read_text(encoding="utf-8") or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")

    def run(self, *argv: str | Path, text: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | more
        program = shutil.which(str(argv[0]), path=environment["PATH"])
        assert program
        return subprocess.run(
            [program, *argv[1:]],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            cwd=self.log.parent,
            check=False,
        )

    def shell(self, *argv: str, text: str = "", password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        credentials = {"NEO4J_USERNAME": "neo4j", "NEO4J_PASSWORD": password}
        return self.run("cypher-shell", *argv, text=text, **credentials)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture(scope="module")
def pod(image: SimImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(image, tmp_path_factory.mktemp("pod"), {})
    try:
        pod.ready()
        yield pod
    finally:
        pod.process.kill()
        pod.process.wait()


def _server_that_ends(image: SimImage, root: Path, environment: dict[str, str]) -> tuple[int, str]:
    pod = Pod(image, root, environment)
    code = pod.process.wait(15)
    return code, pod.log.read_text(encoding="utf-8")


def test_the_version(pod: Pod) -> None:
    assert pod.run("neo4j-admin", "--version").stdout == "5.26.3\n"
    assert pod.run("neo4j", "version").stdout == "5.26.3\n"


def test_a_backup_from_the_installed_tree(pod: Pod, tmp_path: Path) -> None:
    result = pod.run("neo4j-admin", "database", "backup", f"--to-path={tmp_path}", "*")
    assert result.returncode == 0
    assert len(list(tmp_path.glob("*.backup"))) == 2
    assert pod.run("neo4j-admin", "database", "backup", "--nonsense").returncode == 64


def test_the_file_name_is_local_time_and_the_header_utc(pod: Pod, tmp_path: Path) -> None:
    pod.run("neo4j-admin", "database", "backup", f"--to-path={tmp_path}", "neo4j", TZ="XXX-05:00")
    row = pod.run("neo4j-admin", "backup", "inspect", "--show-metadata", tmp_path).stdout.splitlines()[1]
    header = next(cell.strip() for cell in row.split("|") if "T" in cell and "file:" not in cell)
    (name,) = (path.name for path in tmp_path.iterdir())
    assert (int(name[-15:-13]) - int(header[11:13])) % 24 == 5


def test_a_terminated_backup_leaves_no_process_and_no_artifact(pod: Pod, tmp_path: Path) -> None:
    target, staging = tmp_path / "to", tmp_path / "tmp"
    target.mkdir()
    staging.mkdir()
    process = subprocess.Popen(
        [
            pod.image.home / "bin" / "neo4j-admin",
            "database",
            "backup",
            f"--to-path={target}",
            f"--temp-path={staging}",
            "neo4j",
        ],
        env=pod.environment | {"NEO4J_SIM_BYTES_PER_SECOND": "20000"},
        stdout=subprocess.DEVNULL,
    )
    eventually(lambda: any(file.stat().st_size for file in staging.rglob("*.store")))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert list(target.iterdir()) == []
    assert list(staging.iterdir()) == []


def test_killed_as_by_the_memory_limit(pod: Pod, tmp_path: Path) -> None:
    result = pod.run(
        "neo4j-admin",
        "database",
        "backup",
        f"--to-path={tmp_path}",
        "neo4j",
        NEO4J_SIM_FAULTS='{"kill": true}',
    )
    assert result.returncode == 137
    limit = tmp_path / "memory.max"
    limit.write_text(str(512 << 20), encoding="utf-8")
    too_much = {"HEAP_SIZE": "400m", "NEO4J_SIM_MEMORY_LIMIT_FILE": str(limit)}
    backup = ("neo4j-admin", "database", "backup", f"--to-path={tmp_path}", "neo4j")
    assert pod.run(*backup, "--pagecache=200m", **too_much).returncode in (137, -9)
    assert pod.run(*backup, "--pagecache=64m", **too_much).returncode == 0


def test_only_the_own_pod_reaches_the_default_backup_listener(pod: Pod, tmp_path: Path) -> None:
    address = pod.environment["DEVCLUSTER_POD_IP"]
    backup = ("neo4j-admin", "database", "backup", f"--to-path={tmp_path}", f"--from={address}:6362", "neo4j")
    assert pod.run(*backup).returncode == 0
    assert pod.run(*backup, DEVCLUSTER_POD_IP=address[:-1] + "3").returncode == 1


def test_the_shell(pod: Pod) -> None:
    columns = "name, type, writer, aliases, replicationLag, lastStopTime"
    shown = pod.shell("-d", "system", "--format", "plain", f"SHOW DATABASES YIELD {columns}")
    assert shown.stdout.splitlines() == [
        columns,
        '"neo4j", "standard", TRUE, [], 0, NULL',
        '"system", "system", TRUE, [], 0, NULL',
    ]
    assert pod.shell("-d", "neo4j", text="CREATE (:A);\nRETURN 'a;b' AS x;\n").stdout == 'x\n"a;b"\n'


def test_the_shell_without_rows_prints_nothing(pod: Pod) -> None:
    result = pod.shell("-d", "system", "SHOW DATABASES YIELD name WHERE name = 'nobody'")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_wrong_password(pod: Pod) -> None:
    for given in ("wrong", ""):
        result = pod.shell("SHOW DATABASES", password=given)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "The client is unauthorized due to authentication failure.\n"
    assert pod.run("cypher-shell", "-u", "neo4j", "-p", PASSWORD, "RETURN 1").returncode == 0


def test_a_server_that_is_not_there(pod: Pod) -> None:
    result = pod.shell("-a", "bolt://127.0.0.1:1", "RETURN 1")
    assert result.returncode == 1
    assert "Unable to connect to 127.0.0.1:1, ensure the database is running" in result.stderr


def test_http_says_the_version(pod: Pod) -> None:
    import urllib.request

    with urllib.request.urlopen(f"http://{pod.environment['DEVCLUSTER_POD_IP']}:7474/") as answer:
        assert b'"neo4j_version": "5.26.3"' in answer.read()


def test_the_server_ends_on_sigterm_as_a_jvm_does(image: SimImage, tmp_path: Path) -> None:
    pod = Pod(image, tmp_path / "pod", {})
    pod.ready()
    assert pod.stop() == 143
    assert "Stopped." in pod.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"NEO4J_ACCEPT_LICENSE_AGREEMENT": "no"}, "accept the license agreement"),
        ({"NEO4J_SERVICE_HOST": "10.0.0.1"}, "No declared setting with name: SERVICE.HOST"),
        ({"NEO4J_AUTH": "neo4j/neo4j"}, "It cannot be 'neo4j'"),
        ({"NEO4J_SIM_CLUSTER": '{"servers": [], "databases": []}'}, "is not in the topology document"),
    ],
)
def test_a_server_that_refuses_to_start(
    image: SimImage, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    code, log = _server_that_ends(image, tmp_path / "pod", environment)
    assert (code, words in log) == (1, True), log


def test_the_entrypoint_runs_other_commands(image: SimImage, tmp_path: Path) -> None:
    result = subprocess.run(
        [image.root / "startup" / "docker-entrypoint.sh", "echo", "hello"],
        env={"PATH": os.environ["PATH"], "CONTAINER_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "hello\n"


def test_the_interpreter_is_the_one_named_at_install_time(tmp_path: Path) -> None:
    python = tmp_path / "a place" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    image = install(tmp_path / "image", "2025.10.1", python=str(python))
    program = image.home / "bin" / "neo4j-admin"
    assert str(python) in program.read_text(encoding="utf-8")
    result = subprocess.run(
        [program, "--version"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert result.stdout == "2025.10.1\n"


def test_a_floating_tag_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an exact Neo4j version"):
        install(tmp_path, "5-enterprise")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi" \\ there', '"say \\"hi\\" \\ there"'),
        (None, "NULL"),
        (True, "TRUE"),
        (-3, "-3"),
        (["a", 1], '["a", 1]'),
        ({"a": False}, "{a: FALSE}"),
    ],
)
def test_values_as_the_driver_prints_them(value: object, text: str) -> None:
    assert shell.formatted(value) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A; B", ["A", "B"]),
        ("RETURN 'a;b';", ["RETURN 'a;b'"]),
        (":param x => 1\nRETURN 1;", [":param x => 1", "RETURN 1"]),
        ("\n;\n", []),
    ],
)
def test_statements_are_split_outside_quotes(text: str, found: list[str]) -> None:
    assert list(shell.statements(text)) == found


def test_the_verbose_table() -> None:
    shown = shell.verbose({"columns": ["n", "longer"], "rows": [["a", 1]]})
    assert shown.splitlines()[:5] == [
        "+--------------+",
        "| n   | longer |",
        "+--------------+",
        '| "a" | 1      |',
        "+--------------+",
    ]
    assert "1 row\n" in shown
