"""Where a kind lives on the API server: group, version, plural, and the URL paths they make.

Guarantee: pure; every path segment is percent-encoded, so a hostile name cannot leave its place.
Non-guarantee: nothing here knows whether the server has the kind; :mod:`controller.kube.discovery` asks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind under one version, e.g. ``Resource("apps", "v1", "statefulsets", "StatefulSet")``."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What an object's ``apiVersion`` says: ``v1`` or ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path of this group and version, which is also where its discovery document is."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The collection's path, or an object's, or a subresource's. No namespace: all namespaces."""
        if name is not None and self.namespaced and not namespace:
            raise ValueError(f"a namespace is needed to name one of {self.plural}")
        if subresource is not None and name is None:
            raise ValueError("a subresource belongs to one object: its name is needed")
        within = f"/namespaces/{_segment(namespace)}" if namespace and self.namespaced else ""
        collection = f"{self.root}{within}/{_segment(self.plural)}"
        if name is None:
            return collection
        one = f"{collection}/{_segment(name)}"
        return one if subresource is None else f"{one}/{_segment(subresource)}"


@functools.lru_cache(maxsize=4096)
def _segment(text: str) -> str:
    # quote() leaves dots alone, and "." or ".." would be resolved away by URL normalisation.
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} cannot be part of a path")
    return quote(text, safe="")


PODS = Resource("", "v1", "pods", "Pod")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
