"""Artifacts and stores as files, chains, and ``backup inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import artifact, chain, store
from hack.devcluster.neo4j_sim.artifact import Corrupt
from hack.devcluster.neo4j_sim.chain import NoChain
from hack.devcluster.neo4j_sim.store import Frame, Inconsistent, Store
from hack.devcluster.neo4j_sim.versions import parse_version
from tests.unit.neo4j_sim.conftest import MakeTool
from tests.unit.neo4j_sim.support import an_artifact


def _ranges(found: list[chain.Artifact]) -> list[tuple[int, int]]:
    return [(item.header.lowest, item.header.highest) for item in found]


# --- files ---------------------------------------------------------------------------------------


def test_a_header_is_read_back(target: Path) -> None:
    path = an_artifact(target, "00:00:01", full=True, highest=7)
    assert artifact.read_header(path) == artifact.verify(path)
    assert artifact.read_header(path).highest == 7


def test_an_artifact_is_never_replaced(target: Path) -> None:
    an_artifact(target, "00:00:01")
    with pytest.raises(FileExistsError):
        an_artifact(target, "00:00:01")


@pytest.mark.parametrize("kept", [0, 5, 60, 0.9])
def test_a_cut_file_is_found_by_its_header(target: Path, kept: float) -> None:
    path = an_artifact(target, "00:00:01")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(Corrupt):
        artifact.read_header(path)


def test_a_changed_header_is_found(target: Path) -> None:
    path = an_artifact(target, "00:00:01", highest=7)
    path.write_bytes(path.read_bytes().replace(b'"highest": 7', b'"highest": 8'))
    with pytest.raises(Corrupt, match="header"):
        artifact.read_header(path)


@pytest.mark.parametrize(
    ("name", "database"),
    [
        ("neo4j-2024-10-07T16-05-37.backup", "neo4j"),
        ("a-b.c-2-2024-10-07T16-05-37.backup", "a-b.c-2"),
    ],
)
def test_names(name: str, database: str) -> None:
    match = artifact.NAME.match(name)
    assert match is not None
    assert match["database"] == database


def test_content_is_a_function_of_database_transaction_and_statement() -> None:
    assert store.payload("a", 1, 500) == store.payload("a", 1, 500)
    assert len({store.payload(*given) for given in (("a", 1, 500), ("b", 1, 500), ("a", 2, 500))}) == 3
    assert store.payload("a", 1, 500, "CREATE ()") != store.payload("a", 1, 500)
    assert len(store.payload("a", 3, 1_000_000)) == 1_000_000


def test_a_store_cut_anywhere_opens_at_its_last_whole_transaction(tmp_path: Path) -> None:
    known = Store(tmp_path / "db")
    known.create({"id": "x"})
    known.append(Frame(tx, tx, b"content") for tx in range(1, 4))
    with (known.directory / "neostore").open("ab") as file:
        file.write(b"half a fra")
    with (known.directory / "neostore.id").open("ab") as file:
        file.write(b"123")
    known.recover()
    assert known.last_tx() == 3
    assert store.digest(known.frames())["lastTx"] == 3


def test_a_changed_transaction_is_inconsistent(tmp_path: Path) -> None:
    known = Store(tmp_path / "db")
    known.create({"id": "x"})
    known.append([Frame(1, 1, b"content")])
    file = known.directory / "neostore"
    file.write_bytes(file.read_bytes().replace(b"content", b"cOntent"))
    with pytest.raises(Inconsistent, match="checksum"):
        store.digest(known.frames())


def test_a_missing_transaction_is_inconsistent() -> None:
    with pytest.raises(Inconsistent, match="3 follows 1"):
        store.digest([Frame(1, 1, b""), Frame(3, 1, b"")])


# --- chains --------------------------------------------------------------------------------------


def _chain(folder: Path, version: str = "5.26.3") -> list[tuple[int, int]]:
    return _ranges(chain.latest_chain("db", chain.scan(folder), parse_version(version)))


def test_a_chain_is_a_full_and_contiguous_differentials(target: Path) -> None:
    an_artifact(target, "00:00:01", full=True, highest=5)
    an_artifact(target, "00:00:02", lowest=6, highest=8)
    an_artifact(target, "00:00:03", lowest=0, highest=0)
    an_artifact(target, "00:00:04", lowest=9, highest=9)
    assert _chain(target) == [(1, 5), (6, 8), (9, 9)]


def test_a_gap_breaks_the_chain(target: Path) -> None:
    an_artifact(target, "00:00:01", full=True, highest=5)
    an_artifact(target, "00:00:02", lowest=7, highest=8)
    with pytest.raises(NoChain):
        _chain(target)


def test_another_database_id_is_another_chain(target: Path) -> None:
    an_artifact(target, "00:00:01", full=True, highest=5, id="old")
    an_artifact(target, "00:00:02", lowest=6, highest=8, id="new")
    with pytest.raises(NoChain):
        _chain(target)


def test_the_first_differential_may_overlap_from_2026_02_on(target: Path) -> None:
    an_artifact(target, "00:00:01", full=True, highest=10)
    an_artifact(target, "00:00:02", lowest=8, highest=12)
    an_artifact(target, "00:00:03", lowest=13, highest=14)
    assert _chain(target, "2026.02.0") == [(1, 10), (8, 12), (13, 14)]
    with pytest.raises(NoChain):
        _chain(target, "2026.01.2")


def test_a_later_differential_may_not_overlap(target: Path) -> None:
    an_artifact(target, "00:00:01", full=True, highest=10)
    an_artifact(target, "00:00:02", lowest=11, highest=14)
    an_artifact(target, "00:00:03", lowest=13, highest=16)
    with pytest.raises(NoChain):
        _chain(target, "2026.02.0")


def test_the_parent_of_the_next_differential(target: Path) -> None:
    version = parse_version("2025.04.0")
    an_artifact(target, "00:00:01", full=True, highest=5)
    an_artifact(target, "00:00:02", lowest=6, highest=8)
    an_artifact(target, "00:00:03", full=True, highest=9)
    an_artifact(target, "00:00:04", lowest=0, highest=0)
    items = chain.scan(target)
    default = chain.parent_for_diff("id-1", items, version, prefer_diff=False)
    preferred = chain.parent_for_diff("id-1", items, version, prefer_diff=True)
    assert default is not None
    assert preferred is not None
    assert (default.header.highest, preferred.header.highest) == (9, 8)
    assert chain.parent_for_diff("id-2", items, version, prefer_diff=False) is None


def test_no_parent_where_the_full_is_gone(target: Path) -> None:
    an_artifact(target, "00:00:02", lowest=6, highest=8)
    assert chain.parent_for_diff("id-1", chain.scan(target), (5, 26, 0), prefer_diff=False) is None


# --- inspect -------------------------------------------------------------------------------------

_COLUMNS_5_26 = [
    "FILE",
    "DATABASE",
    "DATABASE ID",
    "TIME (UTC)",
    "FULL",
    "COMPRESSED",
    "LOWEST TX",
    "HIGHEST TX",
]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("5.26.3", []),
        ("2025.05.0", []),
        ("2025.06.0", ["RECOVERED"]),
        ("2025.09.0", ["STORE ID HASH", "RECOVERED"]),
    ],
)
def test_columns_by_version(make_tool: MakeTool, target: Path, version: str, more: list[str]) -> None:
    an_artifact(target, "00:00:01", full=True, highest=5)
    lines = make_tool(version)("backup", "inspect", "--show-metadata", target).out.splitlines()
    assert _cells(lines[0]) == [*_COLUMNS_5_26, *more]
    cells = dict(zip(_cells(lines[0]), _cells(lines[1]), strict=True))
    assert cells["FILE"] == (target / "db-2026-01-01T00-00-01.backup").as_uri()
    assert (cells["FULL"], cells["LOWEST TX"], cells["HIGHEST TX"]) == ("true", "1", "5")
    assert cells["TIME (UTC)"] == "2026-01-01T00:00:01"
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(("version", "shown"), [("5.26.3", False), ("2025.06.1", False), ("2025.07.0", True)])
def test_metadata_without_asking_for_it(make_tool: MakeTool, target: Path, version: str, shown: bool) -> None:
    an_artifact(target, "00:00:01", full=True)
    out = make_tool(version)("backup", "inspect", target).out
    assert ("DATABASE ID" in out) == shown
    assert "db-2026-01-01T00-00-01.backup" in out


def _files(out: str) -> list[str]:
    return [_cells(line)[0].rpartition("T")[2].removesuffix(".backup") for line in out.splitlines()[1:]]


@pytest.fixture
def a_folder(target: Path) -> Path:
    an_artifact(target, "00:00:01", full=True, highest=5)
    an_artifact(target, "00:00:02", lowest=6, highest=8)
    an_artifact(target, "00:00:03", lowest=0, highest=0)
    an_artifact(target, "00:00:04", full=True, highest=9)
    an_artifact(target, "00:00:05", lowest=10, highest=11)
    an_artifact(target, "00:00:06", name="other", id="id-2", full=True, highest=3)
    return target


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ([], ["00-00-06", "00-00-05", "00-00-04", "00-00-02", "00-00-01"]),
        (["--empty", "--database=db"], ["00-00-05", "00-00-04", "00-00-03", "00-00-02", "00-00-01"]),
        (["--latest-backup"], ["00-00-06", "00-00-05"]),
        (["--latest-chain", "--database=db"], ["00-00-05", "00-00-04"]),
    ],
)
def test_selections(make_tool: MakeTool, a_folder: Path, options: list[str], files: list[str]) -> None:
    result = make_tool("5.26.3")("backup", "inspect", "--show-metadata", *options, a_folder)
    assert (result.code, _files(result.out)) == (0, files)


def test_the_chain_that_ends_at_a_file(make_tool: MakeTool, a_folder: Path) -> None:
    file = a_folder / "db-2026-01-01T00-00-02.backup"
    older = make_tool("5.26.3")("backup", "inspect", "--latest-chain", file)
    newer = make_tool("2025.07.0")("backup", "inspect", "--latest-chain", file)
    assert (_files(older.out), _files(newer.out)) == (["00-00-02", "00-00-01"], ["00-00-01", "00-00-02"])


def test_json(make_tool: MakeTool, a_folder: Path) -> None:
    out = make_tool("2025.06.0")("backup", "inspect", "--show-metadata", "--format=json", a_folder).out
    assert [row["highestTransactionId"] for row in json.loads(out)] == [3, 11, 9, 8, 5]
    assert {row["recovered"] for row in json.loads(out)} == {False}


def test_a_damaged_artifact_fails_the_inspection(make_tool: MakeTool, a_folder: Path) -> None:
    path = a_folder / "db-2026-01-01T00-00-02.backup"
    path.write_bytes(path.read_bytes()[:-3])
    result = make_tool("5.26.3")("backup", "inspect", a_folder)
    assert (result.code, path.name in result.err) == (1, True)


def test_a_path_that_is_not_there(make_tool: MakeTool, target: Path) -> None:
    assert make_tool("5.26.3")("backup", "inspect", target / "nothing").code == 1


def test_the_older_spelling(make_tool: MakeTool, a_folder: Path) -> None:
    result = make_tool("5.26.3")("database", "backup", f"--inspect-path={a_folder}")
    assert result.code == 0
    assert "TIME" in _cells(result.out.splitlines()[0])
