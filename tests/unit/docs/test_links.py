"""What the pages say, held to the files, the models and the code."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import yaml

from controller.api.backup import parse_spec
from controller.app import settings
from controller.plan import capabilities, runs

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "manifests").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_REASON = re.compile(
    r"(?:waiting|judged|blind|Verdict|Cause|Stop|Missing|failure)\(\s*"
    r'(?:[A-Z_]+,\s*)?(?:"(?:True|False|Unknown)",\s*)?"([A-Z][A-Za-z]+)"'
    r'|reason(?::[^=\n]+)? ?= ?"([A-Z][A-Za-z]+)"'
)
_NEVER_SHOWN = {"NotFound", "AlreadyExists"}
"""Errors of a store that its callers turn into something else."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks() -> list[tuple[str, str]]:
    return [(_name(page), block) for page in PAGES for block in _YAML.findall(page.read_text())]


def _documented() -> str:
    return (ROOT / "docs/guide.md").read_text()


def _reasons() -> set[str]:
    files = [*(ROOT / "controller/plan").glob("*.py"), *(ROOT / "controller/runner").glob("*.py")]
    files += (ROOT / "controller/repository").rglob("errors.py")
    found = {one or other for path in files for one, other in _REASON.findall(path.read_text())}
    found -= {"", "True", "False", "Unknown"}
    return found | runs.STORAGE_REASONS | runs.MOUNT_REASONS | {gap.reason for gap in capabilities.GAPS}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    paths = [link.partition("#")[0] for link in links]
    assert [path for path in paths if path and not (page.parent / path).exists()] == []


@pytest.mark.parametrize(("page", "block"), _blocks())
def test_every_yaml_block_is_yaml_and_every_backup_in_it_is_valid(page: str, block: str) -> None:
    for document in yaml.safe_load_all(block):
        if isinstance(document, dict) and document.get("kind") == "Neo4jBackup":
            assert parse_spec(json.dumps(document["spec"]).encode()) is not None, page


def test_the_guide_explains_every_reason() -> None:
    found = _reasons() - _NEVER_SHOWN
    assert {"TargetNotFound", "SidecarReverted", "InvalidSpec", "NoParentBackup"} <= found
    assert sorted(reason for reason in found if f"`{reason}`" not in _documented()) == []


def test_the_install_page_lists_every_setting_of_the_operator() -> None:
    page = (ROOT / "docs/install.md").read_text()
    parser: argparse.ArgumentParser = settings._parser({})
    flags = {flag for flag in re.findall(r"--[a-z-]+", parser.format_help()) if flag != "--help"}
    assert sorted(flag for flag in flags if f"`{flag}`" not in page) == []
