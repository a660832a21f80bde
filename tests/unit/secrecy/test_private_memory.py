"""Programs that hold keys leave no core, and a non-root one still starts its listener."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.control_plane import CHECKOUT

LOOK = """
import ctypes, resource, sys
from controller import __main__ as program
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def run(code: str, **options: int) -> str:
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert answer.returncode == 0, answer.stderr
    return str(answer.stdout)


@pytest.mark.parametrize(("program", "expected"), [("runner", "0 0"), ("agent", "0 0"), ("decrypt", "0 0")])
def test_no_core_is_written_of_a_program_with_keys(program: str, expected: str) -> None:
    module = {"runner": "controller.runner.main", "agent": "controller.agent.main"}.get(
        program, "controller.repository.decrypt"
    )
    stub = f"import sys, types; sys.modules[{module!r}] = types.SimpleNamespace(main=lambda _: 0)\n"
    assert run(f"{stub}{LOOK}").split()[-1] == "1", "the look can tell: without the guard a core is allowed"
    guarded = LOOK.replace("print(", f"program.main([{program!r}])\nprint(")
    assert run(stub + guarded).strip() == expected


def test_children_are_not_shut_away() -> None:
    """Neo4j's own programs are debugged as before."""
    code = (
        "from controller.__main__ import keep_memory_private as k; import subprocess, sys; k();"
        "print(subprocess.run([sys.executable, '-c', 'import ctypes;"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))'], capture_output=True, text=True).stdout)"
    )
    assert run(code).strip() == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become Neo4j's user")
def test_the_key_of_the_transfer_is_still_read_by_a_user_who_is_not_root() -> None:
    code = (
        "import os; from datetime import datetime, UTC;"
        "from controller.agent.serve import tls_context;"
        "from controller.runner.credentials import make_credentials;"
        "from controller.__main__ import keep_memory_private;"
        # All of it once before: that user may not be able to read the checkout, and modules come late.
        "made = make_credentials('run', datetime.now(UTC));"
        "tls_context(made.certificate_pem, made.private_key_pem);"
        "os.setgid(7474); os.setuid(7474); keep_memory_private();"
        "tls_context(made.certificate_pem, made.private_key_pem); print('read')"
    )
    assert run(code).strip() == "read"
