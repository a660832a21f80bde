"""The names of Neo4j's settings, by version.

Guarantee: settings that appeared or went away between 5.26 and now do so here in the same release.
Non-guarantee: families with many members (metrics, memory, SSL policies) are accepted by prefix, and
settings that have nothing to do with running in a cluster may be missing.
"""

from __future__ import annotations

import re

from hack.devcluster.neo4j_sim.versions import Version

_FAMILIES = re.compile(
    r"^(db\.(checkpoint|cluster|filewatcher|format|import|index|index_sampling|lock|logs|memory|query|recovery"
    r"|shutdown|store|temporal|track_query|transaction|tx_log|tx_state|relationship)\."
    r"|dbms\.(cluster|cypher|databases|db|integrations|kubernetes|logs|max_databases|memory|netty|routing"
    r"|security|ssl\.policy|transaction|usage_report)(\.|$)"
    r"|server\.(bolt|cluster|databases|directories|dynamic|groups|http|https|jvm|logs|memory|metrics|panic"
    r"|routing|threads|unmanaged_extension_classes|windows_service_name|queryable|http_enabled_modules"
    r"|http_enabled_transports|max_databases)(\.|$)"
    r"|client\.|initial\.|browser\.|fabric\.)"
)

_EXACT = frozenset(
    [
        "server.backup.enabled",
        "server.backup.listen_address",
        "server.backup.exec_connector.command",
        "server.backup.exec_connector.scheme",
        "server.backup.store_copy_max_retry_time_per_request",
        "server.config.strict_validation.enabled",
        "server.default_advertised_address",
        "server.default_listen_address",
        "server.id",
        "db.filewatcher.enabled",
    ]
)

_SINCE: dict[str, tuple[int, int]] = {
    "server.backup.advertised_address": (2025, 5),
    "dbms.cluster.endpoints": (2025, 1),
    "dbms.kubernetes.discovery.service_port_name": (2025, 1),
    "dbms.integrations.cloud_storage.gs.project_id": (2025, 3),
    "dbms.integrations.cloud_storage.s3.target_throughput_gbps": (2025, 3),
}

_GONE_IN: dict[str, tuple[int, int]] = {
    "dbms.cluster.discovery.version": (2025, 1),
    "dbms.cluster.discovery.endpoints": (2025, 1),
    "dbms.cluster.catchup.client_inactivity_timeout": (2025, 1),
    "dbms.kubernetes.service_port_name": (2025, 1),
    "dbms.kubernetes.discovery.v2.service_port_name": (2025, 1),
}

_NEVER = frozenset({"server.cluster.initial_mode_constraint"})


def is_declared(name: str, version: Version) -> bool:
    release = version[:2]
    if name in _SINCE:
        return release >= _SINCE[name]
    if name in _GONE_IN:
        return release < _GONE_IN[name]
    if name.startswith("server.discovery."):
        return release < (2025, 1)
    if name in _NEVER:
        return False
    return name in _EXACT or _FAMILIES.match(name) is not None
