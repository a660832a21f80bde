"""What to do about a Lease, decided without doing it. Pure; time is an argument.

Guarantee: remote timestamps are never compared. A lease is expired when its record has not *changed*
for its duration on the monotonic clock of whoever looks, so any clock skew is tolerated, and a skew in
rate up to the ratio of duration to renew deadline. A record that nobody holds is taken at once.

Non-guarantee: this is not fencing. A holder that was frozen does not know that it was replaced until it
asks its own clock (:meth:`controller.kube.leader.LeaderElector.seconds_left`), before every write.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

RETRY_JITTER = 1.2


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. The defaults are client-go's."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration > self.renew_deadline > self.retry * RETRY_JITTER > 0:
            raise ValueError("needed: duration > renew deadline > 1.2 × retry > 0")


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease's spec. The times are opaque: they tell that something changed, not when."""

    holder: str = ""
    duration: float = 0.0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Record:
        """Whatever another implementation left out counts as empty."""
        return cls(
            holder=spec.get("holderIdentity") or "",
            duration=float(spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=int(spec.get("leaseTransitions") or 0),
        )

    def to_spec(self) -> dict[str, Any]:
        """The wire form; the server wants whole seconds and at least one."""
        return {
            "holderIdentity": self.holder,
            "leaseDurationSeconds": max(1, round(self.duration)),
            "acquireTime": self.acquired,
            "renewTime": self.renewed,
            "leaseTransitions": self.transitions,
        }


@dataclass(frozen=True, slots=True)
class Observed:
    """A record, and since when, on our clock, it looks like that."""

    record: Record
    since: float


@dataclass(frozen=True, slots=True)
class Write:
    """Make this the record. ``taking`` says that the holder changes."""

    record: Record
    taking: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else holds it, for at least so many seconds as far as we can know."""

    holder: str
    seconds: float


def observe(before: Observed | None, record: Record, now: float) -> Observed:
    """Note what was just read; the time moves only when the record did."""
    if before is not None and before.record == record:
        return before
    return Observed(record, now)


def decide(identity: str, seen: Observed | None, now: float, stamp: str, times: LeaseTimes) -> Write | Wait:
    """``seen`` is None when there is no Lease. ``stamp`` is the wall time to write, for people to read."""
    if seen is None:
        return Write(Record(identity, times.duration, stamp, stamp, 0), taking=True)
    record = seen.record
    if record.holder == identity:
        return Write(replace(record, duration=times.duration, renewed=stamp), taking=False)
    # The holder's own promise counts where it is longer: during a roll-out both settings are alive.
    left = seen.since + max(times.duration, record.duration) - now
    if record.holder and left > 0:
        return Wait(record.holder, left)
    return Write(Record(identity, times.duration, stamp, stamp, record.transitions + 1), taking=True)


def released(record: Record, stamp: str) -> Record:
    """The record of a holder that stopped: free at once, and the term stays counted."""
    return Record("", 1.0, stamp, stamp, record.transitions)
