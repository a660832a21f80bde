"""What a cache keeps of Neo4jBackups: smaller and shared, and to the byte what the server sent."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.cached import BackupAnnotations, Keeper, Neo4jBackup

META = {"name": "a", "namespace": "a-namespace-of-many", "uid": "u", "resourceVersion": "7", "generation": 3}


def a_backup(**fields: Any) -> Neo4jBackup:
    return msgspec.json.decode(json.dumps({"metadata": META} | fields), type=Neo4jBackup)


def texts(backup: Neo4jBackup) -> tuple[bytes, bytes]:
    return backup.spec, backup.status


def listed(known: Neo4jBackup | None = None, **fields: Any) -> Neo4jBackup:
    backup = a_backup(**fields)
    Keeper().listed(backup, known)
    return backup


def test_of_the_annotations_only_the_wish_to_run_is_kept() -> None:
    wish = {"backup.neo4j.com/run-now": "now", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    backup = a_backup(metadata=META | {"annotations": wish})
    assert backup.run_now == "now"
    assert backup.metadata.annotations == BackupAnnotations(run_now="now")


def test_the_backups_of_a_namespace_share_its_name() -> None:
    assert listed().namespace is listed().namespace


@pytest.mark.parametrize("way", ["listed", "changed"])
def test_a_kept_backup_says_the_same_and_keeps_nothing_of_the_response_alive(way: str) -> None:
    body = json.dumps({"metadata": META, "spec": {"a": 1}, "status": {"b": 2}, "other": "x" * 9}).encode()
    before = sys.getrefcount(body)
    backup = msgspec.json.decode(body, type=Neo4jBackup)
    getattr(Keeper(), way)(backup, None)
    assert texts(backup) == (b'{"a": 1}', b'{"b": 2}')
    assert sys.getrefcount(body) == before


def test_of_a_list_a_new_state_shares_what_did_not_change() -> None:
    old = listed(spec={"a": 1}, status={"phase": "Running"})
    same = listed(old, spec={"a": 1}, status={"phase": "Running"})
    assert same.kept_spec is old.kept_spec
    assert same.says_the_same(old)
    for other in ({"spec": {"a": 2}}, {"spec": {"a": 1}, "status": {"phase": "Failed"}}):
        assert not listed(old, **other).says_the_same(old)


def test_a_list_packs_what_had_changed() -> None:
    known, item = (a_backup(spec={"a": 1}, status={"phase": "Running"}) for _ in range(2))
    keeper = Keeper()
    keeper.changed(known, None)
    keeper.listed(item, known)
    assert (known.is_packed, item.is_packed) == (False, True)
    assert texts(item) == texts(known)


@pytest.mark.parametrize("status", [7, "", None, {}])
@pytest.mark.parametrize("way", ["listed", "changed"])
def test_any_status_comes_back(status: Any, way: str) -> None:
    backup = a_backup(spec={}, status=status)
    getattr(Keeper(), way)(backup, None)
    assert json.loads(backup.status) == status


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 400), st.booleans())), st.integers(0, 1500)
)
def test_what_is_loose_is_bounded_and_nothing_is_lost(
    changes: list[tuple[str, int, bool]], limit: int
) -> None:
    keeper, known, said = Keeper(limit), dict[str, Neo4jBackup](), dict[str, tuple[bytes, bytes]]()
    for uid, size, in_a_list in changes:
        item = a_backup(metadata=META | {"uid": uid}, spec={"of": uid}, status={"x": "y" * size})
        said[uid] = texts(item)
        (keeper.listed if in_a_list else keeper.changed)(item, known.get(uid))
        known[uid] = item
        assert {uid: texts(item) for uid, item in known.items()} == said
        assert keeper.loose_bytes <= limit
        assert keeper.loose_bytes >= sum(len(item.kept_spec) for item in known.values() if not item.is_packed)
