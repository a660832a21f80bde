"""Pods on the node, with real processes."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hack.devcluster.containers import ENV_MODE, Isolation
from hack.devcluster.images import LocalImage
from hack.devcluster.node import NodeError
from hack.devcluster.pods import SERVICE_ACCOUNT
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CLAIMS, CONFIG_MAPS, PODS, SECRETS, condition_of, is_ready
from tests.unit.devcluster.cluster import (
    NAMESPACE,
    a_pod,
    container_status,
    eventually,
    finished,
    force,
    log_of,
    messages,
    pod,
    running,
    running_node,
    shell,
)


@pytest.fixture(autouse=True)
def _without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here does not hang on them, and must hold where the kernel refuses them."""
    monkeypatch.setenv(ENV_MODE, Isolation.OFF.value)


def gone(registry: Registry, name: str) -> bool:
    return registry.find(PODS, NAMESPACE, name) is None


def a_secret(registry: Registry, name: str, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    registry.create(SECRETS, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": encoded})


@pytest.mark.asyncio
async def test_a_pod_that_ends_says_how(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        registry.create(PODS, a_pod("good", shell("echo hello")))
        registry.create(PODS, a_pod("bad", shell("echo why > /dev/termination-log; exit 3")))
        good, bad = await finished(registry, "good"), await finished(registry, "bad")
        assert good["status"]["phase"] == "Succeeded"
        assert condition_of(good, "Ready")["reason"] == "PodCompleted"  # type: ignore[index]
        assert await log_of(node, good) == "hello\n"
        assert bad["status"]["phase"] == "Failed"
        terminated = container_status(registry, "bad")["state"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"], terminated["message"]) == (3, "Error", "why\n")


@pytest.mark.asyncio
async def test_the_log_stands_in_for_a_missing_message(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        container = shell("echo last words >&2; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
        registry.create(PODS, a_pod("bad", container))
        await finished(registry, "bad")
        assert container_status(registry, "bad")["state"]["terminated"]["message"] == "last words\n"


@pytest.mark.asyncio
async def test_init_containers_go_first_and_one_by_one(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
        steps = [shell(f"echo {each} >> /shared/order", **mount) | {"name": each} for each in ("one", "two")]
        main = shell("cat /shared/order", **mount)
        volumes = [{"name": "shared", "emptyDir": {}}]
        registry.create(PODS, a_pod("ordered", main, initContainers=steps, volumes=volumes))
        assert await log_of(node, await finished(registry, "ordered")) == "one\ntwo\n"


@pytest.mark.asyncio
async def test_a_failed_init_container_fails_a_pod_that_never_restarts(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        registry.create(
            PODS, a_pod("bad", shell("true"), initContainers=[shell("exit 1") | {"name": "init"}])
        )
        bad = await finished(registry, "bad")
        assert bad["status"]["phase"] == "Failed"
        assert condition_of(bad, "Initialized")["status"] == "False"  # type: ignore[index]
        assert container_status(registry, "bad")["state"]["waiting"]["reason"] == "PodInitializing"


@pytest.mark.asyncio
async def test_a_container_is_restarted_and_its_former_run_remembered(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        script = "if [ -e /v/ran ]; then echo again; sleep 60; fi; touch /v/ran; echo first; exit 4"
        mounted = shell(script, volumeMounts=[{"name": "v", "mountPath": "/v"}])
        volumes = [{"name": "v", "emptyDir": {}}]
        registry.create(PODS, a_pod("again", mounted, restartPolicy="OnFailure", volumes=volumes))
        await eventually(lambda: container_status(registry, "again").get("restartCount") == 1)
        it = await running(registry, "again")
        await eventually(lambda: condition_of(pod(registry, "again"), "Ready")["status"] == "True")  # type: ignore[index]
        assert container_status(registry, "again")["lastState"]["terminated"]["exitCode"] == 4
        assert await log_of(node, it, previous=True) == "first\n"


@pytest.mark.asyncio
async def test_what_is_missing_is_waited_for_and_named(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        reference = {"secretKeyRef": {"name": "key", "key": "value"}}
        by_env = shell("echo $FROM", env=[{"name": "FROM", "valueFrom": reference}])
        by_volume = shell("cat /s/value", volumeMounts=[{"name": "s", "mountPath": "/s"}])
        volumes = [{"name": "s", "secret": {"secretName": "key"}}]
        registry.create(PODS, a_pod("by-env", by_env))
        registry.create(PODS, a_pod("by-volume", by_volume, volumes=volumes))
        not_found = 'MountVolume.SetUp failed for volume "s" : secret "key" not found'
        await eventually(lambda: not_found in messages(registry, "FailedMount"))
        await eventually(
            lambda: (
                container_status(registry, "by-env").get("state", {}).get("waiting")
                == {"reason": "CreateContainerConfigError", "message": 'secret "key" not found'}
            )
        )
        assert pod(registry, "by-volume")["status"]["phase"] == "Pending"
        with pytest.raises(NodeError, match='container "main" in pod "by-env" is waiting to start'):
            await log_of(node, pod(registry, "by-env"))
        a_secret(registry, "key", value="found")
        assert (await log_of(node, await finished(registry, "by-env"))).strip() == "found"
        assert (await log_of(node, await finished(registry, "by-volume"))).strip() == "found"


@pytest.mark.asyncio
async def test_an_unknown_image_is_not_guessed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        registry.create(PODS, a_pod("odd", shell("true") | {"image": "elsewhere/thing:1"}))
        await eventually(
            lambda: (
                container_status(registry, "odd").get("state", {}).get("waiting", {}).get("reason")
                == "ErrImagePull"
            )
        )


@pytest.mark.asyncio
async def test_ready_follows_the_readiness_probe(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        probe = {"exec": {"command": ["test", "-e", "/v/ready"]}, "failureThreshold": 1, "periodSeconds": 1}
        mounted = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "readinessProbe": probe}
        registry.create(
            PODS, a_pod("slow", shell("sleep 60", **mounted), volumes=[{"name": "v", "emptyDir": {}}])
        )
        it = await running(registry, "slow")
        await eventually(lambda: bool(messages(registry, "Unhealthy")))
        assert not is_ready(pod(registry, "slow"))
        process = await node.exec(it, "main", ["touch", "/v/ready"], False, False)
        assert await process.wait() == 0
        await process.aclose()
        await eventually(lambda: is_ready(pod(registry, "slow")))


@pytest.mark.asyncio
async def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        probe = {"tcpSocket": {"port": 1}, "failureThreshold": 1, "periodSeconds": 1}
        container = shell("trap 'exit 0' TERM; sleep 60 & wait", livenessProbe=probe)
        registry.create(PODS, a_pod("sick", container, restartPolicy="Always"))
        await eventually(lambda: container_status(registry, "sick").get("restartCount", 0) >= 1)
        assert "terminated" in container_status(registry, "sick")["lastState"]


@pytest.mark.asyncio
async def test_deletion_asks_first_then_kills_and_then_the_object_goes(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        volumes = [{"name": "c", "persistentVolumeClaim": {"claimName": "kept"}}]
        claim = {"metadata": {"name": "kept", "namespace": NAMESPACE}}
        registry.create(
            CLAIMS,
            claim
            | {
                "spec": {
                    "volumeName": "the-volume",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                }
            },
        )
        script = "trap 'echo asked > /c/asked' TERM; touch /c/up; while :; do sleep 0.05; done"
        container = shell(script, volumeMounts=[{"name": "c", "mountPath": "/c"}])
        registry.create(PODS, a_pod("stubborn", container, volumes=volumes))
        await eventually((tmp_path / "volumes/the-volume/up").exists)
        registry.delete(PODS, NAMESPACE, "stubborn")
        assert not gone(registry, "stubborn")
        await eventually(lambda: gone(registry, "stubborn"))
        assert (tmp_path / "volumes/the-volume/asked").read_text() == "asked\n"


@pytest.mark.asyncio
async def test_deletion_without_grace_is_at_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        registry.create(
            PODS, a_pod("doomed", shell("trap '' TERM; sleep 60"), terminationGracePeriodSeconds=60)
        )
        await running(registry, "doomed")
        registry.delete(PODS, NAMESPACE, "doomed", grace_seconds=0)
        await eventually(lambda: not list((tmp_path / "pods").iterdir()), seconds=5)


@pytest.mark.asyncio
async def test_a_container_knows_itself_and_the_cluster(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        env = [
            {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['job-name']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "URL", "value": "http://$(IP)/$(NOT_SET)"},
        ]
        token = f"$CONTAINER_ROOT{SERVICE_ACCOUNT}/token"
        script = f'echo "$WHO $URL $KUBERNETES_SERVICE_PORT"; cat "{token}"'
        registry.create(PODS, a_pod("self", shell(script, env=env), labels={"job-name": "nightly"}))
        it = await finished(registry, "self")
        address = it["status"]["podIP"]
        expected = f"nightly http://{address}/$(NOT_SET) 6443\ntoken-of-default-default"
        assert await log_of(node, it) == expected


@pytest.mark.asyncio
async def test_pods_find_each_other_by_name_in_their_own_hosts_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(Isolation.MOUNTS, monkeypatch)
    monkeypatch.delenv(ENV_MODE)
    async with running_node(tmp_path) as (registry, node):
        for name in ("a", "b"):
            registry.create(PODS, a_pod(name, shell("sleep 60"), hostname=name, subdomain="svc"))
        one, other = await running(registry, "a"), await running(registry, "b")
        await eventually(lambda: "podIP" in pod(registry, "b")["status"])
        for name in ("b.svc.default.svc.cluster.local", "b.svc"):
            process = await node.exec(one, "main", ["getent", "ahostsv4", name], False, False)
            assert (await process.stdout.receive()).decode().split()[0] == other["status"]["podIP"]
            await process.aclose()


@pytest.mark.asyncio
async def test_exec_says_when_there_is_nothing_to_run_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        registry.create(PODS, a_pod("over", shell("true")))
        over = await finished(registry, "over")
        with pytest.raises(NodeError, match="container not found"):
            await node.exec(over, "main", ["true"], False, False)


@pytest.mark.asyncio
async def test_nothing_is_left_when_the_node_stops(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, _):
        registry.create(PODS, a_pod("left", shell("trap '' TERM; sleep 60")))
        await running(registry, "left")
    assert not (tmp_path / "pods").exists()


@pytest.mark.asyncio
async def test_a_changed_config_map_reaches_a_running_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hack.devcluster.pods._REFRESH_SECONDS", 0.02)
    async with running_node(tmp_path) as (registry, node):
        metadata = {"name": "settings", "namespace": NAMESPACE}
        registry.create(CONFIG_MAPS, {"metadata": metadata, "data": {"key": "old"}})
        script = 'until [ "$(cat /etc/settings/key)" = new ]; do sleep 0.02; done; echo seen'
        container = shell(script, volumeMounts=[{"name": "s", "mountPath": "/etc/settings"}])
        registry.create(
            PODS, a_pod("reader", container, volumes=[{"name": "s", "configMap": {"name": "settings"}}])
        )
        await running(registry, "reader")
        registry.modify(CONFIG_MAPS, (NAMESPACE, "settings"), lambda old: old | {"data": {"key": "new"}})
        assert await log_of(node, await finished(registry, "reader")) == "seen\n"


@pytest.mark.asyncio
async def test_a_pod_without_its_service_account_volume_has_no_token(tmp_path: Path) -> None:
    async with running_node(tmp_path) as (registry, node):
        script = 'ls "$CONTAINER_ROOT/var/run/secrets" 2>&1 || echo none'
        registry.create(PODS, a_pod("alone", shell(script), automountServiceAccountToken=False))
        assert (await log_of(node, await finished(registry, "alone"))).endswith("none\n")


@pytest.mark.parametrize("isolation", [Isolation.OFF, Isolation.MOUNTS])
@pytest.mark.asyncio
async def test_every_container_has_its_own_copy_of_an_images_writable_tree(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    tree = tmp_path / "image"
    for name in ("conf", "logs"):
        (tree / name).mkdir(parents=True)
    (tree / "conf/default").write_text("the image's\n")
    image = LocalImage(writable={"/srv/product": tree})
    async with running_node(tmp_path / "node", image) as (registry, node):
        script = "ls /srv/product/conf; echo mine > /srv/product/logs/log; cat /srv/product/logs/log"
        mounted = shell(script, volumeMounts=[{"name": "conf", "mountPath": "/srv/product/conf"}])
        registry.create(PODS, a_pod("plain", shell(script)))
        registry.create(PODS, a_pod("mounted", mounted, volumes=[{"name": "conf", "emptyDir": {}}]))
        assert await log_of(node, await finished(registry, "plain")) == "default\nmine\n"
        assert await log_of(node, await finished(registry, "mounted")) == "mine\n"
    assert list((tree / "logs").iterdir()) == []
