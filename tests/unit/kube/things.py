"""The typed object that the tests of caches use."""

from __future__ import annotations

from controller.kube.objects import KubeObject, ObjectMeta
from controller.kube.resource import Resource

THINGS = Resource("example.com", "v1", "things", "Thing")


class Thing(KubeObject, frozen=True, gc=False):
    """An object with one field of its own."""

    color: str = ""


def thing(name: str, version: str, *, uid: str = "", color: str = "", namespace: str = "ns") -> Thing:
    metadata = ObjectMeta(name=name, namespace=namespace, uid=uid or f"uid-{name}", resource_version=version)
    return Thing(metadata=metadata, color=color)
