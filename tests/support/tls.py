"""A private certificate authority and a server certificate of it, for 127.0.0.1 and localhost.

Non-guarantee: keys are files in the directory that was given, and fit for nothing but a test.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAMES = ("localhost", "*.localhost")


@dataclass(frozen=True, slots=True)
class Authority:
    """``ca`` is what a client must trust; ``certificate`` and ``key`` are what a server shows."""

    ca: bytes
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca.decode())


def make_authority(directory: Path) -> Authority:
    """A fresh one."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name("a private CA"), _name("localhost")
    usage = x509.BasicConstraints(ca=True, path_length=None)
    ca = _builder(issuer, issuer, ca_key.public_key()).add_extension(usage, critical=True)
    names = [x509.DNSName(name) for name in _NAMES]
    addresses = x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _builder(subject, issuer, key.public_key()).add_extension(addresses, critical=False)
    files = Authority(
        _pem(ca.sign(ca_key, hashes.SHA256())), directory / "server.crt", directory / "server.key"
    )
    files.certificate.write_bytes(_pem(leaf.sign(ca_key, hashes.SHA256())))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
