"""The token services of the clouds, and a store that takes only the tokens that they gave out.

One server plays AWS STS, EKS' agent, GKE's metadata server and Entra ID, by path; every other request is
an upload. Guarantee: a token is given only to who proves to be the pod, as each service wants it proven;
an upload without such a token is refused. Non-guarantee: signatures are not checked, only whose they claim
to be.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from urllib.parse import parse_qs, unquote, urlsplit

POD_TOKEN = "the-pods-own-token"
ACCESS_KEY, SECRET_KEY, SESSION = "ASIATHEPODS", "a-key-of-the-pod", "a-session-of-the-pod"
BEARER = "a-bearer-of-the-pod"
_EXPIRES = "2099-01-01T00:00:00Z"


@dataclass
class Cloud:
    """Where it is, whom it saw, and what was stored."""

    endpoint: str = ""
    seen: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def cloud(tls: SSLContext | None = None) -> Iterator[Cloud]:
    state = Cloud()

    class Bound(_Handler):
        cloud = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v1/credentials":
            self._pod_identity()
        elif path.startswith("/computeMetadata/v1/"):
            self._gke_metadata()
        else:
            self._answer(404)

    def do_POST(self) -> None:
        body = self._body()
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        said = query | form
        if said.get("Action") == "AssumeRoleWithWebIdentity":
            self._sts(said)
        elif "/oauth2/v2.0/token" in self.path:
            self._entra(said)
        else:
            self._answer(404)

    def do_PUT(self) -> None:
        body, who = self._body(), self.headers.get("Authorization", "")
        if f"Credential={ACCESS_KEY}/" not in who and who != f"Bearer {BEARER}":
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        self.cloud.stored[unquote(urlsplit(self.path).path)] = body
        self._answer(201 if "x-ms-version" in self.headers else 200)

    def _sts(self, said: dict[str, str]) -> None:
        self.cloud.seen.append(f"sts {said['RoleArn']}")
        if said["WebIdentityToken"] != POD_TOKEN:
            self._answer(403)
            return
        keys = (
            f"<AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>"
            f"<SessionToken>{SESSION}</SessionToken><Expiration>{_EXPIRES}</Expiration>"
        )
        answer = "AssumeRoleWithWebIdentityResponse", "AssumeRoleWithWebIdentityResult"
        text = f"<{answer[0]}><{answer[1]}><Credentials>{keys}</Credentials></{answer[1]}></{answer[0]}>"
        self._answer(200, text.encode())

    def _pod_identity(self) -> None:
        self.cloud.seen.append("eks")
        keys = {"AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": SESSION}
        self._give(self.headers.get("Authorization") == POD_TOKEN, keys | {"Expiration": _EXPIRES})

    def _gke_metadata(self) -> None:
        self.cloud.seen.append("gke")
        token = {"access_token": BEARER, "expires_in": 3600, "token_type": "Bearer"}
        self._give(self.headers.get("Metadata-Flavor") == "Google", token)

    def _entra(self, said: dict[str, str]) -> None:
        self.cloud.seen.append(f"entra {self.path.split('/')[1]} {said['client_id']}")
        token = {"access_token": BEARER, "expires_in": 3600, "token_type": "Bearer"}
        self._give(said.get("client_assertion") == POD_TOKEN, token)

    def _give(self, is_the_pod: bool, token: Mapping[str, object]) -> None:
        self._answer(200 if is_the_pod else 401, json.dumps(token).encode() if is_the_pod else b"")

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", formatdate(1_767_225_600, usegmt=True))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
