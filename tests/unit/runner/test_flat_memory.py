"""How much memory an upload takes is no matter of its size: whole processes, by the kernel's books."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from hack.benchmarks.data_path import serving
from hack.benchmarks.data_peers import OURS, Peer

MIB = 1024 * 1024
LIMIT = 200
NOISE = 40


def peak(peer: Peer, size: int, directory: Path) -> int:
    """MiB at most, of one process that carries an artifact of ``size`` bytes into a bucket."""
    file = directory / "artifact.backup"
    file.touch()
    os.truncate(file, size)
    with serving(tls=True) as server:
        target = server.target(file)
        child = subprocess.Popen(peer.command(target), stdout=subprocess.PIPE)
        assert child.stdout is not None
        said = json.loads(child.stdout.read())
        child.stdout.close()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        sizes, _ = server.stats()
    assert child.returncode == 0
    assert said["plain_size"] == size
    assert list(sizes.values()) == [said["size"]]
    return used.ru_maxrss // 1024


@pytest.mark.parametrize("peer", OURS, ids=lambda peer: peer.name)
def test_memory_is_flat_and_below_its_limit(peer: Peer, tmp_path: Path) -> None:
    small, large = peak(peer, 96 * MIB, tmp_path), peak(peer, 384 * MIB, tmp_path)
    assert large < LIMIT
    assert large < small + NOISE
