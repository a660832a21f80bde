"""Whether what a run reported is the truth, looked up in the repository and by restoring.

Guarantee: a backup that is reported good restores to exactly what the database held, by neo4j-admin, from
plain artifacts that its manifests describe; one that is not good has a cause that fits the trouble, is no
part of the catalogue, and left no object that nothing owns.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from controller.repository import catalogue, decrypt, layout
from controller.repository.catalogue import Catalogue
from controller.repository.chains import Saved, by_database, lineage
from controller.repository.encryption.codec import plain_name
from controller.repository.encryption.keys import read_keys
from controller.repository.manifest import Intent, decode
from controller.repository.store import Store, read_small
from controller.wire.messages import Outcome
from hack.devcluster.neo4j_sim import admin
from hack.devcluster.neo4j_sim.places import Installation
from tests.faults.plan import Kind, Trouble
from tests.faults.world import DATABASES, KEYS, VERSION, Told, World

GOOD = {Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS}
_STORE = "StorageUnavailable"
CAUSES: dict[Kind, str] = {
    Kind.AGENT_KILLED: r"restarted|ended early|no answer|not heard|SIGTERM",
    Kind.RUNNER_TERMINATED: r"^Interrupted: ",
    Kind.ADMIN_KILLED: r"killed|SIGKILL|signal 9|memory",
    Kind.DATABASE_DISK_FULL: r"(?i)no space left",
    Kind.EXEC_CUT: r"cut|ended early|no answer",
    Kind.LINE_CUT: r"orders|customers|system",
    Kind.LINE_CORRUPT: r"orders|customers|system",
    Kind.STORE_REFUSES: rf"^{_STORE}: .*(SlowDown|503)",
    Kind.STORE_DENIES: r"^AccessDenied: .*credentials",
    Kind.STORE_CUTS: rf"^{_STORE}: ",
    Kind.STORE_FULL: r"^NoSpaceLeft: ",
    Kind.BUCKET_GONE: r"^NoSuchBucket: .*does not exist",
    Kind.UPLOAD_CORRUPT: r"^VerificationFailed: ",
    Kind.ROT: r"^VerificationFailed: ",
    Kind.MANIFEST_LOST: rf"^{_STORE}: .*runs/",
}
"""The trouble's mark in ``error_reason: error``; a kind that is not here must never make a run fail."""


def check(world: World, told: Told, trouble: Trouble | None) -> None:
    """Raises AssertionError with what was claimed and what is so."""
    found = catalogue.read(world.store)
    assert not found.problems, found.problems
    _no_strays(world.store, found)
    committed = next((run for run in found.runs if run.run_id == told.run_id), None)
    result = told.result
    if result is None:
        assert trouble is not None
        assert trouble.kind is Kind.RUNNER_KILLED, "only a killed runner says nothing"
    elif result.outcome is Outcome.FAILED:
        _cause_fits(told, trouble)
        # Of a manifest whose answers were all lost nobody knows; the next pod of the Job finds it.
        lost = trouble is not None and trouble.kind is Kind.MANIFEST_LOST
        assert committed is None or lost, "a failed run is in the catalogue"
    else:
        assert committed is not None, "a good run is not in the catalogue"
        assert committed.outcome is not Outcome.FAILED
        saved = {one.database for one in committed.artifacts}
        missing = {one.database for one in committed.missing}
        assert saved | missing == set(DATABASES), (saved, missing)
        assert result.outcome not in GOOD or not missing
        if missing:
            _cause_fits(told, trouble)
    restore_all(world, found)


def _cause_fits(told: Told, trouble: Trouble | None) -> None:
    assert told.result is not None
    said = f"{told.result.error_reason}: {told.result.error}"
    assert trouble is not None, f"failed without trouble: {said}"
    assert trouble.kind in CAUSES, f"{trouble.kind} must not make a run fail: {said}"
    assert re.search(CAUSES[trouble.kind], said), f"not the true cause of {trouble.kind}: {said}"
    assert "\n" not in said


def _no_strays(store: Store, found: Catalogue) -> None:
    """Every object belongs to a manifest, or stands in a note that a later run works off."""
    owned = {layout.IDENTITY, layout.PROBE}
    owned |= {layout.manifest(run.run_id) for run in found.runs}
    owned |= {artifact.key for run in found.runs for artifact in run.artifacts}
    keys = {info.key for info in store.list("")}
    notes = {key for key in keys if key.startswith(f"{layout.INTENTS}/")}
    for key in notes:
        owned |= {key, *decode(read_small(store, key), Intent, key).keys}
    assert keys <= owned, f"nobody owns {sorted(keys - owned)}"
    kept = {artifact.key for run in found.runs for artifact in run.artifacts}
    assert kept <= keys, f"gone from the store: {sorted(kept - keys)}"


def restore_all(world: World, found: Catalogue) -> None:
    """Every artifact of the newest run, by what its chain holds."""
    for name, items in by_database(found.runs).items():
        # An empty differential is no restore point: what it stands for is what it continues.
        last = max(index for index, item in enumerate(items) if not item.is_empty)
        way = lineage(items[last], items[:last])
        assert way, f"{name}: {items[last].artifact.key} has lost its chain"
        _restore(world, name, way)


def _restore(world: World, name: str, way: tuple[Saved, ...]) -> None:
    folder = world.scratch / "artifacts"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    keys = read_keys(KEYS)
    for one in way:
        file = folder / plain_name(one.artifact.key.rpartition("/")[2])
        chunks = decrypt.plain_chunks(world.store.get(one.artifact.key), keys, one.artifact)
        file.write_bytes(b"".join(chunks))
    with _tool_home(world.scratch) as home:
        restore = ("database", "restore", f"--from-path={file}", "--overwrite-destination=true", name)
        code, said = _admin(home, *restore)
        assert code == 0, f"{name} is not restored: {said}"
        code, out = _admin(home, "sim-digest", name)
    assert code == 0, out
    restored = json.loads(out)
    known = world.contents[name, restored["lastTx"]]
    assert restored["digest"] == known, f"{name} was restored to something else"
    assert restored["lastTx"] == way[-1].artifact.highest_tx


@contextlib.contextmanager
def _tool_home(scratch: Path) -> Iterator[Installation]:
    home = scratch / "home"
    (home / "conf").mkdir(parents=True, exist_ok=True)
    before, where = os.environ.get("CONTAINER_ROOT"), Path.cwd()
    os.environ["CONTAINER_ROOT"] = str(scratch / "root")
    os.chdir(home)  # the tool stages in its current directory
    try:
        yield Installation(home, VERSION)
    finally:
        os.chdir(where)
        os.environ.pop("CONTAINER_ROOT") if before is None else os.environ.update(CONTAINER_ROOT=before)


def _admin(home: Installation, *words: str) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = admin.main(home, list(words), isolate=lambda work: work())
    return code, out.getvalue()
