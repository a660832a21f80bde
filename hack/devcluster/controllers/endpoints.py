"""Endpoints of Services.

Guarantee: ready pods behind a Service's selector are its addresses, the others its notReadyAddresses.
Non-guarantee: no EndpointSlices; a Service without a selector is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hack.devcluster.controllers.loop import KeysOf, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Key, Obj, is_deleting
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    ENDPOINTS,
    PODS,
    SERVICES,
    is_finished,
    is_ready,
    labels_of,
    name_of,
    namespace_of,
    status_of,
    uid_of,
)


class EndpointsController:
    """Keeps one Endpoints object for each Service."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.watches: Mapping[GroupResource, KeysOf] = {SERVICES: itself, PODS: self._services_of}

    def _services_of(self, pod: Obj) -> Iterable[Key]:
        services, _ = self._registry.list(SERVICES, namespace_of(pod))
        return [(namespace_of(each), name_of(each)) for each in services if _selects(each, pod)]

    def reconcile(self, namespace: str, name: str) -> None:
        known = self._find(ENDPOINTS, namespace, name)
        service = self._find(SERVICES, namespace, name)
        if service is None or is_deleting(service):
            if known is not None:
                self._registry.delete(ENDPOINTS, namespace, name)
            return
        if not service["spec"].get("selector"):
            return
        subsets = self._subsets(service)
        if known is None:
            metadata = {"name": name, "namespace": namespace, "labels": labels_of(service)}
            endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
            self._registry.create(ENDPOINTS, endpoints)
        elif known.get("subsets", []) != subsets:
            self._registry.update(ENDPOINTS, known | {"subsets": subsets})

    def _find(self, resource: GroupResource, namespace: str, name: str) -> Obj | None:
        try:
            return self._registry.get(resource, namespace, name)
        except ApiStatus:
            return None

    def _subsets(self, service: Obj) -> list[Obj]:
        pods, _ = self._registry.list(PODS, namespace_of(service))
        behind = [
            pod
            for pod in pods
            if _selects(service, pod) and status_of(pod).get("podIP") and not is_finished(pod)
        ]
        if not behind:
            return []
        anyway = bool(service["spec"].get("publishNotReadyAddresses"))
        subset: Obj = {"ports": [_port(each) for each in service["spec"].get("ports") or []]}
        for name, wanted in (("addresses", True), ("notReadyAddresses", False)):
            found = [_address(pod) for pod in behind if (is_ready(pod) or anyway) is wanted]
            subset |= {name: found} if found else {}
        return [subset]


def _selects(service: Obj, pod: Obj) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= labels_of(pod).items()


def _port(port: Obj) -> Obj:
    target = port.get("targetPort", port["port"])
    number = target if isinstance(target, int) else port["port"]
    named = {"name": port["name"]} if port.get("name") else {}
    return {"port": number, "protocol": port.get("protocol", "TCP")} | named


def _address(pod: Obj) -> Obj:
    target = {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)}
    hostname = {"hostname": pod["spec"]["hostname"]} if pod["spec"].get("hostname") else {}
    return {
        "ip": status_of(pod)["podIP"],
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": target,
    } | hostname
