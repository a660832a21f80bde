"""Unfinished uploads of S3, of which obstore knows nothing: found by their key, and aborted.

Guarantee: only uploads of exactly that key are touched, and a server that refuses, or does not know of such
requests, is left as it is: whoever has no right to list uploads has a lifecycle rule.

Non-guarantee: requests are signed with the keys of the Secret. The pod's own credentials stay inside
obstore, so that without keys nothing is done here, and the bucket's lifecycle rule is all there is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

TIMEOUT_SECONDS = 30.0
_EMPTY = hashlib.sha256(b"").hexdigest()
_UPLOAD = re.compile(r"<Upload>.*?</Upload>", re.DOTALL)
_KEY, _ID = re.compile(r"<Key>(.*?)</Key>"), re.compile(r"<UploadId>(.*?)</UploadId>")


@dataclass(frozen=True, slots=True)
class Keys:
    """Whose signature it is."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    region: str

    def __repr__(self) -> str:
        return f"Keys(region={self.region!r})"


class Uploads:
    """Those of the bucket at ``url`` (its name included, wherever that stands)."""

    def __init__(self, url: str, keys: Keys, ca_certificate: bytes = b"") -> None:
        self._url = url.rstrip("/")
        self._keys = keys
        self._trust = ca_certificate.decode("latin-1") or None

    def abort(self, key: str) -> None:
        """Every unfinished upload of ``key``; a server that does not let us is no error."""
        with suppress(OSError):
            listed = self._ask("GET", "", {"uploads": "", "prefix": key})
            for upload in _UPLOAD.findall(listed):
                found, number = _KEY.search(upload), _ID.search(upload)
                if found and number and found[1] == key:
                    self._ask("DELETE", f"/{key}", {"uploadId": number[1]})

    def _ask(self, method: str, path: str, query: Mapping[str, str]) -> str:
        url = f"{self._url}{quote(path)}"
        headers = signed(method, url, query, self._keys, datetime.now(UTC))
        request = urllib.request.Request(f"{url}?{_canonical(query)}", method=method, headers=headers)  # noqa: S310 - the schema allows http and https
        context = ssl.create_default_context(cadata=self._trust) if url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
            return str(answer.read(), "utf-8", "replace")


def signed(method: str, url: str, query: Mapping[str, str], keys: Keys, now: datetime) -> dict[str, str]:
    """The headers of a request without a body, by AWS Signature Version 4."""
    parts, stamp = urlsplit(url), f"{now:%Y%m%dT%H%M%SZ}"
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    if keys.session_token:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(headers)
    lines = [f"{name}:{value}" for name, value in headers.items()]
    request = [method, parts.path or "/", _canonical(query), *lines, "", names, _EMPTY]
    scope = f"{stamp[:8]}/{keys.region}/s3/aws4_request"
    hashed = hashlib.sha256("\n".join(request).encode()).hexdigest()
    secret = f"AWS4{keys.secret_access_key}".encode()
    for step in scope.split("/"):
        secret = hmac.digest(secret, step.encode(), "sha256")
    signature = hmac.digest(secret, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
    who = f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope}"
    return headers | {"Authorization": f"{who}, SignedHeaders={names}, Signature={signature}"}


def _canonical(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
