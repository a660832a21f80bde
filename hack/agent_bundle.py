"""Builds the agent's relocatable bundle from the Python that runs this file: ``agent_bundle.py OUT``.

Guarantee: the bundle starts, through its own loader, libc and libraries, in a root file system that has an
older glibc and no Python, at any path; nothing of the building machine is looked up at run time.
Non-guarantee: the architecture is the builder's; musl is not supported; the kernel must be one that the
bundled glibc accepts (3.2 or later for Debian's).
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("agent", "neo4j", "wire")
HOME = "/opt/neo4j-backup-agent"
"""Only for file names in tracebacks; the bundle runs anywhere."""

# what an agent never needs and what would drag further libraries in
# fmt: off
_LEFT_OUT = frozenset((
    "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "lib2to3", "ensurepip",
    "distutils", "pydoc_data", "pydoc.py", "venv", "unittest", "sqlite3", "dbm", "curses", "xmlrpc",
    "xml", "wsgiref", "multiprocessing", "cgi.py", "site-packages", "dist-packages", "__pycache__",
    "sitecustomize.py", "doctest.py", "pdb.py", "idle_test", "_pyrepl", "lib-tk", "__phello__",
    "antigravity.py", "this.py", "zipapp.py", "mailbox.py", "smtplib.py", "nntplib.py", "imaplib.py",
    "ftplib.py", "poplib.py", "telnetlib.py", "pickletools.py", "cProfile.py", "profile.py",
    "pstats.py", "trace.py",
))
# fmt: on
_EXTENSIONS_LEFT_OUT = re.compile(
    r"^(_test|_tkinter|_sqlite3|_dbm|_gdbm|_curses|readline|nis|ossaudiodev|_ctypes_test|xx|_lzma|_bz2|"
    r"_multiprocessing|_elementtree|pyexpat|_codecs_(jp|kr|cn|tw|hk|iso2022)|_multibytecodec|_crypt|audioop)"
)
_LDD_LINE = re.compile(r"^\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path, help="directory to make; must not exist")
    out = parser.parse_args().out
    loader = build(out)
    sys.stdout.write(
        f"{out}: {_size(out) / 1024**2:.1f} MiB, Python {sys.version.split()[0]}, {loader.name}\n"
    )
    return 0


def build(out: Path) -> Path:
    """Make the bundle; returns its loader. Raises when ``out`` exists or a library cannot be found."""
    library = out / sys.platlibdir / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library.mkdir(parents=True)
    (out / "bin").mkdir()
    (out / "lib").mkdir(exist_ok=True)
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    shutil.copy(python, out / "bin" / "python3")
    _copy_standard_library(library)
    _copy_tree(_package_directory("msgspec"), library / "msgspec")
    _copy_controller(library / "controller")
    loader = _copy_libraries([python, *_extensions(library)], out / "lib")
    _strip([out / "bin" / "python3", *_extensions(out)])
    _compile(out, library)
    return loader


def _copy_standard_library(target: Path) -> None:
    _copy_tree(Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix})), target)
    # Python takes this directory's presence as the sign that it found its home, even where all is built in
    (target / "lib-dynload").mkdir(exist_ok=True)


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=_ignored, dirs_exist_ok=True, ignore_dangling_symlinks=True)


def _ignored(_: str, entries: list[str]) -> set[str]:
    return {entry for entry in entries if _is_left_out(entry)}


def _is_left_out(entry: str) -> bool:
    if entry in _LEFT_OUT or entry.startswith("config-") or entry.endswith((".pyi", ".a", ".exe", ".whl")):
        return True
    return entry.endswith(".so") and bool(_EXTENSIONS_LEFT_OUT.match(entry))


def _package_directory(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"{name} is not installed for {sys.executable}: install it there first")
    return Path(found.origin).parent


def _copy_controller(target: Path) -> None:
    target.mkdir()
    for module in ("__init__.py", "__main__.py"):
        shutil.copy(CHECKOUT / "controller" / module, target / module)
    for package in PACKAGES:
        _copy_tree(CHECKOUT / "controller" / package, target / package)


def _extensions(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.so*") if path.is_file() and not path.is_symlink())


def _copy_libraries(binaries: Iterable[Path], target: Path) -> Path:
    """Everything that the binaries load, and the loader as ``ld.so``. The loader's own path is returned."""
    libraries = dict(line for binary in binaries for line in _needed(binary))
    loaders = [path for name, path in libraries.items() if name.startswith("ld-linux")]
    if len(loaders) != 1:
        raise SystemExit(f"this platform has no glibc loader: {sorted(libraries)}")
    for name, path in libraries.items():
        shutil.copy(path, target / name)
    loader = target / loaders[0].name
    loader.rename(target / "ld.so")
    # libraries name the loader by its platform's name, and must find this very file
    loader.symlink_to("ld.so")
    _copy_name_services(libraries["libc.so.6"], target)
    return loader


def _needed(binary: Path) -> Iterator[tuple[str, Path]]:
    """Name and file of each library that ``binary`` loads, transitively, as the loader itself resolves it."""
    answer = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    if "not found" in answer.stdout:
        raise SystemExit(f"{binary} needs a library that is not installed:\n{answer.stdout}")
    for line in answer.stdout.splitlines():
        match = _LDD_LINE.match(line)
        if match:
            path = Path(match["path"])
            yield Path(match["name"] or path.name).name, path


def _copy_name_services(libc: Path, target: Path) -> None:
    """Before glibc 2.34 host names are looked up by libraries that nothing links to."""
    for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
        if (libc.parent / name).exists():
            shutil.copy(libc.parent / name, target / name)


def _strip(binaries: Iterable[Path]) -> None:
    """Debug symbols are most of a Python that was built from source. Without binutils it is just bigger."""
    if not shutil.which("strip"):
        return
    for binary in binaries:
        subprocess.run(["strip", "--strip-unneeded", str(binary)], check=False, capture_output=True)


def _compile(out: Path, library: Path) -> None:
    """Byte code beside the sources, trusted unseen: the volume may be read-only, its times mean nothing."""
    compileall.compile_dir(
        library,
        quiet=2,
        maxlevels=20,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=str(out),
        prependdir=HOME,
    )


def _size(directory: Path) -> int:
    return sum(
        path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink()
    )


if __name__ == "__main__":
    sys.exit(main())
