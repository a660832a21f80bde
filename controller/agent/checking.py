"""Verifies a dump with Neo4j's own tools: the chain by its headers, the content by the consistency check.

Guarantee: an artifact is called consistent only when ``neo4j-admin database check`` found nothing in what a
restore of it would give: the FULL artifact itself, or the chain aggregated. Both work on links in a
directory of the run's own, so that neither the artifact nor the open chain is touched. What the tools find
wrong is a failure of that database, and its chain is not continued.

Non-guarantee: a check that the surroundings do not allow (room, memory) is no failure; the artifact is then
called as good as its chain, with a note. The check's memory is the dump's, inside the container's limit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from controller.agent import space
from controller.agent.meter import Meter
from controller.agent.places import remove_tree
from controller.agent.process import Launch, stream
from controller.agent.surroundings import oom_kills
from controller.agent.verdict import Verdict, explain_exit
from controller.neo4j import commands
from controller.neo4j.chains import Link, head, is_unbroken
from controller.neo4j.inspect import Inspected
from controller.neo4j.memory import MemoryPlan
from controller.neo4j.output import last_error
from controller.neo4j.quantity import format_size
from controller.neo4j.versions import Version, capabilities
from controller.wire.messages import Artifact, DatabaseFailure

_SURROUNDINGS = re.compile(
    r"no space left|outofmemory|heap space|disk quota|too many open files", re.IGNORECASE
)
_KILLED = {137, 143}
_REPORT = "inconsistencies-*.report"
_REPORT_LINES = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one artifact. At most one of the two texts says something."""

    level: Literal["Chain", "Consistency"] = "Consistency"
    problem: str = ""
    note: str = ""
    """Why the check was not possible."""


class Unsound(Exception):
    """What the tools found wrong; one line."""


class NotPossible(Exception):
    """Why the check could not be made."""


@dataclass(frozen=True, slots=True)
class Checker:
    """The tools. ``artifacts`` is where the dump is, ``workplace`` a directory that may be made and removed,
    ``temporary`` an empty one."""

    admin: str
    version: Version
    launch: Launch
    meter: Meter
    memory: MemoryPlan
    artifacts: Path
    workplace: Path
    temporary: Path

    def verify(
        self, verdict: Verdict, rows: Sequence[Inspected], chains: Mapping[str, Sequence[str]]
    ) -> Verdict:
        """The verdict after every artifact was looked at; ``chains`` are the files that each continues."""
        headers = {row.file: row for row in rows}
        findings = {}
        for one in verdict.artifacts:
            self.meter.enter(one.database, "checking")
            before = () if one.full else chains.get(one.database, ())
            findings[one.file] = self._find(one, [*before, one.file], headers)
        return judged(verdict, findings)

    def _find(self, artifact: Artifact, files: Sequence[str], headers: Mapping[str, Inspected]) -> Finding:
        try:
            self._check(artifact, self._links(files, headers), headers)
        except Unsound as problem:
            return Finding(problem=str(problem))
        except NotPossible as reason:
            return Finding(
                "Chain", note=f"{artifact.database}: the consistency check was not possible: {reason}"
            )
        finally:
            remove_tree(self.workplace)
        return Finding()

    def _links(self, files: Sequence[str], headers: Mapping[str, Inspected]) -> list[Link]:
        """The chain as Neo4j reads it from the files, oldest first; raises ``Unsound`` for a broken one."""
        unread = [name for name in files if name not in headers]
        if unread:
            raise Unsound(f"neo4j-admin backup inspect does not read {unread[0]} of its chain")
        rows = [headers[name] for name in files]
        links = [Link(row.file, row.database_id, row.full, row.lowest_tx, row.highest_tx) for row in rows]
        if not is_unbroken(links, may_overlap=capabilities(self.version).first_diff_may_overlap):
            raise Unsound("its chain has a gap by what neo4j-admin backup inspect reads")
        return links

    def _check(self, artifact: Artifact, links: Sequence[Link], headers: Mapping[str, Inspected]) -> None:
        self._require_room(artifact, links)
        target = self._private("target")
        newest = head(links)
        assert newest is not None  # an unbroken chain begins with a FULL artifact
        if newest.full and headers[newest.file].recovered is not False:
            os.link(self.artifacts / newest.file, target / newest.file)
        else:
            self._aggregate([link for link in links if not link.is_empty], newest, target)
        report = self._private("report")
        command = commands.check(self.admin, artifact.database, self._places(target, report))
        code, error = self._run(command)
        found = sorted(report.glob(_REPORT))
        if code and found:
            raise Unsound(
                f"neo4j-admin database check found it inconsistent: {self._told(found[0]) or error}"
            )
        self._raise_for(code, error, "database check")

    def _aggregate(self, links: Sequence[Link], newest: Link, target: Path) -> None:
        """What a restore of the chain would give, as one FULL artifact in ``target``."""
        source = self._private("source")
        for link in links:
            os.link(self.artifacts / link.file, source / link.file)
        places = self._places(source / newest.file, None)
        code, error = self._run(commands.aggregate(self.admin, self.version, places))
        self._raise_for(code, error, "backup aggregate")
        made = [entry for entry in source.iterdir() if entry.name not in {link.file for link in links}]
        if len(made) != 1:
            raise Unsound(
                f"neo4j-admin backup aggregate made {len(made)} artifacts of the chain instead of one"
            )
        made[0].rename(target / made[0].name)

    def _raise_for(self, code: int, error: str, what: str) -> None:
        if not code:
            return
        said = f"neo4j-admin {what}: {explain_exit(code)}: {error or 'no reason given'}"
        raise NotPossible(said) if code in _KILLED or _SURROUNDINGS.search(error) else Unsound(said)

    def _run(self, command: list[str]) -> tuple[int, str]:
        self.meter.start_call()
        self.meter.workshop.say(" ".join(command))
        kills = oom_kills()
        try:
            code = stream(self.launch, command, self.meter.line, self.meter.tick)
        except space.Filling as full:
            raise NotPossible(str(full)) from full
        error = last_error(self.meter.lines) if code else ""
        if code and oom_kills() > kills:
            raise NotPossible("the kernel killed it for memory; raise the sidecar's memory limit")
        for leftover in self.temporary.iterdir():
            remove_tree(leftover)
        return code, error

    def _require_room(self, artifact: Artifact, links: Sequence[Link]) -> None:
        """A copy of the store, and the aggregated artifact beside it."""
        aggregated = 0 if len(links) == 1 else int(artifact.store_size * space.COMPRESSED_SHARE)
        shared = os.stat(self.temporary).st_dev == os.stat(self.artifacts).st_dev
        copies = artifact.store_size + (aggregated if shared else 0)
        lack = space.lack(self.temporary, copies) or space.lack(self.artifacts, aggregated)
        if lack:
            raise NotPossible(lack)

    def _places(self, source: Path, report: Path | None) -> commands.CheckPlaces:
        config = self._private("config") / "neo4j-admin.conf"
        # Without this both tools would take the page cache of the server whose configuration they read.
        config.write_text(f"server.memory.pagecache.size={format_size(self.memory.page_cache)}\n")
        return commands.CheckPlaces(
            source=str(source),
            temporary=str(self.temporary),
            report=str(report or ""),
            config=str(config),
            off_heap=self.memory.page_cache,
        )

    def _private(self, name: str) -> Path:
        directory = self.workplace / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _told(self, report: Path) -> str:
        """The report goes into the container's log, its first line into the reason: the file is removed."""
        lines = list(_lines(report))
        for line in lines:
            self.meter.workshop.say(line)
        return lines[0] if lines else ""


def judged(verdict: Verdict, findings: Mapping[str, Finding]) -> Verdict:
    """Artifacts that were found unsound are none, and fail their database."""
    sound = tuple(
        msgspec.structs.replace(one, checked=findings[one.file].level)
        for one in verdict.artifacts
        if not findings[one.file].problem
    )
    lost = tuple(
        DatabaseFailure(
            database=one.database, reason=f"verification failed: {findings[one.file].problem}", unsound=True
        )
        for one in verdict.artifacts
        if findings[one.file].problem
    )
    notes = tuple(one.note for one in findings.values() if one.note)
    return replace(
        verdict,
        artifacts=sound,
        failures=verdict.failures + lost,
        warnings=verdict.warnings + notes,
        error=verdict.error or (f"{lost[0].database}: {lost[0].reason}" if lost else ""),
    )


def _lines(report: Path) -> Iterator[str]:
    with report.open(errors="replace") as file:
        for _, line in zip(range(_REPORT_LINES), file, strict=False):
            if line.strip():
                yield " ".join(line.split())
