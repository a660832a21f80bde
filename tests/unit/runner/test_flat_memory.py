"""How much memory an upload takes is no matter of its size: whole processes, by the kernel's books."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from hack.benchmarks.data_path import serving
from hack.benchmarks.data_peers import OURS, Peer
from hack.benchmarks.measure import whole_run

MIB = 1024 * 1024
LIMIT = 200
NOISE = 40


def peak(peer: Peer, size: int, directory: Path) -> float:
    """MiB at most, of one process that carries an artifact of ``size`` bytes into a bucket."""
    file = directory / "artifact.backup"
    file.touch()
    os.truncate(file, size)
    with serving(tls=True) as server, tempfile.TemporaryFile() as stdout:
        books = whole_run(peer.command(server.target(file)), stdout=stdout)
        sizes, _ = server.stats()
        stdout.seek(0)
        said = json.load(stdout)
    assert books.code == 0
    assert said["plain_size"] == size
    assert list(sizes.values()) == [said["size"]]
    return books.peak


@pytest.mark.parametrize("peer", OURS, ids=lambda peer: peer.name)
def test_memory_is_flat_and_below_its_limit(peer: Peer, tmp_path: Path) -> None:
    small, large = peak(peer, 96 * MIB, tmp_path), peak(peer, 384 * MIB, tmp_path)
    assert large < LIMIT
    assert large < small + NOISE
