"""What a program took is the program's own, whoever started it."""

from __future__ import annotations

import sys

from hack.benchmarks.measure import whole_run

MIB = 1024 * 1024


def test_the_peak_is_not_that_of_who_started_the_program() -> None:
    held = b"\x01" * (300 * MIB)
    assert whole_run(["true"]).peak < 50
    assert len(held) == 300 * MIB


def test_the_peak_is_that_of_the_program() -> None:
    books = whole_run([sys.executable, "-c", "held = b'1' * (150 * 1024 * 1024)"])
    assert 150 < books.peak < 250
    assert books.code == 0


def test_a_signal_is_told_as_such() -> None:
    assert whole_run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).code == -9
