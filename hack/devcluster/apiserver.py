"""The API server: HTTP to verbs, with everything that is decided before an object is touched.

Guarantee: every request is authenticated and authorised; every refusal is a ``Status``; nothing that is
wrong in here reaches a client as anything but a 500 with a message.
Non-guarantee: protobuf in answers, OpenAPI v2, aggregated discovery, admission webhooks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from hack.devcluster import discovery, openapi, requests
from hack.devcluster.audit import Audit
from hack.devcluster.errors import ApiStatus, method_not_allowed, no_such_path, unauthorized
from hack.devcluster.faults import Faults
from hack.devcluster.identity import ANONYMOUS, Tokens, User, impersonated
from hack.devcluster.kinds import REVIEWS
from hack.devcluster.pod_verbs import PodVerbs
from hack.devcluster.rbac import Action, Authorizer
from hack.devcluster.registry import Registry
from hack.devcluster.requests import Target
from hack.devcluster.reviews import Reviews
from hack.devcluster.streams import PodRunner, Streams
from hack.devcluster.verbs import Call, Verbs, answer
from hack.devcluster.watching import Watches

log = logging.getLogger(__name__)

_LARGEST_BODY = 3 * 1024 * 1024
Method = Callable[[Call], Awaitable[web.StreamResponse]]


class ApiServer:
    """``application`` is to be served with TLS; see :mod:`cluster`."""

    def __init__(
        self,
        registry: Registry,
        tokens: Tokens,
        runner: PodRunner | None = None,
        *,
        bookmark_seconds: float = 2.0,
    ) -> None:
        self.faults, self.audit = Faults(), Audit()
        self.authorizer = Authorizer(registry)
        self.application = web.Application(client_max_size=_LARGEST_BODY)
        self.application.router.add_route("*", "/{path:.*}", self._audited)
        self._registry = registry
        self._tokens = tokens
        self._reviews = Reviews(registry, self.authorizer, tokens)
        verbs = Verbs(registry, self.authorizer)
        watches = Watches(registry, bookmark_seconds)
        streams = Streams(registry, runner)
        pods = PodVerbs(registry)
        self._methods: dict[str, Method] = {
            "get": verbs.get,
            "list": verbs.list_,
            "watch": watches.watch,
            "create": verbs.create,
            "update": verbs.update,
            "patch": verbs.patch,
            "delete": verbs.delete,
            "deletecollection": verbs.deletecollection,
        }
        self._special: dict[tuple[str, str], Method] = {
            ("log", "get"): streams.log,
            ("exec", "get"): streams.exec,
            ("exec", "create"): streams.exec,
            ("binding", "create"): pods.bind,
            ("eviction", "create"): pods.evict,
            ("token", "create"): self._token,
        }

    async def _audited(self, request: web.Request) -> web.StreamResponse:
        return await self.audit.handle(request, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self.faults.handle(request, self._answer)
        except ApiStatus as error:
            headers = (
                {"Retry-After": str(error.details["retryAfterSeconds"])}
                if "retryAfterSeconds" in error.details
                else {}
            )
            return answer(error.body(), error.code, headers)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            log.exception("%s %s", request.method, request.path_qs)
            return answer(ApiStatus(500, "InternalError", f"Internal error occurred: {error!r}").body(), 500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        user = self._user(request)
        target = requests.target_of(request.path)
        if target is None:
            self.authorizer.require(user, Action(request.method.lower(), path=request.path))
            return self._document(request.path)
        if (target.group, target.resource) in REVIEWS:
            return await self._review(request, user, target)
        call = self._call(request, user, target)
        verb = requests.verb_of(request, target)
        name = target.name or requests.selected_name(request)
        place = Action(verb, target.group, target.resource, target.subresource, target.namespace, name)
        self.authorizer.require(user, place)
        return await self._method(target, verb)(call)

    def _method(self, target: Target, verb: str) -> Method:
        if method := self._special.get((target.subresource, verb)):
            return method
        if target.subresource in ("log", "exec", "binding", "eviction", "token") or verb not in self._methods:
            raise method_not_allowed()
        if target.subresource and verb not in ("get", "update", "patch"):
            raise method_not_allowed()
        if target.name and verb == "create":
            raise method_not_allowed()
        return self._methods[verb]

    def _call(self, request: web.Request, user: User, target: Target) -> Call:
        kind = self._registry.kinds.get((target.group, target.resource))
        version = kind.version(target.version) if kind else None
        if kind is None or version is None:
            raise no_such_path()
        if target.subresource and target.subresource not in version.subresources:
            raise no_such_path()
        if kind.namespaced and not target.namespace and (target.name or request.method == "POST"):
            raise no_such_path()
        return Call(request, user, target, kind, version)

    # --- who ----------------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> User:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            if request.path in ("/healthz", "/livez", "/readyz", "/version"):
                return ANONYMOUS
            raise unauthorized()
        if kind.lower() != "bearer":
            raise unauthorized()
        user = self._tokens.user(token.strip())
        other = request.headers.get("Impersonate-User")
        return self._impersonate(request, user, other) if other else user

    def _impersonate(self, request: web.Request, user: User, name: str) -> User:
        if name.startswith("system:serviceaccount:") and name.count(":") == 3:
            _, _, namespace, account = name.split(":")
            self.authorizer.require(
                user, Action("impersonate", "", "serviceaccounts", "", namespace, account)
            )
        else:
            self.authorizer.require(user, Action("impersonate", "", "users", name=name))
        groups = tuple(request.headers.getall("Impersonate-Group", ()))
        for group in groups:
            self.authorizer.require(user, Action("impersonate", "", "groups", name=group))
        return impersonated(name, groups)

    # --- what is not an object ----------------------------------------------------------------------

    def _document(self, path: str) -> web.Response:
        path = path.rstrip("/")
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if path == "/version":
            return answer(discovery.VERSION)
        if path == "/openapi/v3":
            return answer(openapi.index(self._registry.kinds))
        if path.startswith("/openapi/v3/"):
            return answer(openapi.document(self._registry.kinds, path.removeprefix("/openapi/v3/")))
        return answer(discovery.document(self._registry.kinds, path))

    async def _review(self, request: web.Request, user: User, target: Target) -> web.Response:
        if request.method != "POST" or target.name:
            raise method_not_allowed()
        self.authorizer.require(user, Action("create", target.group, target.resource))
        body = await requests.object_of(request)
        return answer(self._reviews.answer(target.resource, user, body), 201)

    async def _token(self, call: Call) -> web.StreamResponse:
        body = await requests.object_of(call.request)
        return answer(self._reviews.token(call.target.namespace, call.target.name, body), 201)
