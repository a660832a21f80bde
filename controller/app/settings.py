"""What the operator is told, from the environment and the command line (which wins).

Guarantee: everything is read once, checked, and wrong values are refused with what to write instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOG_FORMATS = ("json", "text")
LOG_LEVELS = ("debug", "info", "warning", "error")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """See ``--help`` for what each one means."""

    image: str
    image_pull_policy: str
    namespaces: tuple[str, ...]
    kubeconfig: str | None
    context: str | None
    lease_name: str
    lease_namespace: str
    """Empty: the namespace of the pod or of the kubeconfig's context."""
    instance: str
    """Name of this replica; empty: the host's name."""
    host: str | None
    port: int
    workers: int
    log_format: str
    log_level: str


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> OperatorSettings:
    """Raises SystemExit with a message for wrong arguments, as argparse does."""
    given = _parser(environment).parse_args(arguments)
    if not given.image:
        raise SystemExit(
            "the operator's own image is not known: set OPERATOR_IMAGE or --image, "
            "because backup pods and the sidecar's init container run from it"
        )
    return OperatorSettings(
        image=given.image,
        image_pull_policy=given.image_pull_policy,
        namespaces=tuple(sorted({part.strip() for part in given.namespaces.split(",") if part.strip()})),
        kubeconfig=given.kubeconfig,
        context=given.context,
        lease_name=given.lease_name,
        lease_namespace=given.lease_namespace,
        instance=environment.get("POD_NAME", ""),
        host=given.host or None,
        port=given.port,
        workers=given.workers,
        log_format=given.log_format,
        log_level=given.log_level,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    def env(name: str, otherwise: str) -> str:
        return environment.get(name) or otherwise

    parser = argparse.ArgumentParser(
        prog="python -m controller operator",
        description="Backs up Neo4j Enterprise as Neo4jBackup resources ask for.",
    )
    add = parser.add_argument
    add("--image", default=env("OPERATOR_IMAGE", ""), help="own image [OPERATOR_IMAGE]")
    add(
        "--image-pull-policy",
        choices=PULL_POLICIES,
        default=env("OPERATOR_IMAGE_PULL_POLICY", "IfNotPresent"),
        help="how pods pull it [OPERATOR_IMAGE_PULL_POLICY]",
    )
    add(
        "--namespaces",
        default=env("WATCH_NAMESPACES", ""),
        help="namespaces to watch, separated by commas; none: all of them [WATCH_NAMESPACES]",
    )
    add("--kubeconfig", help="kubeconfig file; default KUBECONFIG, else the pod's own account")
    add("--context", help="context of the kubeconfig")
    add("--lease-name", default=env("LEASE_NAME", "neo4j-backup-operator"), help="[LEASE_NAME]")
    add(
        "--lease-namespace",
        default=env("LEASE_NAMESPACE", env("POD_NAMESPACE", "")),
        help="[LEASE_NAMESPACE]",
    )
    add("--host", default=env("HTTP_HOST", ""), help="address of health and metrics; none: all [HTTP_HOST]")
    add("--port", type=_port, default=env("HTTP_PORT", "8080"), help="its port [HTTP_PORT]")
    add("--workers", type=_workers, default=env("WORKERS", "4"), help="backups looked at at once [WORKERS]")
    add("--log-format", choices=LOG_FORMATS, default=env("LOG_FORMAT", "json"), help="[LOG_FORMAT]")
    add("--log-level", choices=LOG_LEVELS, default=env("LOG_LEVEL", "info").lower(), help="[LOG_LEVEL]")
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: use 1 to 65535, or 0 for any free one")
    return number


def _workers(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number of workers: use 1 to 64")
    return number
