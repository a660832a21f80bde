"""Neo4j versions: SemVer 5.26.x and CalVer 2025.xx and later, and what each can do.

Guarantee: versions compare numerically (``2025.9 < 2025.10``), and a capability is true exactly from
the release that the manual names. Non-guarantee: a floating image tag (``5-enterprise``, ``enterprise``,
a digest) says nothing exact; callers get ``None`` and ask ``neo4j-admin --version`` instead of guessing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBERS = r"([0-9]{1,4})\.([0-9]{1,2})(?:\.([0-9]{1,6}))?"
_TAG = re.compile(rf"{_NUMBERS}(?:-.*)?")
_ANYWHERE = re.compile(rf"(?<![\d.]){_NUMBERS}(?![\d.])")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One exact release. The patch is 0 where only ``major.minor`` was known."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        minor = f"{self.minor:02d}" if self.is_calver else str(self.minor)
        return f"{self.major}.{minor}.{self.patch}"

    @property
    def is_calver(self) -> bool:
        """Calendar versioning began with 2025.01; there is no 5.27."""
        return self.major >= 2025

    @property
    def is_supported(self) -> bool:
        """5.26 is the first release whose backup command this project drives."""
        return self >= Version(5, 26)

    def at_least(self, major: int, minor: int, patch: int = 0) -> bool:
        return self >= Version(major, minor, patch)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the command lines of one release accept."""

    prefer_diff_as_parent: bool
    remote_address_resolution: bool
    include_metadata_users: bool
    parallel_download: bool
    skip_recovery: bool
    inspect_needs_show_metadata: bool
    backup_aggregate: bool
    backup_validate: bool
    check_accepts_file: bool
    first_diff_may_overlap: bool


def capabilities(version: Version) -> Capabilities:
    """The gates of the manual's version labels, in one place."""
    return Capabilities(
        prefer_diff_as_parent=version.at_least(2025, 4),
        remote_address_resolution=version.at_least(2025, 9),
        include_metadata_users=version.at_least(2025, 10),
        parallel_download=version.at_least(2025, 11),
        skip_recovery=version.at_least(2025, 11),
        inspect_needs_show_metadata=not version.at_least(2025, 7),
        backup_aggregate=version.at_least(2025, 1),
        backup_validate=version.at_least(2025, 12),
        check_accepts_file=version.at_least(2025, 9),
        first_diff_may_overlap=version.at_least(2026, 2),
    )


def parse_version(text: str) -> Version | None:
    """``5.26.3``, ``2025.01.0``, ``5.26.3-enterprise-ubi9``; ``None`` for anything that is not exact."""
    match = _TAG.fullmatch(text.strip())
    return _version(match) if match else None


def parse_image(image: str) -> Version | None:
    """The version that an image reference's tag states; ``None`` for floating tags and bare digests."""
    name = image.split("@", 1)[0]
    _, colon, tag = name.rpartition(":")
    # a colon before the last slash is the registry's port, not a tag
    return parse_version(tag) if colon and "/" not in tag else None


def parse_version_output(output: str) -> Version | None:
    """The version in what ``neo4j-admin --version`` prints, warnings around it or not."""
    for line in output.splitlines():
        match = parse_version(line) or parse_version(line.strip().rpartition(" ")[2])
        if match:
            return match
    found = _ANYWHERE.search(output)
    return _version(found) if found else None


def _version(match: re.Match[str]) -> Version:
    return Version(int(match[1]), int(match[2]), int(match[3] or 0))
