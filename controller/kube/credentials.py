"""Where the Authorization header comes from, and how it stays fresh.

Guarantee: a rotated service-account token or CA is in use within a minute, and a token that the
server refused is not offered again before its source was asked again.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import anyio

from controller.kube.errors import ConfigError

REREAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """Anonymous, or known by the client certificate."""

    waits: ClassVar[bool] = False

    async def authorization(self) -> str | None:
        return None

    def rejected(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A header that never changes: a static token, or user and password."""

    waits: ClassVar[bool] = False
    header: str

    async def authorization(self) -> str | None:
        return self.header

    def rejected(self) -> None:
        pass


@dataclass(slots=True)
class FileCredentials:
    """A bearer token in a file that somebody else rotates; with a CA file, that one too."""

    waits: ClassVar[bool] = False
    token_file: Path
    ca_file: Path | None = None
    tls: ssl.SSLContext | None = None
    clock: Callable[[], float] = time.monotonic
    _header: str | None = field(default=None, init=False, repr=False)
    _read_at: float = field(default=0.0, init=False)
    _authority: bytes = field(default=b"", init=False, repr=False)

    def __post_init__(self) -> None:
        self._read()

    async def authorization(self) -> str | None:
        if self._header is None or self.clock() - self._read_at >= REREAD_SECONDS:
            self._read()
        return self._header

    def rejected(self) -> None:
        self._header = None

    def _read(self) -> None:
        # A few hundred bytes from the kubelet's tmpfs: a thread would cost more than the read.
        try:
            token = self.token_file.read_text().strip()
        except (OSError, ValueError) as error:
            if self._header is None:
                raise ConfigError(f"cannot read {self.token_file}: {error}") from error
            token = self._header.removeprefix("Bearer ")
        self._header, self._read_at = f"Bearer {token}", self.clock()
        try:
            self._reload_authority()
        except (OSError, ValueError) as error:
            # Half-written, perhaps: the one that is in use may still do, and is looked at again soon.
            if not self._authority:
                raise ConfigError(f"cannot read {self.ca_file}: {error}") from error

    def _reload_authority(self) -> None:
        if self.ca_file is None or self.tls is None:
            return
        content = self.ca_file.read_bytes()
        if content != self._authority:
            # Added to the living context, beside the old CA: during a rotation both are in use.
            self.tls.load_verify_locations(cadata=content.decode("ascii"))
            self._authority = content


class PluginCredentials:
    """``exec`` and ``auth-provider`` users, run by kubernetes-asyncio's own loader.

    A plugin is asked again when its answer expires or the server refused it; an answer without an
    expiry is kept until then, as the exec credential protocol says.
    """

    waits: ClassVar[bool] = True

    def __init__(self, document: dict[str, Any], context: str, base: str, tls: ssl.SSLContext | None) -> None:
        self._document, self._context, self._base, self._tls = document, context, base, tls
        self._loader: Any = None
        self._header: str | None = None
        self._asking = anyio.Lock()

    async def authorization(self) -> str | None:
        async with self._asking:
            if self._loader is None or self._expired():
                await self._ask()
            return self._header

    def rejected(self) -> None:
        self._loader = None

    def _expired(self) -> bool:
        from kubernetes_asyncio.config import kube_config

        expiry = getattr(self._loader, "exec_plugin_expiry", None)
        if expiry is not None:
            return bool(kube_config._is_expired(expiry))
        # An auth-provider's token carries its expiry itself; the loader compares it and asks nobody.
        return self._loader.provider is not None

    async def _ask(self) -> None:
        from kubernetes_asyncio.client import Configuration
        from kubernetes_asyncio.config.kube_config import KubeConfigLoader

        answer = Configuration()
        loader = KubeConfigLoader(self._document, self._context, config_base_path=self._base)
        try:
            await loader.load_and_set(answer)
        except Exception as error:
            # The loader lets out whatever its plugins raise; there is no common base to name.
            raise ConfigError(
                f"the credential plugin of context {self._context!r} failed: {error}"
            ) from error
        self._loader, self._header = loader, answer.api_key.get("BearerToken")
        if self._tls is not None and answer.cert_file and answer.key_file:
            self._tls.load_cert_chain(answer.cert_file, answer.key_file)


def load_client_certificate(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give ``tls`` a certificate that is in memory; OpenSSL only takes files, so one exists briefly."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        tls.load_cert_chain(file.name)
