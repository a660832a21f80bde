"""The certificate and the token of one transfer.

Guarantee: a fresh key pair and token a listener, never written to a file, a log or a repr; the
certificate is recognised by its fingerprint alone, so neither clocks nor names can break the transfer.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class TransferCredentials:
    """What the agent listens with, and what the runner recognises it by."""

    certificate_pem: str
    fingerprint: str
    private_key_pem: str = field(repr=False)
    token: str = field(repr=False)


def make_credentials(run_id: str, now: datetime) -> TransferCredentials:
    """Elliptic, because it is made anew for every listener and costs microseconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"backup run {run_id}"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .sign(key, hashes.SHA256())
    )
    return TransferCredentials(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        fingerprint=fingerprint(certificate.public_bytes(serialization.Encoding.DER)),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        token=secrets.token_urlsafe(32),
    )


def fingerprint(certificate_der: bytes) -> str:
    """SHA-256 of the certificate, hexadecimal."""
    return hashlib.sha256(certificate_der).hexdigest()
