"""Environment, command lines, volumes and names as the kubelet makes them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from hack.devcluster.addresses import AddressPool, cluster_names, hosts_file, write_in_place
from hack.devcluster.environment import ConfigError, PodFacts, command_line, expand, field_value, resolve
from hack.devcluster.images import ImageCatalog, LocalImage
from hack.devcluster.objects import Obj
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CONFIG_MAPS, SECRETS
from hack.devcluster.volumes import File, VolumeError, VolumeMaker, publish
from tests.unit.devcluster.cluster import NAMESPACE, Api, a_pod, shell

WITHIN = {"namespace": NAMESPACE}


def facts(**spec: Any) -> PodFacts:
    pod = a_pod("it", shell("true"), labels={"app": "web"}, **spec)
    pod["metadata"] |= {"uid": "the-uid", "annotations": {"note": "x"}}
    return PodFacts(pod, "127.1.2.3", "devcluster")


def registry_with(secret: dict[str, str] | None = None, config: dict[str, str] | None = None) -> Registry:
    registry = Registry()
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in (secret or {}).items()}
    if secret is not None:
        registry.create(SECRETS, {"metadata": {"name": "s", **WITHIN}, "data": encoded})
    if config is not None:
        registry.create(CONFIG_MAPS, {"metadata": {"name": "c", **WITHIN}, "data": config})
    return registry


def variable(name: str, **source: Any) -> Obj:
    return {"name": name, "valueFrom": source}


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)-$(B)", "1-$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("a$$b", "a$b"), ("$(A", "$(A")],
)
def test_only_known_references_are_expanded(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "x"),
        ("metadata.labels['none']", ""),
        ("metadata.uid", "the-uid"),
        ("status.podIP", "127.1.2.3"),
        ("spec.nodeName", "devcluster"),
        ("metadata.labels", 'app="web"'),
    ],
)
def test_the_downward_api_tells(path: str, value: str) -> None:
    assert field_value(facts(), path) == value


def test_env_overrides_env_from_and_sees_it() -> None:
    registry = registry_with({"USER": "neo"}, {"USER": "other", "HOST": "here"})
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}, "prefix": "S_"}],
        "env": [{"name": "HOST", "value": "$(S_USER)@$(HOST)"}],
    }
    env = resolve(registry, facts(), container, {"PATH": "/bin"})
    assert env == {"PATH": "/bin", "USER": "other", "S_USER": "neo", "HOST": "neo@here"}


def test_resources_are_counted_in_divisors() -> None:
    container = {"resources": {"limits": {"memory": "1Gi", "cpu": "500m"}}}
    env = [
        variable("MEMORY", resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
        variable("CPU", resourceFieldRef={"resource": "limits.cpu"}),
    ]
    assert resolve(Registry(), facts(), container | {"env": env}, {}) == {"MEMORY": "1024", "CPU": "1"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret default/s"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.nothing"}}, "unsupported fieldPath: spec.nothing"),
    ],
)
def test_what_is_missing_is_named_as_the_kubelet_names_it(source: Obj, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(registry_with({}), facts(), {"env": [variable("X", **source)]}, {})
    assert str(raised.value) == message


def test_optional_references_are_left_out() -> None:
    env = [variable("X", secretKeyRef={"name": "none", "key": "k", "optional": True})]
    assert resolve(Registry(), facts(), {"env": env}, {}) == {}


def test_command_replaces_the_images_own_and_args_only_its_arguments() -> None:
    def line(**container: Any) -> list[str]:
        return command_line(container, ["entry"], ["default"], {"A": "1"})

    assert line() == ["entry", "default"]
    assert line(args=["$(A)"]) == ["entry", "1"]
    assert line(command=["mine"]) == ["mine"]
    assert line(command=["mine"], args=["x"]) == ["mine", "x"]


def test_the_image_registered_last_wins_and_others_are_not_guessed() -> None:
    catalog = ImageCatalog()
    first, second = LocalImage(entrypoint=["1"]), LocalImage(entrypoint=["2"])
    catalog.add("neo4j:*", first)
    catalog.add("neo4j:5.26*", second)
    assert catalog.find("neo4j:5.26.1-enterprise") is second
    assert catalog.find("neo4j:2025.01") is first
    assert catalog.find("postgres") is None


def maker(registry: Registry, directory: Path) -> VolumeMaker:
    return VolumeMaker(registry, facts(), Api(), directory, directory / "claims")


def test_a_secret_is_a_directory_of_files_with_their_modes(tmp_path: Path) -> None:
    items = [{"key": "a", "path": "sub/a", "mode": 0o400}, {"key": "b", "path": "b"}]
    volume = {"name": "v", "secret": {"secretName": "s", "defaultMode": 0o440, "items": items}}
    path = maker(registry_with({"a": "1", "b": "2", "c": "3"}), tmp_path).make(volume)
    assert (path / "sub/a").read_text() == "1"
    assert (path / "sub/a").stat().st_mode & 0o777 == 0o400
    assert (path / "b").stat().st_mode & 0o777 == 0o440
    assert not (path / "c").exists()


def test_a_projection_joins_its_sources(tmp_path: Path) -> None:
    sources = [
        {"secret": {"name": "s"}},
        {"configMap": {"name": "c"}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    path = maker(registry_with({"a": "1"}, {"b": "2"}), tmp_path).make(
        {"name": "v", "projected": {"sources": sources}}
    )
    content = {each.name: each.read_text() for each in path.iterdir() if not each.name.startswith("..")}
    assert content == {"a": "1", "b": "2", "token": "token-of-default-default", "labels": 'app="web"'}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secret": {"secretName": "no"}}, 'MountVolume.SetUp failed for volume "v" : secret "no" not found'),
        ({"configMap": {"name": "no"}}, 'MountVolume.SetUp failed for volume "v" : configmap "no" not found'),
        ({"persistentVolumeClaim": {"claimName": "no"}}, 'persistentvolumeclaim "no" not found'),
    ],
)
def test_a_missing_object_is_the_reason(tmp_path: Path, source: Obj, message: str) -> None:
    with pytest.raises(VolumeError) as raised:
        maker(Registry(), tmp_path).make({"name": "v", **source})
    assert str(raised.value) == message


def test_all_files_of_a_volume_change_at_once(tmp_path: Path) -> None:
    publish(tmp_path, {"a": File(b"1"), "gone": File(b"x")}, 0o644)
    before = os.readlink(tmp_path / "..data")
    publish(tmp_path, {"a": File(b"1"), "gone": File(b"x")}, 0o644)
    assert os.readlink(tmp_path / "..data") == before
    publish(tmp_path, {"a": File(b"2"), "new": File(b"y")}, 0o644)
    shown = {each.name: each.read_bytes() for each in tmp_path.iterdir() if not each.name.startswith("..")}
    assert shown == {"a": b"2", "new": b"y"}
    assert not (tmp_path / before).exists()


def placed(name: str, address: str, **spec: Any) -> Obj:
    return a_pod(name, shell("true"), labels={"app": "db"}, **spec) | {"status": {"podIP": address}}


def test_pods_and_services_have_names_as_in_the_clusters_dns() -> None:
    pods = [placed("db-0", "127.0.1.2", hostname="db-0", subdomain="db"), placed("job", "127.0.1.3")]
    service = {"metadata": {"name": "client", **WITHIN}, "spec": {"selector": {"app": "db"}}}
    text = hosts_file(pods[1], "127.0.1.3", "127.0.0.1", cluster_names(pods, [service]))
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        for name in line.split()[1:]:
            names.setdefault(name, []).append(line.split()[0])
    assert names["localhost"] == ["127.0.1.3"]
    for name in ("db-0.db.default.svc.cluster.local", "db-0.db.default.svc", "db-0.db.default", "db-0.db"):
        assert names[name] == ["127.0.1.2"]
    assert names["client"] == names["client.default.svc.cluster.local"] == ["127.0.1.2", "127.0.1.3"]
    assert names["kubernetes.default.svc"] == ["127.0.0.1"]


def test_two_clusters_never_share_an_address() -> None:
    one, other = AddressPool(), AddressPool()
    taken = [{pool.take() for _ in range(300)} for pool in (one, other)]
    assert len(taken[0]) == len(taken[1]) == 300
    assert not taken[0] & taken[1]
    one.close()
    other.close()


def test_a_mounted_file_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    write_in_place(path, "long content\n")
    inode = path.stat().st_ino
    write_in_place(path, "short\n")
    assert (path.read_text(), path.stat().st_ino) == ("short\n", inode)
