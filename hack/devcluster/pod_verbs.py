"""``pods/binding`` and ``pods/eviction``: what a scheduler and a drain do to a pod."""

from __future__ import annotations

from aiohttp import web

from hack.devcluster.errors import ApiStatus, conflict
from hack.devcluster.objects import Obj, dig
from hack.devcluster.registry import Registry
from hack.devcluster.requests import object_of
from hack.devcluster.selectors import from_object, matches
from hack.devcluster.verbs import Call, answer

_DONE: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class PodVerbs:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def bind(self, call: Call) -> web.StreamResponse:
        body = await object_of(call.request)
        node = dig(body, "target", "name", default="")

        def bound(pod: Obj) -> Obj:
            if pod["spec"].get("nodeName"):
                raise conflict(
                    call.gr, call.target.name, f"pod {call.target.name} is already assigned to a node"
                )
            return {**pod, "spec": {**pod["spec"], "nodeName": node}}

        self._registry.modify(call.gr, call.key, bound)
        return answer(_DONE, 201)

    async def evict(self, call: Call) -> web.StreamResponse:
        """Deletes, unless that would break a PodDisruptionBudget: 429 then."""
        body = await object_of(call.request)
        pod = self._registry.get(call.gr, *call.key)
        for budget in self._registry.list(("policy", "poddisruptionbudgets"), call.target.namespace)[0]:
            covers = matches(from_object(dig(budget, "spec", "selector")), pod)
            if covers and not dig(budget, "status", "disruptionsAllowed", default=0):
                why = "Cannot evict pod as it would violate the pod's disruption budget."
                raise ApiStatus(429, "TooManyRequests", why)
        grace = dig(body, "deleteOptions", "gracePeriodSeconds")
        self._registry.delete(call.gr, *call.key, grace_seconds=grace)
        return answer(_DONE, 201)
