"""The table of promises, held to the code: what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "contributing" / "machinery-checklist.md"
_ROW = re.compile(r"^\| (?!promise \||-)(.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([^`]+)`")
_DEFINED = re.compile(r"^ *(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def _rows() -> list[tuple[str, str, str]]:
    return _ROW.findall(PAGE.read_text())


def _defined() -> frozenset[str]:
    files = (ROOT / "tests").rglob("*.py")
    return frozenset(name for file in files for name in _DEFINED.findall(file.read_text()))


def test_every_line_of_the_page_that_looks_like_a_promise_is_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(_rows()) == len(lines) - lines.count("| promise | where | test |")
    assert len(_rows()) > 60


def test_every_promise_names_a_test_that_exists_or_says_that_it_was_decided_against() -> None:
    defined = _defined()
    for promise, _, tests in _rows():
        named = _NAMED.findall(tests)
        assert named or "decided against" in tests, promise
        missing = [name for name in named if name not in defined]
        assert not missing, f"{promise}: {missing}"


@pytest.mark.parametrize("place", sorted({file for _, where, _ in _rows() for file in _NAMED.findall(where)}))
def test_every_file_that_keeps_a_promise_is_there(place: str) -> None:
    assert (ROOT / "controller" / place).is_file()
