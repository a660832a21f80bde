"""The verbs ``submit`` and ``release``: a run's beginning and end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from controller.agent import chains
from controller.agent.answers import answer, complain, read_line
from controller.agent.handwritten import PREFIX
from controller.agent.journal import Journal, is_run_id
from controller.agent.places import default_places, remove_tree
from controller.wire.messages import Accepted, BackupRequest, RunState, Unreadable, decode


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


def release(run_id: str, committed: Sequence[str] = ()) -> int:
    """Remove a finished run's artifacts and files; a run that nobody knows is released already.

    The files that were ``committed`` become the open chains first; all others are no parents, ever.
    """
    if not is_run_id(run_id):
        return complain(f"{run_id!r} is no run id", 64)
    places = default_places()
    journal = Journal(places.requests)
    if journal.state(run_id) is RunState.RUNNING:
        return complain(f"run {run_id} is being dumped")
    request, status = journal.request(run_id), journal.status(run_id)
    if request and status and request.chain:
        chains.advance(places, request.chain, status, committed)
    remove_tree(places.run_directory(run_id))
    journal.forget(run_id)
    return 0
