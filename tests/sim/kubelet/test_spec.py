"""From spec to process: environment, references, volumes, mount paths and working directories."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cockpit.sim.kubelet.environment import expand
from cockpit.sim.kubelet.mounts import Mounts
from cockpit.sim.kubelet.quantities import divided, quantity
from tests.sim.kubelet.worlds import World, pod, until


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)-$(B)", "1-2"), ("$$(A)", "$(A)"), ("$(NO)", "$(NO)"), ("$A ${A} $", "$A ${A} $"), ("$$$(A)", "$1"), ("x$(A", "x$(A")],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/data", "/real/d"),
        ("--dir=/data/x", "--dir=/real/d/x"),
        ("cat /data/a > '/data/deep/b'", "cat /real/d/a > '/real/deep/b'"),
        ("/database /data.old x/data", "/database /data.old x/data"),
        ("/a:/data:/data/deep", "/a:/real/d:/real/deep"),
    ],
)
def test_mount_paths_are_rewritten_at_path_boundaries(text: str, rewritten: str) -> None:
    assert Mounts({"/data": Path("/real/d"), "/data/deep/": Path("/real/deep")}).rewrite(text) == rewritten


async def test_folders_above_mounts_hold_them(world: World) -> None:
    world.config_map("code", {"ddp.py": "import os; print('module', os.getcwd())"})
    spec = {"volumes": [{"name": "code", "configMap": {"name": "code"}}]}
    env = [{"name": "PYTHONPATH", "value": "/opt/cockpit"}]
    mounts = [{"name": "code", "mountPath": "/opt/cockpit/training"}]
    for name, more in (("a", {"workingDir": "/opt/cockpit"}), ("b", {"env": env}), ("c", {"workingDir": "/opt/cockpit/training"})):
        command = ["python", "ddp.py"] if name == "c" else ["python", "-m", "training.ddp"]
        world.create(pod(name, *command, spec=spec, volumeMounts=mounts, **more))
        await world.phase(name, "Succeeded", "Failed")
        assert world.log(name)[0].startswith("module "), world.log(name)
    world.create(pod("d", "sh", "-c", "cd /opt/cockpit/ && ls; ls /opt/cockpit", spec=spec, volumeMounts=mounts))
    await world.phase("d", "Succeeded", "Failed")
    assert world.log("d") == ["training", "training"]


def test_a_container_path_cannot_leave_the_pod() -> None:
    assert Mounts({}).resolve("/../../etc", Path("/pod")) == Path("/pod/etc")


def test_quantities() -> None:
    assert [int(quantity(text) * 1000) for text in ("500m", "2", "1Ki", "1k", 3)] == [500, 2000, 1024000, 1000000, 3000]
    assert divided(quantity("1500m"), quantity("1")) == "2" and divided(quantity("2Gi"), quantity("1Mi")) == "2048"
    with pytest.raises(ValueError, match="not a resource quantity"):
        quantity("many")


def _field(path: str) -> dict[str, Any]:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


async def test_environment_is_the_spec_and_nothing_of_the_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "leak")
    metadata = {"namespace": "default"}
    world.config_map("c", {"k": "v", "K2": "w"})
    secret = {"token": base64.b64encode(b"s3cret").decode()}
    world.cluster.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"name": "s"}, "data": secret})
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$$(A)-$(NOPE)"},
        {"name": "NAME"} | _field("metadata.name"),
        {"name": "LABEL"} | _field("metadata.labels['example.com/x']"),
        {"name": "NODE"} | _field("spec.nodeName"),
        {"name": "HOST"} | _field("status.hostIP"),
        {"name": "IP"} | _field("status.podIP"),
        {"name": "CM", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
    ]
    script = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:], os.getcwd()]))"
    world.create(
        pod("env", "python", "-c", script, args=["$(A)", "$$(A)"], env=env, envFrom=[{"configMapRef": {"name": "c"}, "prefix": "P_"}],
            labels={"example.com/x": "y"}, resources={"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}})
    )  # fmt: skip
    status = await world.phase("env", "Succeeded")
    seen, argv, cwd = json.loads(world.log("env")[0])
    assert argv == ["1", "$(A)"]
    expected = {
        "A": "1", "B": "1-$(A)-$(NOPE)", "NAME": "env", "LABEL": "y", "NODE": "node-1", "HOST": "10.0.0.1", "IP": status["podIP"],
        "CM": "v", "SECRET": "s3cret", "CPU": "2", "MEM": "64", "P_k": "v", "P_K2": "w", "HOSTNAME": "env", "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # fmt: skip
    assert {name: seen.get(name) for name in expected} == expected
    assert not {"SECRET_OF_THE_HOST", "GONE", "VIRTUAL_ENV", "PYTHONPATH"} & seen.keys()
    root = str(world.kubelet.machine.folder)
    assert seen["HOME"].startswith(root) and seen["TMPDIR"].startswith(root) and cwd.startswith(root)
    assert os.path.isdir(seen["TMPDIR"])


async def test_volumes_are_seen_at_their_mount_paths(world: World) -> None:
    metadata = {"namespace": "default"}
    world.config_map("code", {"ddp.py": "print('from a config map')", "other": "o"})
    secret = {"key": base64.b64encode(b"\xff\x00").decode()}
    world.cluster.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata | {"name": "s"}, "data": secret})
    downward = {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}
    volumes = [
        {"name": "code", "configMap": {"name": "code", "items": [{"key": "ddp.py", "path": "sub/ddp.py"}]}},
        {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}, {"downwardAPI": downward}, {"configMap": {"name": "code"}}]}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    mounts = [
        {"name": "code", "mountPath": "/opt/cockpit/training"},
        {"name": "all", "mountPath": "/etc/all"},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "shm", "mountPath": "/ckpt", "subPathExpr": "$(POD)"},
    ]
    read = "python /opt/cockpit/training/sub/ddp.py; cat /etc/all/labels; echo; od -An -tx1 /etc/all/key; ls $DIR"
    script = f"{read}; echo x > /ckpt/f; cat /dev/shm/vol/f; pwd"
    world.create(
        pod("vol", "sh", "-c", script, spec={"volumes": volumes}, labels={"a": "b"}, volumeMounts=mounts, workingDir="/workspace/here",
            env=[{"name": "DIR", "value": "/etc/all"}, {"name": "POD"} | _field("metadata.name")])
    )  # fmt: skip
    await world.phase("vol", "Succeeded", "Failed")
    lines = world.log("vol")
    assert lines[:2] == ["from a config map", 'a="b"']
    assert "ff 00" in [line.strip() for line in lines] and "ddp.py" in lines and "x" in lines
    assert lines[-1].endswith("/root/workspace/here") and not os.path.exists("/workspace/here")


async def test_a_claim_outlives_its_pods_and_goes_with_the_claim(world: World) -> None:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "ckpt", "namespace": "default"},
             "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}}  # fmt: skip
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "ckpt"}}]
    mounts = [{"name": "v", "mountPath": "/checkpoints"}]
    world.create(pod("early", "sh", "-c", "echo kept > /checkpoints/latest", spec={"volumes": volumes}, volumeMounts=mounts))
    await until(lambda: "FailedMount" in world.events("early"), "no claim yet")
    assert world.events("early")["FailedMount"] == 'MountVolume.SetUp failed for volume "v" : persistentvolumeclaim "ckpt" not found'
    world.cluster.create("persistentvolumeclaims", claim)
    await world.phase("early", "Succeeded")
    world.cluster.delete("pods", "default", "early")
    await until(lambda: not world.status("early"), "the first pod is gone")
    world.create(pod("next", "cat", "/checkpoints/latest", spec={"volumes": volumes}, volumeMounts=mounts))
    await world.phase("next", "Succeeded")
    assert world.log("next") == ["kept"]
    assert world.cluster.get("persistentvolumeclaims", "default", "ckpt")["status"]["phase"] == "Bound"


async def test_host_paths_are_refused(world: World) -> None:
    world.create(pod("host", "true", spec={"volumes": [{"name": "h", "hostPath": {"path": "/etc"}}]}))
    message = await until(lambda: world.events("host").get("FailedMount"), "the refusal")
    assert "hostPath /etc is refused" in message
    assert world.status("host")["phase"] == "Pending"


async def test_services_of_ready_pods_resolve(world: World) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "job-master-0", "namespace": "default"},
               "spec": {"clusterIP": "None", "selector": {"role": "master"}, "ports": [{"port": 23456}]}}  # fmt: skip
    world.cluster.create("services", service)
    waiting = "for i in $(seq 200); do if nslookup job-master-0; then exit 0; fi; sleep 0.05; done; exit 1"
    world.create(pod("worker", "sh", "-c", waiting))
    await until(lambda: any("NXDOMAIN" in line for line in world.log("worker")), "it does not resolve yet")
    world.create(pod("job-master-0", "sleep", "100", labels={"role": "master"}))
    await world.phase("worker", "Succeeded")
    assert world.log("worker")[-1] == "Address: 127.0.0.1"
