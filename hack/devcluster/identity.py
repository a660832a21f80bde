"""Who asks: bearer tokens of the administrator and of service accounts, and impersonation.

Guarantee: a service account's token stops working when the account is deleted, also when one of the same
name is made again, and when it expires.
Non-guarantee: tokens are opaque here, not JWTs, and are forgotten with the process.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hack.devcluster.errors import not_found, unauthorized
from hack.devcluster.registry import Registry

ACCOUNTS = ("", "serviceaccounts")
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)

    @property
    def is_master(self) -> bool:
        return MASTERS in self.groups


ADMIN = User("kubernetes-admin", (MASTERS, "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def service_account(namespace: str, name: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


def impersonated(name: str, groups: tuple[str, ...]) -> User:
    if name.startswith("system:serviceaccount:") and not groups:
        _, _, namespace, account = name.split(":", 3)
        return service_account(namespace, account)
    return User(name, tuple(dict.fromkeys((*groups, "system:authenticated"))))


@dataclass(frozen=True, slots=True)
class _Grant:
    namespace: str
    name: str
    uid: str
    expires: datetime


class Tokens:
    """Mints and knows tokens; ``admin`` is the administrator's."""

    def __init__(self, registry: Registry, now: Callable[[], datetime]) -> None:
        self.admin = secrets.token_urlsafe(32)
        self._registry = registry
        self._now = now
        self._grants: dict[str, _Grant] = {}

    def mint(self, namespace: str, name: str, lifetime: timedelta = timedelta(days=365)) -> str:
        """Raises ApiStatus(404) when there is no such service account."""
        account = self._registry.find(ACCOUNTS, namespace, name)
        if account is None:
            raise not_found(ACCOUNTS, name)
        token = secrets.token_urlsafe(48)
        self._grants[token] = _Grant(namespace, name, account["metadata"]["uid"], self._now() + lifetime)
        return token

    def user(self, token: str) -> User:
        """Raises ApiStatus(401)."""
        if secrets.compare_digest(token, self.admin):
            return ADMIN
        grant = self._grants.get(token)
        if grant is None or grant.expires <= self._now():
            raise unauthorized()
        account = self._registry.find(ACCOUNTS, grant.namespace, grant.name)
        if account is None or account["metadata"]["uid"] != grant.uid:
            raise unauthorized()
        return service_account(grant.namespace, grant.name)

    def revoke(self, namespace: str, name: str) -> None:
        """Every token of the account answers 401 from now on, as after a rotation."""
        self._grants = {
            token: grant
            for token, grant in self._grants.items()
            if (grant.namespace, grant.name) != (namespace, name)
        }
