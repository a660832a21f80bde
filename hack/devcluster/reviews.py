"""Questions to the API server: may I, who am I, whose token is this; and tokens on request."""

from __future__ import annotations

from datetime import timedelta

from hack.devcluster.errors import ApiStatus, bad_request, no_such_path
from hack.devcluster.identity import Tokens, User, impersonated
from hack.devcluster.objects import Obj, dig, timestamp
from hack.devcluster.rbac import Action, Authorizer
from hack.devcluster.registry import Registry


class Reviews:
    def __init__(self, registry: Registry, authorizer: Authorizer, tokens: Tokens) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._tokens = tokens

    def answer(self, plural: str, user: User, body: Obj) -> Obj:
        spec = body.get("spec") or {}
        match plural:
            case "selfsubjectaccessreviews":
                status = self._access(user, spec)
            case "subjectaccessreviews":
                status = self._access(
                    impersonated(spec.get("user", ""), tuple(spec.get("groups") or ())), spec
                )
            case "selfsubjectrulesreviews":
                status = self._rules(user, spec.get("namespace", ""))
            case "selfsubjectreviews":
                status = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
            case "tokenreviews":
                status = self._whose(spec.get("token", ""))
            case _:
                raise no_such_path()
        return {**body, "metadata": body.get("metadata") or {"creationTimestamp": None}, "status": status}

    def _access(self, user: User, spec: Obj) -> Obj:
        return {"allowed": self._authorizer.permits(user, _action(spec))}

    def _rules(self, user: User, namespace: str) -> Obj:
        rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}] if user.is_master else []
        rules += self._authorizer.rules(user, namespace)
        return {
            "resourceRules": [rule for rule in rules if rule.get("resources")],
            "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": False,
        }

    def _whose(self, token: str) -> Obj:
        try:
            user = self._tokens.user(token)
        except ApiStatus as error:
            return {"authenticated": False, "error": error.message}
        return {"authenticated": True, "user": {"username": user.name, "groups": list(user.groups)}}

    def token(self, namespace: str, name: str, body: Obj) -> Obj:
        """``TokenRequest``: what ``kubectl create token`` asks for."""
        seconds = dig(body, "spec", "expirationSeconds", default=3600)
        if not isinstance(seconds, int) or seconds < 600:
            raise bad_request("spec.expirationSeconds may not be less than 10 minutes")
        lifetime = timedelta(seconds=seconds)
        expires = timestamp(self._registry.now() + lifetime)
        token = self._tokens.mint(namespace, name, lifetime)
        return {**body, "status": {"token": token, "expirationTimestamp": expires}}


def _action(spec: Obj) -> Action:
    asked = spec.get("resourceAttributes")
    if asked is None:
        other = spec.get("nonResourceAttributes") or {}
        return Action(other.get("verb", ""), path=other.get("path", ""))
    names = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Action(**{name: asked.get(name) or "" for name in names})
