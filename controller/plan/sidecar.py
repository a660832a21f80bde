"""Rolling the sidecar out, gently, and knowing when to stop.

Guarantee: a StatefulSet is patched only when something of ours differs, one at a time, never while any
server of the target is not well, never while a backup runs on it. When somebody else takes the sidecar
out again it is put back once; after the second time nothing is patched any more and a condition says
what to do. No run starts before every pod has the current sidecar; a pod that has it and is not ready
is left out of the run, in sight.

Non-guarantee: the restarts follow the StatefulSet's own rules (its order, its budget), not ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from controller.api.cached import RUN_NOW_ANNOTATION
from controller.api.objects import Pod, StatefulSet
from controller.api.status import Phase, SidecarRecord
from controller.plan.causes import Cause, why_stuck
from controller.plan.changes import Document, EmitEvent, PatchSidecar
from controller.plan.draft import LOOK_AGAIN_SECONDS, SIDECAR_READY, Draft, Stop
from controller.plan.observed import Observed, Unknown
from controller.plan.runs import DEPLOYMENT, Request
from controller.plan.text import listed
from controller.resources import labels, sidecar

PATCHES_ANNOTATION = "backup.neo4j.com/sidecar-patches"
"""Annotation of a StatefulSet: which sidecar, and how often it was put in."""
MAX_PATCHES = 2


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One StatefulSet and the sidecar that it should have."""

    stateful_set: StatefulSet
    document: Document
    hash: str
    needed: bool
    why: str

    @property
    def name(self) -> str:
        return self.stateful_set.name


def roll_out(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """The rule."""
    assert draft.target is not None
    try:
        wanted = [_want(item, observed) for item in draft.target.stateful_sets]
    except sidecar.SidecarImpossibleError as error:
        return draft.waiting(SIDECAR_READY, "SidecarImpossible", str(error))
    if isinstance(observed.pods, Unknown):
        return draft.blind(SIDECAR_READY, observed.pods.reason)
    draft = replace(draft, sidecar=_records(observed, wanted))
    differing = [item for item in wanted if item.needed]
    if differing:
        return _patch(observed, draft, differing)
    return _gather(draft, wanted, observed.pods)


def _want(stateful_set: StatefulSet, observed: Observed) -> _Wanted:
    settings = observed.settings
    agent = sidecar.AgentImage(image=settings.image, pull_policy=settings.image_pull_policy)
    document = sidecar.build_patch(stateful_set, agent)
    needed, why = sidecar.needs_patch(stateful_set, document)
    return _Wanted(stateful_set, document, sidecar.intended_hash(document), needed, why)


# --- putting it in -------------------------------------------------------------------------------


def _patch(observed: Observed, draft: Draft, differing: list[_Wanted]) -> Draft:
    assert draft.target is not None
    fought = [item for item in differing if _patches(observed, item) >= MAX_PATCHES]
    if fought:
        return _give_up(draft, fought[0])
    busy = _busy(observed, draft)
    if isinstance(busy, Unknown):
        return draft.blind(SIDECAR_READY, busy.reason)
    if busy:
        message = (
            f"the sidecar is put in when the backups that run on {draft.target.name} are done: {listed(busy)}"
        )
        return draft.waiting(SIDECAR_READY, "RunInProgress", message)
    unwell = [item.name for item in draft.target.stateful_sets if not item.is_rolled_out]
    if unwell:
        message = f"the sidecar is put in when all servers are ready; waiting for {listed(unwell)}"
        return draft.waiting(SIDECAR_READY, "TargetNotReady", message)
    return _put_in(observed, draft, differing[0])


def _put_in(observed: Observed, draft: Draft, item: _Wanted) -> Draft:
    target = item.stateful_set
    count = _patches(observed, item) + 1
    document = dict(item.document)
    # With its uid the apply fails, instead of making a StatefulSet, when this one is gone.
    document["metadata"] = {
        **item.document["metadata"],
        "uid": target.uid,
        "annotations": {PATCHES_ANNOTATION: f"{item.hash}/{count}"},
    }
    message = (
        f"adding the backup sidecar to StatefulSet {item.name} ({item.why}): its pods restart one by one"
    )
    change = PatchSidecar(
        target.namespace, target.name, target.uid, target.resource_version, document, item.why
    )
    record = SidecarRecord(
        stateful_set=item.name, hash=item.hash, patches=count, request=str(_request(observed))
    )
    others = tuple(old for old in draft.sidecar or () if old.stateful_set != item.name)
    draft = replace(draft, sidecar=_ordered((*others, record)))
    draft = draft.doing(EmitEvent("Normal", "SidecarRollOut", message, "PatchStatefulSet"), change)
    draft = draft.waiting(SIDECAR_READY, "RollingOut", message)
    return draft.again(LOOK_AGAIN_SECONDS)


def _give_up(draft: Draft, item: _Wanted) -> Draft:
    message = (
        f"another controller keeps removing the backup sidecar from StatefulSet {item.name} ({item.why}); "
        f"it was put in {MAX_PATCHES} times and is left alone now. Let that controller keep the container "
        f"backup-sidecar, its init container and its volumes, then set the annotation {RUN_NOW_ANNOTATION} "
        "of this backup to a new value"
    )
    draft = draft.judged(SIDECAR_READY, "False", "SidecarReverted", message)
    return draft.stopped(Stop("SidecarReverted", message, Phase.FAILED))


def _busy(observed: Observed, draft: Draft) -> list[str] | Unknown:
    """Jobs that make this target work right now, ours or another backup's."""
    assert draft.target is not None
    if isinstance(observed.neighbours, Unknown):
        return observed.neighbours
    own = [run.job for run in draft.runs if run.is_active]
    jobs = {job.uid: job for job in (*own, *observed.neighbours)}
    return sorted(
        job.name
        for job in jobs.values()
        if job.annotations.get(DEPLOYMENT, draft.target.key) == draft.target.key
    )


# --- remembering how often -----------------------------------------------------------------------


def _request(observed: Observed) -> Request:
    run_now = observed.backup.run_now
    return Request(observed.backup.generation, run_now)


def _patches(observed: Observed, item: _Wanted) -> int:
    """How often this very sidecar was put in for what is asked for now.

    Two memories, because the other controller may wipe the StatefulSet's annotations, and because two
    backups of one target must not each start counting. Asking anew (spec or run-now) forgives.
    """
    own = next((old for old in observed.status.sidecar if old.stateful_set == item.name), None)
    if own is not None and own.hash == item.hash and own.request != str(_request(observed)):
        return 0
    remembered = own.patches if own is not None and own.hash == item.hash else 0
    hash_, _, count = item.stateful_set.annotations.get(PATCHES_ANNOTATION, "").partition("/")
    told = int(count) if hash_ == item.hash and count.isdecimal() else 0
    return max(remembered, told)


def _records(observed: Observed, wanted: Iterable[_Wanted]) -> tuple[SidecarRecord, ...]:
    """What is remembered of the StatefulSets that are still the target's."""
    hashes = {item.name: item.hash for item in wanted}
    return _ordered(old for old in observed.status.sidecar if hashes.get(old.stateful_set) == old.hash)


def _ordered(records: Iterable[SidecarRecord]) -> tuple[SidecarRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.stateful_set))


# --- waiting for the pods ------------------------------------------------------------------------


def _gather(draft: Draft, wanted: list[_Wanted], pods: tuple[Pod, ...]) -> Draft:
    assert draft.target is not None
    by_name = {pod.name: pod for pod in pods if pod.namespace == draft.target.namespace}
    hashes = {
        f"{item.name}-{index}": item.hash for item in wanted for index in range(item.stateful_set.replicas)
    }
    behind = _behind(wanted, hashes, by_name)
    if behind:
        count = f"{len(hashes) - len(behind)} of {len(hashes)} pods of {draft.target.name}"
        message = f"{count} run the backup sidecar; waiting for {listed(behind)}"
        stuck = (why_stuck(by_name[name]) for name in behind if name in by_name)
        cause = next((cause for cause in stuck if cause is not None), Cause("RollingOut", ""))
        told = "; ".join(part for part in (message, cause.message) if part)
        return draft.waiting(SIDECAR_READY, cause.reason, told)
    ready = sorted(name for name in hashes if name in by_name and by_name[name].is_ready)
    absent = sorted(set(hashes) - set(ready))
    if not ready:
        return draft.waiting(
            SIDECAR_READY, "NoServerReady", f"waiting for a server: none of {listed(absent)} is ready"
        )
    return _report(replace(draft, servers=tuple(ready)), len(hashes), absent)


def _behind(wanted: list[_Wanted], hashes: Mapping[str, str], by_name: Mapping[str, Pod]) -> list[str]:
    """Pods without the current sidecar; while a roll-out is going, also those that are not back yet."""
    rolling = {
        f"{item.name}-{index}"
        for item in wanted
        if _is_rolling(item.stateful_set)
        for index in range(item.stateful_set.replicas)
    }
    return sorted(
        name
        for name, wanted_hash in hashes.items()
        if (name in rolling and not (name in by_name and by_name[name].is_ready))
        or (name in by_name and by_name[name].annotations.get(labels.SIDECAR_HASH) != wanted_hash)
    )


def _is_rolling(item: StatefulSet) -> bool:
    # The current revision becomes the update revision only when every pod was ready on it once, which
    # tells a roll-out from a pod that fell ill later.
    status = item.status
    return status.observed_generation < item.generation or status.current_revision != status.update_revision


def _report(draft: Draft, total: int, absent: list[str]) -> Draft:
    message = f"{total - len(absent)} of {total} servers are ready with the backup sidecar"
    if not absent:
        return draft.judged(SIDECAR_READY, "True", "SidecarRunning", message)
    note = f"left out because not ready: {listed(absent)}"
    draft = replace(draft, notes=(*draft.notes, note))
    return draft.judged(SIDECAR_READY, "True", "ServersLeftOut", f"{message}; {note}")
