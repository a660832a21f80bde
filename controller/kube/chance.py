"""The one source of randomness of this package: jitter, handed to pure code as a number."""

from __future__ import annotations

import random
from collections.abc import Callable

Jitter = Callable[[], float]
"""Returns a number in [0, 1)."""

jitter: Jitter = random.SystemRandom().random
