"""Run one program from a small process, and write what it took, as the kernel counted, to a descriptor.

    python -I -S hack/benchmarks/books.py FD PROGRAM [ARGUMENT ...]

The peak that ``wait4`` tells of a program is at least what its parent held when it was started: it counts
from before ``execve``. Started straight from a test run of half a gigabyte, the smallest program takes half
a gigabyte. This parent holds ten megabytes, which is the least that it can tell apart.
"""

import json
import os
import sys
import time


def main() -> None:
    started = time.monotonic()
    # A fork, not a spawn: a spawned program would share the descriptor for the books.
    pid = os.fork()
    if pid == 0:
        os.close(int(sys.argv[1]))
        os.execvp(sys.argv[2], sys.argv[2:])
    _, status, used = os.wait4(pid, 0)
    books = {
        "code": os.waitstatus_to_exitcode(status),
        "wall": time.monotonic() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / 1024,
    }
    os.write(int(sys.argv[1]), json.dumps(books).encode())


if __name__ == "__main__":
    main()
