"""``python -m controller agent <verb>``: the daemon, and the verbs that the runner calls through exec.

Guarantee: a verb answers with lines of JSON on standard output and nothing else; errors go to standard
error. Exit codes: 0 done, 1 failed, 64 usage, 66 no such run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

USAGE = """usage: agent run                          take requests until SIGTERM
       agent submit                       queue the request on standard input
       agent follow <run-id>              progress, then the outcome
       agent status [<run-id>]            the outcome now, or every known run
       agent topology                     SHOW DATABASES as this server sees it
       agent serve                        hand out a run's artifacts over HTTPS
       agent fetch <run-id> <file> [<offset>]
       agent release [<run-id>]           remove a run's files; the request on standard input says what was
                                          committed and continues its chain
       agent install [<directory>]        copy the bundle
"""


def _run(_: Sequence[str]) -> int:
    from controller.agent import daemon

    return daemon.run()


def _submit(_: Sequence[str]) -> int:
    from controller.agent import submit

    return submit.submit()


def _follow(arguments: Sequence[str]) -> int:
    from controller.agent import follow

    return follow.follow(arguments[0])


def _status(arguments: Sequence[str]) -> int:
    from controller.agent import follow

    return follow.status(arguments[0] if arguments else "")


def _topology(_: Sequence[str]) -> int:
    from controller.agent import topology

    return topology.topology()


def _serve(_: Sequence[str]) -> int:
    from controller.agent import serve

    return serve.serve()


def _fetch(arguments: Sequence[str]) -> int:
    from controller.agent import fetch

    return fetch.fetch(arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else "0")


def _release(arguments: Sequence[str]) -> int:
    from controller.agent import submit

    return submit.release(arguments[0] if arguments else "")


def _install(arguments: Sequence[str]) -> int:
    from controller.agent import install

    return install.install(arguments[0] if arguments else "")


_VERBS: dict[str, tuple[Callable[[Sequence[str]], int], int, int]] = {
    "run": (_run, 0, 0),
    "submit": (_submit, 0, 0),
    "follow": (_follow, 1, 1),
    "status": (_status, 0, 1),
    "topology": (_topology, 0, 0),
    "serve": (_serve, 0, 0),
    "fetch": (_fetch, 2, 3),
    "release": (_release, 0, 1),
    "install": (_install, 0, 1),
}
"""Verb → program, fewest and most arguments. Each imports only what it needs: exec starts one each time."""


def main(argv: list[str]) -> int:
    if argv and argv[0] in {"-h", "--help", "help"}:
        sys.stdout.write(USAGE)
        return 0
    verb, *arguments = argv or [""]
    if verb not in _VERBS or not _VERBS[verb][1] <= len(arguments) <= _VERBS[verb][2]:
        sys.stderr.write(USAGE)
        return 64
    try:
        return _VERBS[verb][0](arguments)
    except (BrokenPipeError, KeyboardInterrupt):
        return 1
    except OSError as error:
        sys.stderr.write(f"agent {verb}: {error}\n")
        return 1
