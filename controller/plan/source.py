"""Which server each database is copied from.

Guarantee: a pure function of what the agents answered; the order of its inputs never changes the
result. For each database the servers that hold an online copy are ordered: secondaries by lag, then
primaries that are not the writer, then the writer. A database that should be saved and cannot be is
refused with its reason, never dropped in silence. Where the next backup may be differential, the server
that keeps the chain goes first as long as it is good for it (:func:`with_keepers_first`).

Non-guarantee: lag and roles are a moment's picture. Where no agent could ask the DBMS, the order rests
on the roles that the deployment declares, and completeness cannot be known: a warning says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from controller.wire.messages import DatabaseRow, Server, TopologyAnswer

Role = Literal["secondary", "primary", "writer", "unknown"]
EVERYTHING = "*"
"""Stands for every database that a server hosts, where their names could not be asked for."""

_RANKS: Mapping[Role, int] = {"secondary": 0, "primary": 1, "unknown": 2, "writer": 3}
_PHYSICAL = {"standard", "system"}
_SHARDS = {"graph shard", "property shard"}
_UNKNOWN_LAG = 1 << 62
SHARDED = (
    "it is a shard of a sharded property database, which is not supported: back that database up with "
    "neo4j-admin and --remote-address-resolution"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server that a database can be copied from, and why it stands where it stands."""

    pod: str
    role: Role
    why: str
    last_tx: int | None = None
    """The newest transaction that it had, where the DBMS said so."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """The server that keeps a database's open chain, and the chain's last transaction."""

    pod: str
    last_tx: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A database and the servers to try, best first; at least one."""

    database: str
    candidates: tuple[Candidate, ...]

    @property
    def is_everything(self) -> bool:
        """All that the server hosts, under names that are not known yet."""
        return self.database == EVERYTHING


@dataclass(frozen=True, slots=True)
class Refusal:
    """A database that is not saved, and why."""

    database: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """The verdict. ``refused`` should have been saved; ``skipped`` need not be."""

    choices: tuple[Choice, ...] = ()
    refused: tuple[Refusal, ...] = ()
    skipped: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    blocked: str = ""
    """Why nothing can be saved at all; empty when something can be tried."""


@dataclass(frozen=True, slots=True)
class Group:
    """What one server dumps in one go."""

    pod: str
    databases: tuple[str, ...]


def choose_sources(
    requested: Collection[str],
    servers: Sequence[Server],
    answers: Mapping[str, TopologyAnswer],
    unreachable: Mapping[str, str],
) -> SourcePlan:
    """Order the servers for every database that is asked for; ``requested`` empty means all of them.

    ``answers`` is by pod; a pod whose agent did not answer is in ``unreachable`` with the reason.
    """
    wanted = sorted({name.lower() for name in requested})
    reachable = sorted(server.pod for server in servers if server.pod not in unreachable)
    views = {pod: answers[pod] for pod in reachable if pod in answers and not answers[pod].error}
    if not reachable:
        said = "; ".join(f"{pod}: {reason}" for pod, reason in sorted(unreachable.items()))
        reason = f"no agent of the deployment answers ({said or 'it has no servers'})"
        return SourcePlan(refused=tuple(Refusal(name, reason) for name in wanted), blocked=reason)
    if not views:
        return _by_hints(wanted, servers, reachable, answers)
    copies = _copies(views, [server.pod for server in servers])
    return _by_rows(wanted or sorted(copies), copies, reachable, explicit=bool(wanted))


def next_groups(choices: Iterable[Choice], tried: Mapping[str, Collection[str]]) -> tuple[Group, ...]:
    """Databases by the best server that has not been tried for them; those with none left are out."""
    groups: dict[str, list[str]] = {}
    for choice in choices:
        left = [one for one in choice.candidates if one.pod not in tried.get(choice.database, ())]
        if left:
            groups.setdefault(left[0].pod, []).append(choice.database)
    return tuple(Group(pod, tuple(sorted(names))) for pod, names in sorted(groups.items()))


def with_keepers_first(plan: SourcePlan, keepers: Mapping[str, Keeper]) -> SourcePlan:
    """The plan for backups that may be differential: a chain is not broken for a little lag.

    A differential can be made only where the chain is kept, and costs a server, be it the writer, a small
    part of what a FULL one costs any other. So the keeper goes first while it is a source at all and has not
    fallen behind: of what was committed since the chain's last artifact it must have at least half of what
    the first choice has, so that a server that is stuck is left.
    """
    choices = tuple(
        replace(choice, candidates=_keeper_first(choice.candidates, keepers.get(choice.database)))
        for choice in plan.choices
    )
    return replace(plan, choices=choices)


def _keeper_first(candidates: tuple[Candidate, ...], keeper: Keeper | None) -> tuple[Candidate, ...]:
    best = candidates[0]
    kept = next((one for one in candidates if keeper and one.pod == keeper.pod), None)
    if keeper is None or kept is None or kept is best:
        return candidates
    if _is_behind(kept, best, keeper.last_tx):
        return candidates
    others = tuple(one for one in candidates if one is not kept)
    return (replace(kept, why=f"{kept.why}; it keeps the open chain"), *others)


def _is_behind(kept: Candidate, best: Candidate, since: int) -> bool:
    if kept.last_tx is None or best.last_tx is None:
        return False
    return (kept.last_tx - since) * 2 < best.last_tx - since


# --- by what the DBMS says -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Copy:
    """One row of SHOW DATABASES, and the pod that it is about (empty when none of ours)."""

    row: DatabaseRow
    pod: str
    first_hand: bool


def _copies(views: Mapping[str, TopologyAnswer], pods: Sequence[str]) -> dict[str, list[_Copy]]:
    """All copies by database. Views differ by moments; a server is believed most about itself."""
    best: dict[tuple[str, str, str], _Copy] = {}
    for asked in sorted(views):
        for row in views[asked].databases:
            pod = pod_of(row.address, asked, views, pods)
            copy = _Copy(row, pod, first_hand=pod == asked)
            key = (row.name.lower(), pod, "" if pod else row.address)
            best[key] = max(best.get(key, copy), copy, key=_credence)
    found: dict[str, list[_Copy]] = {}
    for (name, _, _), copy in sorted(best.items(), key=lambda item: item[0]):
        found.setdefault(name, []).append(copy)
    return found


def _credence(copy: _Copy) -> tuple[bool, int, str]:
    return copy.first_hand, copy.row.last_committed_tx or 0, repr(copy.row)


def pod_of(address: str, asked: str, views: Mapping[str, TopologyAnswer], pods: Sequence[str]) -> str:
    """The pod behind a Bolt address as seen by ``asked``; empty when it is none of ``pods``.

    The answering server's own address is itself, whatever it calls itself (``localhost`` is Neo4j's
    default). Else the first DNS label is the pod's name; Neo4j's Helm chart names a Service there,
    whose StatefulSet has the one pod ``<label>-0``.
    """
    if not address:
        return ""
    if len(pods) == 1 or address == views[asked].server_address:
        return asked
    label = address.split(":", 1)[0].split(".", 1)[0]
    named = [pod for pod in (label, f"{label}-0") if pod in pods]
    owners = [pod for pod in sorted(views) if views[pod].server_address == address]
    return next(iter(named or (owners if len(owners) == 1 else [])), "")


def _by_rows(
    names: Sequence[str], copies: Mapping[str, list[_Copy]], reachable: Sequence[str], *, explicit: bool
) -> SourcePlan:
    choices: list[Choice] = []
    refused: list[Refusal] = []
    skipped: list[Refusal] = []
    warnings: list[str] = []
    for name in names:
        found = copies.get(name, [])
        if _is_shard(found):
            refused.append(Refusal(name, SHARDED))
        elif reason := _virtual(found):
            (refused if explicit else skipped).append(Refusal(name, reason))
        elif candidates := _candidates(found, reachable):
            choices.append(Choice(name, candidates))
        elif not explicit and (reason := _stopped(found)):
            skipped.append(Refusal(name, reason))
            warnings.append(f"{name} was not saved: {reason}")
        else:
            refused.append(Refusal(name, _why_not(found, reachable)))
    return SourcePlan(tuple(choices), tuple(refused), tuple(skipped), tuple(warnings))


def _candidates(copies: Iterable[_Copy], reachable: Collection[str]) -> tuple[Candidate, ...]:
    online = [copy for copy in copies if copy.row.current_status == "online" and copy.pod in reachable]
    has_secondary = any(_role(copy.row) == "secondary" for copy in online)
    return tuple(
        Candidate(copy.pod, _role(copy.row), _why(copy.row, has_secondary), copy.row.last_committed_tx)
        for copy in sorted(online, key=_preference)
    )


def _preference(copy: _Copy) -> tuple[int, int, int, str]:
    lag = copy.row.replication_lag
    behind = _UNKNOWN_LAG if lag is None else abs(lag)
    return _RANKS[_role(copy.row)], behind, -(copy.row.last_committed_tx or 0), copy.pod


def _role(row: DatabaseRow) -> Role:
    if row.writer:
        return "writer"
    if row.role == "secondary":
        return "secondary"
    return "primary" if row.role == "primary" else "unknown"


def _why(row: DatabaseRow, has_secondary: bool) -> str:
    role = _role(row)
    if role == "secondary":
        lag = (
            "unknown lag"
            if row.replication_lag is None
            else f"{abs(row.replication_lag)} transactions behind"
        )
        return f"online secondary, {lag}"
    instead = "" if has_secondary else "; no secondary is online"
    return {"primary": "online primary that is not the writer", "writer": "the writer"}.get(
        role, "online, role unknown"
    ) + instead


def _virtual(copies: Sequence[_Copy]) -> str:
    """Why there is nothing to copy, for databases without a store; empty for all others."""
    types = {copy.row.type for copy in copies}
    if not types or types & _PHYSICAL:
        return ""
    return f"it is of type {sorted(types)[0]!r}, which has no store of its own"


def _is_shard(copies: Iterable[_Copy]) -> bool:
    """Shards restore only together and only when their transactions fit: saving some is saving nothing."""
    return any(copy.row.type in _SHARDS for copy in copies)


def _stopped(copies: Sequence[_Copy]) -> str:
    """Somebody stopped the database on purpose: not saving it is no failure, but worth a warning."""
    if copies and all(copy.row.requested_status == "offline" for copy in copies):
        return "it is stopped (requested status offline); start it to have it saved"
    return ""


def _why_not(copies: Sequence[_Copy], reachable: Collection[str]) -> str:
    if not copies:
        return "the deployment has no database of this name (aliases are not databases)"
    if reason := _stopped(copies):
        return reason
    online = sorted({copy.pod or copy.row.address for copy in copies if copy.row.current_status == "online"})
    if online:
        return f"it is online only on {', '.join(online)}, whose agent does not answer"
    return f"no server has it online ({'; '.join(_states(copies, reachable))})"


def _states(copies: Sequence[_Copy], reachable: Collection[str]) -> list[str]:
    states = set()
    for copy in copies:
        where = copy.pod or copy.row.address or "a server that is unavailable"
        message = f", {copy.row.status_message}" if copy.row.status_message else ""
        states.add(f"{where}: {copy.row.current_status or 'unknown'}{message}")
    return sorted(states)


# --- by what the deployment declares -------------------------------------------------------------

_HINT_ROLES: Mapping[str, Role] = {"secondary": "secondary", "unknown": "unknown", "primary": "primary"}
_HINT_ORDER = ("secondary", "unknown", "primary")


def _by_hints(
    wanted: Sequence[str],
    servers: Sequence[Server],
    reachable: Collection[str],
    answers: Mapping[str, TopologyAnswer],
) -> SourcePlan:
    said = "; ".join(f"{pod}: {answers[pod].error}" for pod in sorted(answers) if answers[pod].error)
    reason = f"the DBMS could not be asked ({said or 'no answer'})"
    ordered = sorted(
        (server for server in servers if server.pod in reachable),
        key=lambda server: (_HINT_ORDER.index(server.role_hint), server.pod),
    )
    candidates = tuple(
        Candidate(
            server.pod,
            _HINT_ROLES[server.role_hint],
            f"role {server.role_hint} by the deployment's own declaration",
        )
        for server in ordered
    )
    warnings = [f"{reason}: the source was chosen by declared roles"]
    if not wanted and len(servers) > 1:
        warnings.append("whether other servers host more databases could not be checked")
    return SourcePlan(
        tuple(Choice(name, candidates) for name in wanted or [EVERYTHING]), warnings=tuple(warnings)
    )
