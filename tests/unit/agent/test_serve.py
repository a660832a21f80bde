"""The transfer listener: who gets what, over which TLS, and when it ends."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.agent.serve import parse_range
from controller.wire.messages import BackupRequest, ServeReady, ServeRequest, encode
from tests.unit.agent.conftest import Container

TOKEN = "one-run-token"


def a_certificate() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem).decode(), private.decode()


CERTIFICATE, KEY = a_certificate()


def a_request(**fields: object) -> ServeRequest:
    given = {"run_id": "r1", "certificate_pem": CERTIFICATE, "private_key_pem": KEY, "token": TOKEN}
    return ServeRequest(**(given | fields))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Listener:
    process: subprocess.Popen[bytes]
    port: int
    artifact: Path

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=CERTIFICATE)
        context.check_hostname = False
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)

    def ask(
        self, path: str, headers: dict[str, str] | None = None, token: str = TOKEN, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(self.connect()) as connection:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    @property
    def url(self) -> str:
        return f"/artifacts/{self.artifact.name}"


@pytest.fixture
def listener(container: Container) -> Listener:
    container.tell(size=500_000)
    status = container.dump(BackupRequest(run_id="r1", databases=("neo4j",)))
    artifact = container.root / status.path[1:] / status.artifacts[0].file
    process, ready = serving(container, a_request())
    return Listener(process, ready.port, artifact)


def serving(container: Container, request: ServeRequest) -> tuple[subprocess.Popen[bytes], ServeReady]:
    here = Container(container.root, dict(container.env) | {"POD_IP": "127.0.0.1"}, container.processes)
    process = here.start("serve")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode(request) + b"\n")
    process.stdin.flush()
    ready = msgspec.json.decode(process.stdout.readline(), type=ServeReady)
    assert ready.address == "127.0.0.1"
    return process, ready


def test_an_artifact_whole_and_in_parts(listener: Listener) -> None:
    whole = listener.artifact.read_bytes()
    status, headers, body = listener.ask(listener.url)
    assert (status, body) == (200, whole)
    found = listener.artifact.stat()
    assert headers["ETag"] == f'"{found.st_size}-{found.st_mtime_ns}"'
    rest = {"Range": "bytes=1000000-", "If-Range": headers["ETag"]}
    status, headers, body = listener.ask(listener.url, rest)
    assert (status, body) == (206, whole[1_000_000:])
    assert headers["Content-Range"] == f"bytes 1000000-{len(whole) - 1}/{len(whole)}"
    assert listener.ask(listener.url, {"Range": "bytes=5-9"})[2] == whole[5:10]
    # the file is another one now: a part of it would not fit to what the client has
    status, _, body = listener.ask(listener.url, {"Range": "bytes=5-", "If-Range": '"other"'})
    assert (status, len(body)) == (200, len(whole))
    status, headers, _ = listener.ask(listener.url, {"Range": f"bytes={len(whole)}-"})
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    status, headers, body = listener.ask(listener.url, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(whole)), b"")


def test_one_connection_serves_many_requests(listener: Listener) -> None:
    with closing(listener.connect()) as connection:
        for start in (0, 100, 200):
            headers = {"Authorization": f"Bearer {TOKEN}", "Range": f"bytes={start}-{start + 9}"}
            connection.request("GET", listener.url, headers=headers)
            assert len(connection.getresponse().read()) == 10


def test_nothing_without_the_token(listener: Listener) -> None:
    for token in ("", "wrong", TOKEN + "x", TOKEN[:-1]):
        assert listener.ask(listener.url, token=token)[0] == 401
        assert listener.ask("/artifacts/nothing", token=token)[0] == 401


def test_nothing_but_the_artifacts_of_this_run(listener: Listener) -> None:
    (listener.artifact.parent / "other.backup").touch()
    for path in (
        "/artifacts/other.backup",
        "/artifacts/..%2f..%2fx",
        "/",
        "/artifacts/",
        f"/x/{listener.artifact.name}",
    ):
        assert listener.ask(path)[0] == 404
    assert listener.ask(listener.url, method="POST")[0] == 501


def test_old_tls_plain_text_and_silence_are_not_served_and_block_nobody(listener: Listener) -> None:
    with closing(socket.create_connection(("127.0.0.1", listener.port))):
        old = ssl.create_default_context(cadata=CERTIFICATE)
        old.check_hostname = False
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with (
            closing(socket.create_connection(("127.0.0.1", listener.port))) as plain,
            pytest.raises(ssl.SSLError),
        ):
            old.wrap_socket(plain)
        with closing(socket.create_connection(("127.0.0.1", listener.port))) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"HTTP" not in plain.recv(100)
        assert listener.ask(listener.url)[0] == 200


def test_it_ends_when_standard_input_closes(listener: Listener) -> None:
    assert listener.process.stdin is not None
    listener.process.stdin.close()
    assert listener.process.wait(10) == 0


def test_it_ends_when_nobody_asks(container: Container) -> None:
    container.dump(BackupRequest(run_id="r1", databases=("neo4j",)))
    process, _ = serving(container, a_request(idle_timeout_seconds=0.2))
    assert process.wait(10) == 0


def test_the_key_never_touches_a_disk_or_a_log(listener: Listener, container: Container) -> None:
    listener.ask(listener.url)
    secret = KEY.splitlines()[1].encode()
    for path in container.root.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes()
    assert listener.process.stdin is not None
    listener.process.stdin.close()
    listener.process.wait(10)
    assert listener.process.stderr is not None
    assert listener.process.stderr.read() == b""


@pytest.mark.parametrize(
    ("request_line", "code"),
    [
        (b"{}", 64),
        (encode(a_request(private_key_pem="no key")), 64),
        (encode(a_request(token="")), 64),
        (encode(a_request(run_id="unknown")), 66),
        (encode(a_request(run_id="../..")), 66),
    ],
)
def test_what_cannot_be_served_is_refused_without_repeating_the_input(
    container: Container, request_line: bytes, code: int
) -> None:
    done = container.verb("serve", stdin=request_line + b"\n")
    assert (done.returncode, done.stdout) == (code, b"")
    assert TOKEN.encode() not in done.stderr
    assert b"PRIVATE KEY" not in done.stderr


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=3-99", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=10-", None),
        ("bytes=5-3", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ],
)
def test_ranges(text: str, span: tuple[int, int] | None) -> None:
    assert parse_range(text, 10) == span
