"""How far a dump is, from the output of neo4j-admin and the files that grow."""

from __future__ import annotations

import os
from pathlib import Path

from controller.agent.journal import Journal
from controller.agent.meter import Meter
from controller.agent.places import Places
from controller.agent.workshop import Workshop

LINE = "2026-01-01 00:00:00.000+0000 INFO  [c.n.b.b.BackupOutputMonitor] "


def test_stores_that_are_copied_whole_are_counted_once_and_never_backwards(tmp_path: Path) -> None:
    made, temporary = tmp_path / "to", tmp_path / "temp"
    for directory in (made, temporary):
        directory.mkdir()
    journal = Journal(tmp_path)
    places = Places(requests=tmp_path, backups=tmp_path, data=tmp_path)
    workshop = Workshop(places, journal, dict(os.environ), lambda: False, lambda _: None)
    meter = Meter(workshop, "r1", (made, temporary), 2, {"neo4j": 100_000, "orders": 50_000})

    def read() -> tuple[int, int]:
        meter.write()
        progress = journal.progress("r1")
        assert progress
        return progress.bytes_read, progress.bytes_to_read

    assert read() == (0, 150_000)
    meter.line(f"{LINE}Start full backup of database 'neo4j'.")
    (temporary / "neo4j.store").write_bytes(b"x" * 60_000)
    assert read() == (60_000, 150_000)
    (temporary / "neo4j.store").write_bytes(b"x" * 130_000)
    assert read() == (100_000, 150_000), "a store may have grown since it was looked at"
    (temporary / "neo4j.store").unlink()
    assert read() == (100_000, 150_000)
    meter.line(
        f"{LINE}Finished artifact creation 'neo4j-2026-01-01T00-00-00.backup' for database 'neo4j', took 1ms."
    )
    assert read() == (100_000, 150_000)
    meter.line(f"{LINE}Start differential backup of database 'system'.")
    (temporary / "system.store").write_bytes(b"x" * 9_000)
    assert read() == (100_000, 150_000), "of a differential nothing is known beforehand"
