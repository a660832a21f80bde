"""Start one process as a container: own mounts, own process tree, bound to the life of whoever started it.

Guarantee: when the starter dies, by ``kill -9`` too, every process started here dies; nothing that is
mounted here is ever visible on the host; a failure before ``exec`` is reported on the status descriptor as
one JSON line, and end of file without such a line means that the program runs.
Non-guarantee: this isolates nothing on purpose. The host's own files are visible, read-only.

Runs as ``python -I -S launch.py <spec fd> <status fd>`` with the standard library only: it starts before
every container, probe and exec, so its start-up time is everybody's.

In namespaces there are three processes: the supervisor (host's process namespace, dies with its starter),
the init (process 1 of the container, whose death makes the kernel kill all the rest), and the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import typing

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
HOST = "/.host"
STOP, KILL = signal.SIGTERM, signal.SIGUSR2
"""What the starter sends: end the program politely; end everything at once."""

_libc = ctypes.CDLL(None, use_errno=True)


class Entry(typing.NamedTuple):
    """One mount of the spec."""

    target: str
    source: str
    writable: bool
    volume: bool
    """Mount points below a volume are made in it; below an image's own tree they are not."""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), None)
    _check(_libc.mount(*arguments), f"mount {target}")


def _make_read_only(target: str) -> None:
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    _check(result, f"make {target} read-only")


def bind(source: str, target: str, writable: bool) -> None:
    """Mount ``source`` on ``target``, which is made first when it is missing."""
    make_mount_point(source, target)
    _mount(source, target, "", MS_BIND | MS_REC)
    if not writable:
        _make_read_only(target)


def make_mount_point(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def link(source: str, target: str, writable: bool) -> None:
    """What stands in for :func:`bind` where nothing can be mounted. Never over a directory with content."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(target):
        os.unlink(target)
    elif os.path.isdir(target):
        os.rmdir(target)
    os.symlink(source, target)


class Tree:
    """A file tree to be built from the host's and an image's directories with volumes put into it.

    A directory that has a mount point below it which may not exist on the host is not bound but made
    anew, with one link for each of its other entries, so that no mount point is ever made on the host.
    """

    def __init__(self, source: str = "") -> None:
        self.source = source
        self.entry: Entry | None = None
        self.children: dict[str, Tree] = {}

    def put(self, entry: Entry) -> None:
        node = self
        for name in entry.target.strip("/").split("/"):
            inherited = os.path.join(node.source, name) if node.source else ""
            node = node.children.setdefault(name, Tree(inherited if os.path.exists(inherited) else ""))
        node.entry, node.source = entry, entry.source

    def build(self, path: str, put: typing.Callable[[str, str, bool], None], seen_at: str) -> None:
        """``seen_at`` is where the host's root can be reached from inside, for the links."""
        entry = self.entry
        if entry is not None and (entry.volume or not self.children):
            put(entry.source, path, entry.writable)
        else:
            os.makedirs(path, exist_ok=True)
            self._link_others(path, seen_at)
        for name, child in self.children.items():
            child.build(os.path.join(path, name), put, seen_at)

    def _link_others(self, path: str, seen_at: str) -> None:
        if os.path.isdir(self.source):
            for name in os.listdir(self.source):
                if name not in self.children:
                    os.symlink(seen_at + os.path.join(self.source, name), os.path.join(path, name))


def _host_root(root: str, taken: dict[str, Tree]) -> None:
    """The host's top-level directories, read-only, but for the few that a container has for itself."""
    own = {"proc", *taken}
    for name in os.listdir("/"):
        path, target = "/" + name, os.path.join(root, name)
        if name in own or name.startswith("."):
            continue
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
        elif os.path.isdir(path):
            bind(path, target, False)


def build_root(spec: dict[str, typing.Any]) -> None:
    """Make the container's root in the current mount namespace and go there."""
    root: str = spec["root"]
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", 0)
    tree = Tree("/")
    tree.children |= {"dev": Tree("/dev"), "tmp": Tree()}
    tree.children["dev"].children["shm"] = Tree()
    for entry in _entries(spec):  # at the places where the host's links lead: /var/run is /run
        tree.put(entry._replace(target=os.path.realpath(entry.target)))
    for name in ("proc", "tmp", HOST.strip("/")):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    _host_root(root, tree.children)
    for name, child in tree.children.items():
        child.build(os.path.join(root, name), bind, HOST)
    _mount("tmpfs", os.path.join(root, "dev/shm"), "tmpfs", 0)
    _mount_proc(os.path.join(root, "proc"))
    _enter(root)
    if spec["read_only_root"]:
        _mount("none", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def _entries(spec: dict[str, typing.Any]) -> list[Entry]:
    """Parents before children, and an image's tree before a volume at the same place."""
    entries = [Entry(**entry) for entry in spec["mounts"]]
    return sorted(entries, key=lambda entry: (entry.target.count("/"), entry.volume))


def _mount_proc(target: str) -> None:
    try:
        _mount("proc", target, "proc", 0)
    except PermissionError:  # a user namespace below a container whose own /proc is partly masked
        _mount("/proc", target, "", MS_BIND | MS_REC)


def _enter(root: str) -> None:
    number = SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, root.encode(), (root + HOST).encode()), "pivot_root")
    os.chdir("/")
    _make_read_only(HOST)


def _unshare(user_namespace: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWPID | (CLONE_NEWUSER if user_namespace else 0)), "unshare")
    if user_namespace:
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)


def _join(pid: int, user_namespace: bool) -> None:
    for name in (["user"] if user_namespace else []) + ["pid", "mnt"]:
        with open(f"/proc/{pid}/ns/{name}", "rb") as file:
            _check(_libc.setns(file.fileno(), 0), f"join {name} namespace")


def _bind_to_parent(number: int) -> None:
    _check(_libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def _fork() -> int:
    """``os.fork`` whose child dies with its parent, from the first moment on."""
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        _bind_to_parent(signal.SIGKILL)
        if select.select([alive], [], [], 0)[0]:  # the parent died before prctl took effect
            os._exit(137)
        os.close(alive)
    else:
        os.close(alive)
    return pid


def _descendants() -> list[int]:
    """Every process below this one; sound because this one is their reaper, so none escapes upwards."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(name))
    found, queue = [], [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_one(pid: int) -> None:
    _signal(pid, signal.SIGKILL)


def _kill_group(leader: int) -> None:
    """For an exec: what it left in the background belongs to the container and stays."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its group yet, or has ended
        _kill_one(leader)


def _kill_tree(_child: int = 0) -> None:
    for pid in _descendants():
        _signal(pid, signal.SIGKILL)


def supervise(child: int, kill: typing.Callable[[int], None]) -> int:
    """Pass STOP on, do ``kill`` on KILL, reap everything, and return how ``child`` ended."""
    signal.signal(STOP, lambda *_: _signal(child, STOP))
    signal.signal(KILL, lambda *_: kill(child))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP, KILL})
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(spec: dict[str, typing.Any]) -> typing.NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP, KILL})
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    if spec["terminal"]:
        _libc.ioctl(0, 0x540E, 0)  # TIOCSCTTY
    if spec["user"] is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(spec["user"])
        os.setuid(spec["user"])
        _bind_to_parent(signal.SIGKILL)  # the kernel forgets it when the user changes
    os.umask(0o022)
    os.chdir(spec["cwd"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])


def _run_program(spec: dict[str, typing.Any], status: int, kill: typing.Callable[[int], None]) -> int:
    program = _fork()
    if program == 0:
        os.set_inheritable(status, False)
        try:
            _become(spec)
        except OSError as error:
            _fail(status, f'exec: "{spec["argv"][0]}": {error.strerror}')
    os.close(status)
    return supervise(program, kill)


def _fail(status: int, message: str) -> typing.NoReturn:
    os.write(status, json.dumps({"error": message}).encode() + b"\n")
    os._exit(128)


def _run_in_namespaces(spec: dict[str, typing.Any], status: int) -> int:
    _unshare(spec["user_namespace"])
    init = _fork()
    if init == 0:
        try:
            build_root(spec)
        except OSError as error:
            _fail(status, str(error))
        os._exit(_run_program(spec, status, _kill_one))
    os.write(status, json.dumps({"pid": init}).encode() + b"\n")
    os.close(status)
    return supervise(init, _kill_one)


def _run_plainly(spec: dict[str, typing.Any], status: int) -> int:
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    tree = Tree()
    for entry in _entries(spec):
        tree.put(entry)
    tree.build(spec["root"], link, "")
    try:
        return _run_program(spec, status, _kill_tree)
    finally:
        _kill_tree()


def _run_inside(spec: dict[str, typing.Any], status: int) -> int:
    if spec["join"]:
        _join(spec["join"], spec["user_namespace"])
    return _run_program(spec, status, _kill_group)


def main() -> int:
    with open(int(sys.argv[1]), encoding="utf-8") as file:
        spec = json.load(file)
    status = int(sys.argv[2])
    signal.pthread_sigmask(signal.SIG_BLOCK, {STOP, KILL})
    _bind_to_parent(KILL)
    if os.getppid() != spec["parent"]:
        return 137
    run = {"namespaces": _run_in_namespaces, "plain": _run_plainly, "inside": _run_inside}[spec["mode"]]
    try:
        return run(spec, status)
    except OSError as error:
        _fail(status, str(error))


if __name__ == "__main__":
    sys.exit(main())
