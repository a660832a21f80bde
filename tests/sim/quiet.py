"""The logs of thousands of simulated operators are not read by anybody."""

from __future__ import annotations

import logging

import structlog


def quiet() -> None:
    """Let loggers cost nothing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
