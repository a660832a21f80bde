"""The agent's bundle for the embedded node: the same that the operator's image carries.

Guarantee: what is returned was built from the sources as they are now; several processes may ask at once.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from hack.agent_bundle import CHECKOUT, PACKAGES, build

CACHE = CHECKOUT / ".cache" / "agent-bundle"


def agent_bundle() -> Path:
    """Directory of the bundle; building takes some seconds, and only when a source has changed."""
    wanted = CACHE / _digest()
    if not wanted.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=CACHE))
        try:
            build(scratch / "bundle")
            _publish(scratch / "bundle", wanted)
        finally:
            shutil.rmtree(scratch)
    return wanted


def _publish(built: Path, wanted: Path) -> None:
    try:
        built.rename(wanted)
    except OSError:
        # Somebody else was quicker with the same content.
        if not wanted.is_dir():
            raise


def _digest() -> str:
    sha = hashlib.sha256(sys.version.encode())
    sources = [CHECKOUT / "hack" / "agent_bundle.py", CHECKOUT / "controller" / "__main__.py"]
    for package in PACKAGES:
        sources += sorted((CHECKOUT / "controller" / package).glob("*.py"))
    for source in sources:
        sha.update(str(source.relative_to(CHECKOUT)).encode() + b"\0" + source.read_bytes())
    return sha.hexdigest()[:16]
