"""What the steps of the data path cost by themselves, on this machine, in one thread.

Guarantee: the same libraries with the same sizes as the product's. Non-guarantee: caches are kinder here
than in a pipeline, so the sum is a floor and no forecast.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

MIB = 1024**2
AMOUNT = 256
KEY, NONCE = bytes(32), bytes(12)


def floors() -> str:
    """A Markdown table."""
    data = bytes(MIB)
    segment = data[: 64 * 1024]
    aes, chacha = AESGCM(KEY), ChaCha20Poly1305(KEY)
    steps: dict[str, Callable[[], object]] = {
        "SHA-256, once": lambda: hashlib.sha256(data),
        "AES-256-GCM in segments of 1 MiB": lambda: aes.encrypt(NONCE, data, None),
        "ChaCha20-Poly1305 in segments of 64 KiB": lambda: [
            chacha.encrypt(NONCE, segment, None) for _ in range(16)
        ],
    }
    lines = ["| step, one thread | CPU s/GiB |", "|---|---:|"]
    return "\n".join(lines + [f"| {name} | {_seconds(step):.2f} |" for name, step in steps.items()])


def _seconds(step: Callable[[], object]) -> float:
    taken = []
    for _ in range(3):
        started = time.thread_time()
        for _ in range(AMOUNT):
            step()
        taken.append((time.thread_time() - started) * 1024 / AMOUNT)
    return statistics.median(taken)
