"""How much heap and page cache fit beside each other in the container's memory limit.

Guarantee: launcher JVM + heap + page cache, with a quarter on top for what a JVM needs beyond them,
and the agent itself stay within the limit; a page cache that was asked for and does not fit is refused
with the numbers, never cut in silence. Non-guarantee: the limit may still be too small for Neo4j;
below :data:`SMALLEST_LIMIT` the plan says so and tries with the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.neo4j.quantity import GIB, MIB, human

LAUNCHER = 128 * MIB
AGENT = 64 * MIB
OVERHEAD = 1.25
MINIMUM_HEAP = 192 * MIB
MAXIMUM_HEAP = 4 * GIB
MINIMUM_PAGE_CACHE = 8 * MIB
UNLIMITED_HEAP = GIB
UNLIMITED_PAGE_CACHE = 512 * MIB
"""Where no limit is set the database next door needs the node's memory more than a backup does."""

SMALLEST_LIMIT = int((LAUNCHER + AGENT + MINIMUM_HEAP + MINIMUM_PAGE_CACHE) * OVERHEAD)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes for ``HEAP_SIZE`` and ``--pagecache``; ``note`` is a warning for people, or empty."""

    heap: int
    page_cache: int
    note: str = ""
    refusal: str = ""
    """Why the page cache that was asked for cannot be had, and what to change; empty when it can."""


def plan_memory(limit: int | None, wanted_page_cache: int | None = None) -> MemoryPlan:
    """``limit`` is the cgroup's memory limit in bytes, ``None`` when there is none."""
    if limit is None:
        return MemoryPlan(UNLIMITED_HEAP, wanted_page_cache or UNLIMITED_PAGE_CACHE)
    room = int(limit / OVERHEAD) - LAUNCHER - AGENT
    if room < MINIMUM_HEAP + MINIMUM_PAGE_CACHE:
        return MemoryPlan(MINIMUM_HEAP, MINIMUM_PAGE_CACHE, _too_small(limit))
    if wanted_page_cache is not None:
        return _with_page_cache(limit, room, wanted_page_cache)
    heap = min(max(room // 2, MINIMUM_HEAP), MAXIMUM_HEAP)
    return MemoryPlan(heap, room - heap)


def _with_page_cache(limit: int, room: int, wanted: int) -> MemoryPlan:
    most = room - MINIMUM_HEAP
    page_cache = max(min(wanted, most), MINIMUM_PAGE_CACHE)
    refusal = "" if wanted <= most else _refused(limit, wanted, most)
    return MemoryPlan(min(room - page_cache, MAXIMUM_HEAP), page_cache, refusal=refusal)


def _refused(limit: int, wanted: int, most: int) -> str:
    needed = int((wanted + MINIMUM_HEAP + LAUNCHER + AGENT) * OVERHEAD)
    return (
        f"page cache {human(wanted)} does not fit into the sidecar's memory limit of {human(limit)}: at most "
        f"{human(most)} does. Lower options.pageCache, or raise the limit to {human(needed)}"
    )


def _too_small(limit: int) -> str:
    return (
        f"the container's memory limit of {human(limit)} is below the {human(SMALLEST_LIMIT)} that "
        "neo4j-admin needs: expect it to be killed"
    )
