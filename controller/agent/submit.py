"""The verbs ``submit`` and ``release``: a run's beginning and end."""

from __future__ import annotations

import hashlib

from controller.agent import chains
from controller.agent.answers import answer, complain, read_line
from controller.agent.handwritten import PREFIX
from controller.agent.journal import Journal, is_run_id
from controller.agent.places import Places, default_places, remove_tree
from controller.wire.messages import (
    Accepted,
    BackupRequest,
    Released,
    ReleaseRequest,
    RunState,
    Unreadable,
    decode,
)


def submit() -> int:
    """Queue the request on standard input, or say where the run with this id already is."""
    line = read_line()
    try:
        request = decode(line, BackupRequest)
    except Unreadable as error:
        return complain(f"standard input is no request: {error}", 64)
    if not is_run_id(request.run_id) or request.run_id.startswith(PREFIX):
        return complain(f"run id {request.run_id!r} is refused: letters, digits, dots and dashes only", 64)
    journal = Journal(default_places().requests)
    journal.add(request)
    state = journal.state(request.run_id) or RunState.QUEUED
    answer(Accepted(run_id=request.run_id, state=state, sha256=hashlib.sha256(line).hexdigest()))
    return 0


def release(run_id: str = "") -> int:
    """End a run as the request on standard input says; with ``run_id``, as one that was not committed."""
    line = b"" if run_id else read_line()
    try:
        request = ReleaseRequest(run_id=run_id) if run_id else decode(line, ReleaseRequest)
    except Unreadable as error:
        return complain(f"standard input is no request: {error}", 64)
    if not is_run_id(request.run_id):
        return complain(f"{request.run_id!r} is no run id", 64)
    code = end_run(request, default_places())
    if line and not code:
        answer(Released(run_id=request.run_id, sha256=hashlib.sha256(line).hexdigest()))
    return code


def end_run(request: ReleaseRequest, places: Places) -> int:
    """Remove the artifacts and files of a finished run; one that nobody knows is released already.

    The files that were committed become the open chains first; all others are no parents, ever.
    """
    journal = Journal(places.requests)
    known = journal.known()
    runs = {request.run_id, *(one for one in known if one.startswith(f"{request.run_id}-"))}
    busy = [one for one in sorted(runs) if journal.state(one) is RunState.RUNNING]
    if busy:
        return complain(f"run {busy[0]} is being dumped")
    for run_id in sorted(runs):
        asked, status = journal.request(run_id), journal.status(run_id)
        if asked and status and asked.chain:
            chains.advance(places, asked.chain, status, request.committed)
        remove_tree(places.run_directory(run_id))
        journal.forget(run_id)
    if request.chain:
        chains.keep_only(places, request.chain, request.open)
    return 0
