"""The same formats by other people's hands: pyrage, the age command line, and Google's tink.

Skips with the reason where one of them is missing; at least pyrage and tink come with the dev dependencies.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.repository import pipeline
from controller.repository.encryption import age
from controller.repository.pipeline import Stage

Transformation = Callable[[bytes], bytes]


def through(stage: Stage, data: bytes, cut: int = 1_000_003) -> bytes:
    """``data`` in pieces of ``cut`` bytes through one stage."""
    pieces = (data[start : start + cut] for start in range(0, len(data), cut))
    return b"".join(pipeline.run(pieces, [stage]))


def pyrage_encrypt(recipient: str) -> Transformation:
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Recipient.from_str(recipient)
    return lambda data: bytes(pyrage.encrypt(data, [key]))


def pyrage_decrypt(identity: str) -> Transformation:
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.from_str(identity)
    return lambda data: bytes(pyrage.decrypt(data, [key]))


def _age(arguments: list[str], data: bytes) -> bytes:
    return subprocess.run(["age", *arguments], input=data, stdout=subprocess.PIPE, check=True).stdout


def need_age() -> None:
    if not shutil.which("age"):
        pytest.skip("the program age is not on PATH")


def age_encrypt(recipient: str) -> Transformation:
    need_age()
    return lambda data: _age(["-r", recipient], data)


def age_decrypt(identity: str, directory: Path) -> Transformation:
    need_age()
    file = directory / "identity.txt"
    file.write_text(f"# made for a test\n{identity}\n")
    return lambda data: _age(["-d", "-i", str(file)], data)


def new_identity() -> tuple[str, age.Identity]:
    """A fresh identity as text, made by pyrage, and as ours."""
    pyrage = pytest.importorskip("pyrage")
    text = str(pyrage.x25519.Identity.generate())
    return text, age.parse_identity(text)


class Tink:
    """A keyset with one AES256_GCM_HKDF_1MB key, as the documentation tells users to make it."""

    def __init__(self, key: bytes) -> None:
        streaming_aead = pytest.importorskip("tink.streaming_aead")
        handles = pytest.importorskip("tink.cleartext_keyset_handle")
        tink_pb2 = pytest.importorskip("tink.proto.tink_pb2")
        common_pb2 = pytest.importorskip("tink.proto.common_pb2")
        aes_gcm_hkdf_streaming_pb2 = pytest.importorskip("tink.proto.aes_gcm_hkdf_streaming_pb2")

        streaming_aead.register()
        value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
            version=0,
            key_value=key,
            params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
                ciphertext_segment_size=1024 * 1024, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
            ),
        )
        keyset = tink_pb2.Keyset(primary_key_id=1)
        keyset.key.add(
            key_id=1,
            status=tink_pb2.ENABLED,
            output_prefix_type=tink_pb2.RAW,
            key_data=tink_pb2.KeyData(
                type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                value=value.SerializeToString(),
                key_material_type=tink_pb2.KeyData.SYMMETRIC,
            ),
        )
        handle = handles.from_keyset(keyset)
        self._primitive = handle.primitive(streaming_aead.StreamingAead)

    def encrypt(self, data: bytes) -> bytes:
        class Kept(io.BytesIO):
            def close(self) -> None:
                self.kept = self.getvalue()
                super().close()

        out = Kept()
        with self._primitive.new_encrypting_stream(out, b"") as stream:
            stream.write(data)
        return out.kept

    def decrypt(self, data: bytes) -> bytes:
        with self._primitive.new_decrypting_stream(io.BytesIO(data), b"") as stream:
            return bytes(stream.read())
