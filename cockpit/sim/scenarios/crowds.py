"""The pods and jobs of scenario `big`: daemons on every node, ranks of training jobs, and small pods up to the count."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.sim.controllers.objects import SUFFIX_LETTERS
from cockpit.sim.scenarios.scenery import TIME, pod_template
from cockpit.sim.scenarios.templates import filled, hole, template_of
from cockpit.sim.store import Loaded

Object = dict[str, Any]
POOL = "gpu-efa"
TEAMS = ("default",)
SIZES = (1, 2, 4, 1, 8, 2, 16, 1, 4, 32, 2, 64, 8, 1, 128, 4, 16, 256, 2, 512)
"""Nodes of one job after another."""
NAMES = ("llama-3-70b-pretrain", "qwen3-moe-sft", "mixtral-dpo", "gemma-3-eval", "whisper-large-asr", "sdxl-finetune", "esm3-protein")
DAEMONS = (
    # name, namespace, labels, image, what serves it
    (
        "aws-node",
        "kube-system",
        {"k8s-app": "aws-node"},
        "602401143452.dkr.ecr.ap-northeast-2.amazonaws.com/amazon-k8s-cni:v1.20.4",
        "pause",
    ),
    (
        "kube-proxy",
        "kube-system",
        {"k8s-app": "kube-proxy"},
        "602401143452.dkr.ecr.ap-northeast-2.amazonaws.com/eks/kube-proxy:v1.34.1",
        "pause",
    ),
    (
        "nvidia-device-plugin",
        "kube-system",
        {"name": "nvidia-device-plugin-ds"},
        "nvcr.io/nvidia/k8s-device-plugin:v0.18.0",
        "device-plugin",
    ),
    ("efa-device-plugin", "kube-system", {"name": "efa-device-plugin"}, "eks/aws-efa-k8s-device-plugin:v0.5.14", "device-plugin"),
    (
        "dcgm-exporter",
        "monitoring",
        {"app.kubernetes.io/name": "dcgm-exporter"},
        "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2",
        "dcgm-exporter",
    ),
    (
        "efa-node-exporter",
        "monitoring",
        {"app": "efa-node-exporter"},
        "public.ecr.aws/hpc-cloud/efa-node-exporter:latest",
        "efa-node-exporter",
    ),
)
PROBE = {
    "httpGet": {"path": "/health", "port": 8080, "scheme": "HTTP"},
    "initialDelaySeconds": 45,
    "periodSeconds": 10,
    "timeoutSeconds": 5,
}
DAEMON_PARTS: Object = {
    "env": [
        *(
            {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for name, path in (
                ("NODE_NAME", "spec.nodeName"),
                ("POD_NAME", "metadata.name"),
                ("POD_NAMESPACE", "metadata.namespace"),
                ("HOST_IP", "status.hostIP"),
            )
        ),
        *(
            {"name": name, "value": value}
            for name, value in (
                ("LOG_LEVEL", "info"),
                ("LISTEN_ADDRESS", ":8080"),
                ("CLUSTER_NAME", "practice"),
                ("AWS_REGION", "ap-northeast-2"),
            )
        ),
    ],
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "securityContext": {"privileged": True, "capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"], "drop": ["ALL"]}},
    "volumeMounts": [{"name": name, "mountPath": f"/host/{name}"} for name in ("dev", "sys", "run", "var-lib-kubelet")],
}
PORTS = {"dcgm-exporter": 9400, "efa-node-exporter": 9810}


@dataclass(frozen=True)
class BigJob:
    """One training job: its name and uid, and on how many nodes it runs."""

    name: str
    uid: str
    nodes: int


def jobs_for(nodes: int, source: random.Random) -> Iterator[BigJob]:
    """Jobs of many sizes that together use so many nodes."""
    left = nodes
    for number, size in enumerate(itertools.cycle(SIZES)):
        if left <= 0:
            return
        name = f"{NAMES[number % len(NAMES)]}-{number:04d}"
        yield BigJob(name, _uid(source), min(size, left))
        left -= size


def _uid(source: random.Random) -> str:
    bits = f"{source.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-b{bits[17:20]}-{bits[20:]}"


def unique_suffix(index: int) -> str:
    """Five letters as generateName draws them, another for every index up to some millions."""
    base = len(SUFFIX_LETTERS)
    number, letters = index * 5_999_993 % base**5, ""
    for _ in range(5):
        number, digit = divmod(number, base)
        letters += SUFFIX_LETTERS[digit]
    return letters


class Crowd:
    """Pods for the nodes of the scenario; without `exporters` no node has readings of its GPUs and EFA devices."""

    def __init__(self, hosts: Sequence[dict[str, str]], source: random.Random, exporters: bool = True) -> None:
        self.hosts = hosts
        self.daemons = [one for one in DAEMONS if exporters or one[0] not in PORTS]
        self.random = source

    def pods(self, jobs: Sequence[BigJob], count: int) -> Iterator[Loaded]:
        """Exactly so many pods: ranks first, then daemons, then small pods, spread over the nodes."""
        everything = itertools.chain(self._ranks(jobs), self._daemons(), self._small())
        return itertools.islice(everything, count if self.hosts else 0)

    def _ranks(self, jobs: Sequence[BigJob]) -> Iterator[Loaded]:
        places = iter(self.hosts)
        for job in jobs:
            owner = {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": job.name, "uid": job.uid}
            for role, total in (("master", 1), ("worker", job.nodes - 1)):
                obj = _rank_template(job.name, role, owner)
                template, labels = template_of(obj), obj["metadata"]["labels"]
                for index in range(total):
                    mine = {**labels, "training.kubeflow.org/replica-index": str(index)}
                    yield self._pod(template, f"{job.name}-{role}-{index}", TEAMS[0], next(places), mine, index=str(index))

    def _daemons(self) -> Iterator[Loaded]:
        for name, namespace, labels, image, server in self.daemons:
            port = PORTS.get(name)
            container: Object = {"name": name, "image": image, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}, **DAEMON_PARTS}
            container |= {"ports": [{"name": "metrics", "containerPort": port, "protocol": "TCP"}]} if port else {}
            owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": name, "uid": _uid(self.random)}
            template = template_of(pod_template(container, labels, owner, server, restartPolicy="Always"))
            for index, host in enumerate(self.hosts):
                yield self._pod(template, f"{name}-{unique_suffix(index)}", namespace, host, labels)

    def _small(self) -> Iterator[Loaded]:
        """Data preparation pods, without end."""
        for batch in itertools.count():
            name, labels = f"data-prep-{batch}", {"app": "data-prep", "pod-template-hash": f"{batch:010x}"}
            container: Object = {
                "name": "prep",
                "image": "ghcr.io/example/data-prep:1.4",
                "command": ["python", "-m", "prep", "--shard", str(batch)],
                "env": [{"name": f"SHARD_{number}", "value": f"s3://simulated-bucket/shard-{number:05d}"} for number in range(12)],
                "resources": {"requests": {"cpu": "2", "memory": "8Gi"}},
            }
            owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": _uid(self.random)}
            template = template_of(pod_template(container, labels, owner, restartPolicy="Always"))
            for index, host in enumerate(self.hosts):
                yield self._pod(template, f"{name}-{unique_suffix(index)}", TEAMS[0], host, labels)

    def _pod(self, template: bytes, name: str, namespace: str, host: dict[str, str], labels: dict[str, str], **more: str) -> Loaded:
        uid = _uid(self.random)
        number = self.random.getrandbits(16)
        values = {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "node": host["name"],
            "host_ip": host["address"],
            "pod_ip": f"10.{128 + (number >> 14)}.{number >> 6 & 255}.{number & 63}",
            "digest": f"{self.random.getrandbits(256):064x}",
            **more,
        }
        fields = {
            "metadata.name": name,
            "metadata.namespace": namespace,
            "spec.nodeName": host["name"],
            "spec.restartPolicy": "Always",
            "spec.schedulerName": "default-scheduler",
            "spec.serviceAccountName": "default",
            "spec.hostNetwork": "false",
            "status.phase": "Running",
            "status.podIP": values["pod_ip"],
            "status.nominatedNodeName": "",
        }
        return Loaded(namespace, name, uid, filled(template, values), labels, fields)

    def job_objects(self, jobs: Sequence[BigJob]) -> Iterator[Object]:
        """The PyTorchJobs: running ones for the pods, and a few that are queued, over or failed."""
        for job in jobs:
            yield _job_object(job.name, job.uid, job.nodes, "Running")
        for number, state in enumerate(("Succeeded", "Failed", "Suspended", "Succeeded", "Failed", "Suspended")):
            yield _job_object(f"{NAMES[number]}-old-{number}", _uid(self.random), SIZES[number], state)


def _rank_template(job: str, role: str, owner: Object) -> Object:
    env = {"MASTER_ADDR": f"{job}-master-0", "MASTER_PORT": "23456", "PET_NPROC_PER_NODE": "8", "PET_NODE_RANK": hole("index")}
    env |= {"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1", "NCCL_DEBUG": "INFO", "PYTHONUNBUFFERED": "1"}
    devices = {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32"}
    container: Object = {
        "name": "pytorch",
        "image": "763104351884.dkr.ecr.ap-northeast-2.amazonaws.com/pytorch-training:2.9.0-gpu-py312-cu130-ubuntu22.04-ec2",
        "command": ["torchrun", "--nproc-per-node", "8", "-m", "training.fsdp", "--model", "70b"],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [{"name": "pytorchjob-port", "containerPort": 23456, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "160", "memory": "1800Gi", **devices}, "limits": devices},
        "volumeMounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
    }
    labels = {
        "training.kubeflow.org/job-name": job,
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/replica-type": role,
        "training.kubeflow.org/replica-index": hole("index"),
    }
    labels |= {"training.kubeflow.org/job-role": "master"} if role == "master" else {}
    return pod_template(container, labels, owner)


def _job_object(name: str, uid: str, nodes: int, state: str) -> Object:
    """A PyTorchJob in one state, with the counts that belong to it."""
    container = {"name": "pytorch", "image": "pytorch-training:2.9.0", "resources": {"limits": {"nvidia.com/gpu": 8}}}
    template = {"spec": {"containers": [container]}}
    replicas: Object = {"Master": {"replicas": 1, "restartPolicy": "OnFailure", "template": template}}
    if nodes > 1:
        replicas["Worker"] = {"replicas": nodes - 1, "restartPolicy": "OnFailure", "template": template}
    field = {"Running": "active", "Succeeded": "succeeded", "Failed": "failed"}.get(state)
    counts = {role: {field: one["replicas"]} if field else {} for role, one in replicas.items()}
    said = [("Created", "True"), *([] if state in ("Running", "Suspended") else [("Running", "False")]), (state, "True")]
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": f"PyTorchJob{kind}",
            "message": f"PyTorchJob {name} is {kind.lower()}.",
            "lastUpdateTime": TIME,
            "lastTransitionTime": TIME,
        }
        for kind, status in said
    ]
    spec: Object = {"nprocPerNode": "8", "pytorchReplicaSpecs": replicas, "runPolicy": {"suspend": state == "Suspended"}}
    metadata = {"name": name, "namespace": TEAMS[0], "uid": uid, "creationTimestamp": TIME}
    status = {"conditions": conditions, "replicaStatuses": counts, "startTime": TIME}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": metadata, "spec": spec, "status": status}
