"""The image's entrypoint, settings, and the sample deployments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import config, entrypoint, manifests, protocol, topology
from hack.devcluster.neo4j_sim.catalogue import Accounts
from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.manifests import Sample
from hack.devcluster.neo4j_sim.places import Installation
from hack.devcluster.neo4j_sim.protocol import Listen
from hack.devcluster.neo4j_sim.versions import parse_version

LICENCE = {"NEO4J_ACCEPT_LICENSE_AGREEMENT": "yes"}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("NEO4J_server_backup_listen__address", "server.backup.listen_address"),
        ("NEO4J_db_tx__log_rotation_retention__policy", "db.tx_log.rotation.retention_policy"),
        ("NEO4J_SERVICE_HOST", "SERVICE.HOST"),
        ("NEO4J_apoc_export_file_enabled", "apoc.export.file.enabled"),
    ],
)
def test_variables_become_settings(name: str, setting: str) -> None:
    assert config.settings_of_environment({name: "x"}) == {setting: "x"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEO4J_AUTH", "neo4j/x"),
        ("NEO4J_EDITION", "enterprise"),
        ("NEO4J_PASSWORD_FILE", "/x"),
        ("NEO4J_server_id", ""),
        ("NEO4J_1_x", "x"),
        ("NEO4J_SIM_CLUSTER", "{}"),
        ("HOME", "/"),
    ],
)
def test_variables_that_are_no_settings(name: str, value: str) -> None:
    assert config.settings_of_environment({name: value}) == {}


@pytest.mark.parametrize(
    ("setting", "version", "declared"),
    [
        ("server.backup.listen_address", "5.26.0", True),
        ("SERVICE.HOST", "5.26.0", False),
        ("PORT", "5.26.0", False),
        ("server.backup.advertised_address", "2025.04.0", False),
        ("server.backup.advertised_address", "2025.05.0", True),
        ("dbms.cluster.discovery.version", "5.26.0", True),
        ("dbms.cluster.discovery.version", "2025.01.0", False),
        ("dbms.kubernetes.discovery.v2.service_port_name", "5.26.0", True),
        ("dbms.kubernetes.discovery.service_port_name", "5.26.0", False),
        ("dbms.kubernetes.discovery.service_port_name", "2025.01.0", True),
        ("dbms.kubernetes.service_port_name", "2025.01.0", False),
        ("server.discovery.advertised_address", "2025.01.0", False),
        ("server.cluster.initial_mode_constraint", "5.26.0", False),
        ("initial.server.mode_constraint", "5.26.0", True),
        ("dbms.ssl.policy.backup.enabled", "5.26.0", True),
    ],
)
def test_strict_validation(setting: str, version: str, declared: bool) -> None:
    settings = {setting: "x"}
    if declared:
        config.check_declared(settings, parse_version(version))
        return
    with pytest.raises(CommandFailed, match=f"No declared setting with name: {setting}"):
        config.check_declared(settings, parse_version(version))
    config.check_declared(
        settings | {"server.config.strict_validation.enabled": "false"}, parse_version(version)
    )


# --- entrypoint ----------------------------------------------------------------------------------


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    (tmp_path / "home" / "conf").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path / "root"))
    return Installation(tmp_path / "home", "5.26.3")


def _settings(installation: Installation) -> dict[str, str]:
    return config.read([installation.conf / "neo4j.conf"])


@pytest.mark.parametrize("accepted", [None, "", "true", "YES"])
def test_the_licence_must_be_accepted(installation: Installation, accepted: str | None) -> None:
    environment = {} if accepted is None else {"NEO4J_ACCEPT_LICENSE_AGREEMENT": accepted}
    with pytest.raises(CommandFailed, match="accept the license agreement"):
        entrypoint.prepare(installation, "neo4j", environment)
    entrypoint.prepare(installation, "bash", environment)


def test_defaults_configuration_and_environment(installation: Installation, tmp_path: Path) -> None:
    mounted = tmp_path / "root" / "conf"
    mounted.mkdir()
    (mounted / "neo4j.conf").write_text(
        "server.memory.pagecache.size=1G\ndb.a=1\nserver.http.enabled=true\n", encoding="utf-8"
    )
    entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_server_http_enabled": "false"})
    settings = _settings(installation)
    assert settings["server.default_listen_address"] == "0.0.0.0"
    assert settings["server.memory.pagecache.size"] == "1G"
    assert settings["server.http.enabled"] == "false"
    assert settings["server.discovery.advertised_address"].endswith(":5000")


def test_a_secret_from_a_file(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "auth"
    file.write_text("neo4j/from-a-file\n", encoding="utf-8")
    entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_AUTH_FILE": str(file)})
    assert Accounts(tmp_path / "root" / "data", enabled=True).accepts("neo4j", "from-a-file")
    with pytest.raises(CommandFailed, match="not readable"):
        entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_AUTH_FILE": "/no/such/file"})


def test_the_initial_password_is_set_once(installation: Installation, tmp_path: Path) -> None:
    for password in ("first-one", "second-one"):
        entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_AUTH": f"neo4j/{password}"})
    accounts = Accounts(tmp_path / "root" / "data", enabled=True)
    assert accounts.accepts("neo4j", "first-one")
    assert not accounts.accepts("neo4j", "second-one")
    assert not accounts.accepts("admin", "first-one")


@pytest.mark.parametrize(
    "auth", ["neo4j/neo4j", "admin/long-enough", "neo4j/short", "neo4j/-starts-with-dash", "nonsense"]
)
def test_refused_passwords(installation: Installation, auth: str) -> None:
    with pytest.raises(CommandFailed):
        entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_AUTH": auth})


def test_no_authentication(installation: Installation) -> None:
    entrypoint.prepare(installation, "neo4j", LICENCE | {"NEO4J_AUTH": "none"})
    assert _settings(installation)["dbms.security.auth_enabled"] == "false"


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "setting", "default", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:6362", "0.0.0.0", Listen("127.0.0.1", 6362, True)),
        ("127.0.0.1", "0.0.0.0:6362", "localhost", Listen("0.0.0.0", 6362, False)),
        ("127.9.9.2", "127.0.0.1:6362", "0.0.0.0", Listen("127.9.9.2", 6362, True)),
        ("127.9.9.2", ":7687", "0.0.0.0", Listen("127.9.9.2", 7687, False)),
        ("127.9.9.2", ":7687", "localhost", Listen("127.9.9.2", 7687, True)),
        ("127.9.9.2", "127.9.9.7:1", "0.0.0.0", Listen("127.9.9.7", 1, False)),
    ],
)
def test_where_to_listen(
    monkeypatch: pytest.MonkeyPatch, pod: str, setting: str, default: str, expected: Listen
) -> None:
    monkeypatch.setenv("DEVCLUSTER_POD_IP", pod)
    assert protocol.listen_on(setting, default, 9) == expected


# --- documents and manifests ---------------------------------------------------------------------


def test_the_document_round_trips() -> None:
    document = manifests.cluster_document(Sample())
    loaded = topology.topology_from_json(document)
    again = topology.catalogue_from_json(loaded.catalogue.to_json(), loaded.servers, loaded.name)
    assert again == loaded.catalogue


def test_the_sample_cluster_spreads_its_writers() -> None:
    loaded = topology.topology_from_json(manifests.cluster_document(Sample()))
    writers = {entry.name: entry.primaries()[0] for entry in loaded.catalogue.databases}
    assert len(set(writers.values())) == 3
    orders = loaded.catalogue.find("orders")
    assert orders is not None
    assert orders.mode_on("graph-server-3") == "secondary"


def test_without_a_document_it_is_a_standalone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOSTNAME", "alone-0")
    loaded = topology.load()
    assert [server.name for server in loaded.servers] == ["alone-0"]
    assert {entry.name for entry in loaded.catalogue.databases} == {"neo4j", "system"}


def test_a_document_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(manifests.cluster_document(Sample(name="x"))), encoding="utf-8")
    monkeypatch.setenv("NEO4J_SIM_CLUSTER_FILE", str(file))
    assert topology.load().servers[0].name == "x-server-0"


@pytest.mark.parametrize(
    ("layout", "sets"),
    [
        ("servers", {"graph-server": 4}),
        ("roles", {"graph-primary": 3, "graph-secondary": 1}),
    ],
)
def test_the_layouts(layout: manifests.Layout, sets: dict[str, int]) -> None:
    objects = manifests.cluster(Sample(layout=layout))
    found = [item for item in objects if item["kind"] == "StatefulSet"]
    assert {item["metadata"]["name"]: item["spec"]["replicas"] for item in found} == sets
    for item in found:
        selector = item["spec"]["selector"]["matchLabels"]
        template = item["spec"]["template"]
        assert selector.items() <= template["metadata"]["labels"].items()
        assert template["spec"]["enableServiceLinks"] is False
        assert [container["name"] for container in template["spec"]["containers"]] == ["neo4j"]
    assert objects[-1]["kind"] == "Neo4jEnterpriseCluster"
    assert "&id" not in manifests.to_yaml(objects)


def test_the_sets_of_one_cluster_do_not_share_pods() -> None:
    first, second = (
        item for item in manifests.cluster(Sample(layout="roles")) if item["kind"] == "StatefulSet"
    )
    labels = second["spec"]["template"]["metadata"]["labels"]
    assert not first["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_standalone() -> None:
    objects = manifests.standalone(Sample(name="solo", storage=""))
    stateful = next(item for item in objects if item["kind"] == "StatefulSet")
    assert (stateful["metadata"]["name"], stateful["spec"]["replicas"]) == ("solo", 1)
    assert {"name": "data", "emptyDir": {}} in stateful["spec"]["template"]["spec"]["volumes"]
    assert "volumeClaimTemplates" not in stateful["spec"]
    assert manifests.database(Sample(name="solo"), "neo4j")["spec"]["clusterRef"] == "solo"
