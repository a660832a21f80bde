"""The figures of the tests in here are printed at the end of every run that had some of them."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    told = [report for report in reports if report.user_properties and f"/{HERE}/" in report.nodeid]
    if not told:
        return
    terminalreporter.section("recovery, in figures")
    for report in told:
        terminalreporter.line(report.nodeid.partition("::")[2])
        for name, value in report.user_properties:
            terminalreporter.line(f"    {name}: {_printed(value)}")


def _printed(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
