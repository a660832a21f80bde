"""Children and the lock they inherit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.agent import process
from controller.agent.lock import Busy, Held, end_orphan, held, is_held
from controller.agent.process import Interrupted, Launch, capture, stream
from tests.unit.agent.conftest import until

SPAWN = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
LEAVES_A_CHILD = "import os, time; os.close(1); os.close(2); os.fork() or time.sleep(60)"
PRINTS = "import sys; print('a\\r', flush=True); sys.stderr.write('b\\n'); print('no newline', end='')"
STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", code]


def a_launch(directory: Path, lock: Held) -> Launch:
    return Launch({"PATH": os.environ["PATH"]}, directory, lock)


def always() -> bool:
    return True


def test_output_comes_line_by_line_from_both_streams(tmp_path: Path) -> None:
    lines: list[str] = []
    with held(tmp_path / "lock", 0) as lock:
        assert stream(a_launch(tmp_path, lock), python(PRINTS), lines.append, always) == 0
    assert sorted(lines) == ["a", "b", "no newline"]


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_exit_codes_are_a_shells(tmp_path: Path, code: str, status: int) -> None:
    with held(tmp_path / "lock", 0) as lock:
        assert stream(a_launch(tmp_path, lock), python(code), print, always) == status
        assert capture(a_launch(tmp_path, lock), python(code), 10).exit_code == status


def test_nothing_of_the_group_survives_a_normal_end(tmp_path: Path) -> None:
    with held(tmp_path / "lock", 0) as lock:
        # the grandchild has no pipe, so only the lock that it inherited tells of it
        assert stream(a_launch(tmp_path, lock), python(LEAVES_A_CHILD), print, always) == 0
    until(lambda: not is_held(tmp_path / "lock"))


def test_asked_to_stop_it_ends_the_whole_group(tmp_path: Path) -> None:
    lines: list[str] = []

    def stop_when_up() -> bool:
        return not lines

    with held(tmp_path / "lock", 0) as lock, pytest.raises(Interrupted):
        stream(a_launch(tmp_path, lock), python(SPAWN), lines.append, stop_when_up)
    until(lambda: not is_held(tmp_path / "lock"))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.1)
    lines: list[str] = []
    with held(tmp_path / "lock", 0) as lock, pytest.raises(Interrupted):
        stream(a_launch(tmp_path, lock), python(STUBBORN), lines.append, lambda: not lines)
    until(lambda: not is_held(tmp_path / "lock"))


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    with held(tmp_path / "lock", 0) as lock, pytest.raises(subprocess.TimeoutExpired):
        capture(a_launch(tmp_path, lock), python(SPAWN), 0.3)
    until(lambda: not is_held(tmp_path / "lock"))


def test_a_child_keeps_the_lock_that_its_starter_lost(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, 0) as lock:
        child = a_launch(tmp_path, lock).start(["sleep", "60"], subprocess.STDOUT)
    assert is_held(path)
    with pytest.raises(Busy), held(path, 0.1):
        pass
    assert end_orphan(path)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()
    assert not is_held(path)
    assert not end_orphan(path)


def test_waiting_for_the_lock_ends_when_asked_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    started = time.monotonic()
    stop: Callable[[], bool] = always
    with held(path, 0), pytest.raises(Busy), held(path, 60, stop):
        pass
    assert time.monotonic() - started < 5


def test_a_daemon_that_starts_ends_no_verb_that_works_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path, 0) as lock:
        child = a_launch(tmp_path, replace(lock, by_daemon=False)).start(["sleep", "60"], subprocess.STDOUT)
        assert not end_orphan(path)
        assert child.poll() is None
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
