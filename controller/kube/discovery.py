"""What the API server has: asked when it matters, because CRDs come and go and versions differ.

Guarantee: "the server has no such kind" and "could not look" are different: the second raises.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from controller.kube.client import Client, decode
from controller.kube.errors import NotFound, NotServed
from controller.kube.resource import Resource


class _Entry(msgspec.Struct, frozen=True):
    name: str


class _ResourceList(msgspec.Struct, frozen=True):
    resources: list[_Entry] | None = None


class _Version(msgspec.Struct, frozen=True):
    major: str = ""
    minor: str = ""


async def has_resource(client: Client, resource: Resource) -> bool:
    """Whether the server serves this plural in this group and version."""
    try:
        found = decode(await client.raw("GET", resource.root), _ResourceList)
    except (NotFound, NotServed):
        return False
    return any(entry.name == resource.plural for entry in found.resources or ())


async def first_served(client: Client, candidates: Sequence[Resource]) -> Resource | None:
    """The first of several spellings of one kind that the server has, e.g. newest version first."""
    for resource in candidates:
        if await has_resource(client, resource):
            return resource
    return None


async def server_version(client: Client) -> tuple[int, int]:
    """Major and minor version, e.g. ``(1, 20)``; vendors add a plus sign to the minor one."""
    version = decode(await client.raw("GET", "/version"), _Version)
    return _number(version.major), _number(version.minor)


def _number(text: str) -> int:
    digits = "".join(character for character in text if character in "0123456789")
    return int(digits or 0)
