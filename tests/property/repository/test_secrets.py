"""Whatever a Secret holds: it is understood, or refused in words that hold nothing of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.repository.credentials import azure_settings, gcs_settings, s3_settings
from controller.repository.encryption.codec import open_encryption
from controller.repository.errors import RepositoryError
from controller.repository.stores.azure import AzureStore
from controller.repository.stores.gcs import GCSStore
from controller.repository.stores.s3 import S3Store
from controller.wire.messages import StorageTarget

PLANTED = "planted0a1b2c3d4e5f"
NAMES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN", "AZURE_TENANT_ID",
    "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "ca.crt", "key.json",
    "age-recipients", "age-identity", "aes256-2026", "aes256-", "key", "active", "other",
)  # fmt: skip
ACCOUNT = {"type": "service_account", "client_email": "a@b", "private_key_id": "x", "private_key": PLANTED}
DEEP = b"[" * 100_000

odd = st.sampled_from(["\n", "\r\n", "\0", "ä", "=", "==", "&", ";", "%", " ", "\x7f", '"'])
values = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda one, other: f"{one}{PLANTED}{other}".encode(), odd | st.text(max_size=8), odd),
    st.sampled_from([
        b"", b"\xff\xfe", DEEP, PLANTED.encode(), base64.b64encode(PLANTED.encode()),
        json.dumps(ACCOUNT).encode(), json.dumps(ACCOUNT | {"private_key": [PLANTED]}).encode(),
        json.dumps(ACCOUNT | {"type": {"x": 1}}).encode(), json.dumps({"private_key": PLANTED}).encode(),
        f"AccountName=acct;AccountKey={PLANTED};BlobEndpoint=http://x:99999".encode(),
        f"AGE-SECRET-KEY-1{PLANTED.upper()}".encode(), f"age1{PLANTED}".encode(),
        f"-----BEGIN CERTIFICATE-----\n{PLANTED}\n-----END CERTIFICATE-----\n".encode(),
        f"sv=1&sig={PLANTED}".encode(), f"https://{PLANTED}.blob.core.windows.net".encode(),
    ]),
)  # fmt: skip
# The name of an account or a host is no secret, and a message has to name the place.
PUBLIC = ("AZURE_STORAGE_ACCOUNT", "AWS_ENDPOINT_URL", "AWS_REGION")
harmless = st.one_of(st.binary(max_size=20), odd.map(str.encode), st.just(b"https://host:9000"))
secrets = st.builds(
    lambda hidden, public: hidden | public,
    st.dictionaries(st.sampled_from(NAMES), values, max_size=5),
    st.dictionaries(st.sampled_from(PUBLIC), harmless, max_size=2),
)


def refusal(use: Callable[[], object]) -> str:
    """The words of a refusal; any other exception is let out and fails the test."""
    try:
        use()
    except RepositoryError as error:
        return f"{error} {error.__cause__ or ''} {error.__context__ or ''}"
    return ""


def gives_nothing_away(words: str) -> bool:
    return PLANTED not in words and PLANTED.upper() not in words


@settings(max_examples=150, deadline=None)
@given(secrets)
@example({"key.json": DEEP})
@example({"AWS_ACCESS_KEY_ID": b"a\nb", "AWS_SECRET_ACCESS_KEY": f"{PLANTED}\n x".encode()})
def test_a_store_is_made_of_any_secret_or_refused_without_a_word_of_it(secret: dict[str, bytes]) -> None:
    target = StorageTarget(type="s3", bucket="bucket", region="x")
    made = (
        lambda: S3Store(s3_settings(target, "p", secret)),
        lambda: GCSStore(gcs_settings(target, "p", secret)),
        lambda: AzureStore(azure_settings(target, "p", secret)),
    )
    for make in made:
        assert gives_nothing_away(refusal(make))


@settings(max_examples=150, deadline=None)
@given(secrets)
@example({"aes256-2026": b"x" * 32})
@example({"age-identity": f"AGE-SECRET-KEY-1{PLANTED.upper()}".encode()})
def test_keys_are_understood_or_refused_without_a_word_of_them(secret: dict[str, bytes]) -> None:
    assert gives_nothing_away(refusal(lambda: open_encryption("AES256", secret)))
    assert gives_nothing_away(refusal(lambda: open_encryption("ChaCha20", secret)))
