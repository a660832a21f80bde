"""Whether the next backup of a database can be differential: the rules of chains, purely.

Guarantee: a chain is one FULL and differentials without a gap; from 2026.02 the first one after the
FULL may overlap it, and an empty differential (0/0) moves nothing. A parent counts only when it is exactly
the newest artifact that was committed. Non-guarantee: whether the server still has the transaction logs
is known to the server alone; Neo4j falls back to FULL where it has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.neo4j.versions import Version, capabilities


@dataclass(frozen=True, slots=True)
class Link:
    """One artifact of a chain."""

    file: str
    database_id: str
    full: bool
    lowest_tx: int
    highest_tx: int

    @property
    def is_empty(self) -> bool:
        """A differential without a transaction."""
        return not self.full and self.highest_tx == 0


def head(links: Sequence[Link]) -> Link | None:
    """The artifact that the next differential continues: the last one that holds anything."""
    return next((link for link in reversed(links) if not link.is_empty), None)


def continues(link: Link, parent: Link, *, may_overlap: bool) -> bool:
    """Whether ``link`` is a differential right after ``parent``, which is not empty.

    ``may_overlap`` is the release's own: from 2026.02 the first differential may reach back into its FULL.
    """
    if link.full or link.database_id != parent.database_id:
        return False
    if link.is_empty or link.lowest_tx == parent.highest_tx + 1:
        return True
    return may_overlap and parent.full and link.lowest_tx <= parent.highest_tx < link.highest_tx


def is_unbroken(links: Sequence[Link], *, may_overlap: bool) -> bool:
    """A FULL, and differentials each of which continues what came before it."""
    if not links or not links[0].full:
        return False
    parent = links[0]
    for link in links[1:]:
        if not continues(link, parent, may_overlap=may_overlap):
            return False
        parent = parent if link.is_empty else link
    return True


@dataclass(frozen=True, slots=True)
class OpenChain:
    """What this server keeps of a database, in order, and the Neo4j that wrote it."""

    links: tuple[Link, ...] = ()
    neo4j_version: str = ""


def why_full(chain: OpenChain, committed: Link | None, version: Version, max_length: int) -> str:
    """Why the next backup must be a FULL one; empty when a differential can be tried."""
    parent = head(chain.links)
    if committed is None:
        return "the repository holds no backup that it could continue"
    if parent is None:
        return (
            f"the parent {committed.file} is not kept on this server (its volume or the source changed, "
            "or it was made with backupType FULL)"
        )
    if not is_unbroken(chain.links, may_overlap=capabilities(version).first_diff_may_overlap):
        return "the chain that is kept on this server has a gap"
    if parent.database_id != committed.database_id:
        return "the database id changed: it was dropped, restored or made anew"
    if parent != committed:
        return f"the newest artifact of the repository is {committed.file}, this server keeps {parent.file}"
    if chain.neo4j_version != str(version):
        return f"Neo4j was changed from {chain.neo4j_version} to {version}"
    if max_length and len(chain.links) >= max_length:
        return f"the chain has {len(chain.links)} artifacts, maxChainLength is {max_length}"
    return ""
