"""Pods: the state word kubectl prints, the job and rank they belong to, what they ask for, and why they wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from cockpit.model import JobKey, NodeName, Pod, PodKey
from cockpit.sources.listings import Listing
from cockpit.sources.nodes import EFA, GPU
from cockpit.sources.podstates import RawContainerStatus, RawPodStatus, reason_of, state_of
from cockpit.sources.raw import Meta, Quantities, count, intern, quantity, seconds
from cockpit.sources.reflect import Reflector

PYTORCH_JOB, JOBSET = "training.kubeflow.org/job-name", "jobset.sigs.k8s.io/jobset-name"
OPERATORS = {"": "PyTorchJob", "pytorchjob-controller": "PyTorchJob"}
APP = ("app.kubernetes.io/name", "app", "k8s-app", "name")
MAIN_CONTAINERS = ("pytorch", "node")


class RawResources(msgspec.Struct):
    requests: Quantities | None = None
    limits: Quantities | None = None


class RawPort(msgspec.Struct, rename="camel", gc=False):
    name: str | None = None
    container_port: int | None = None


class RawContainer(msgspec.Struct, rename="camel"):
    name: str | None = None
    resources: RawResources | None = None
    ports: list[RawPort | None] | None = None
    restart_policy: str | None = None


class RawPodSpec(msgspec.Struct, rename="camel"):
    node_name: str | None = None
    containers: list[RawContainer | None] | None = None
    init_containers: list[RawContainer | None] | None = None


class RawPod(msgspec.Struct):
    """A v1 Pod."""

    metadata: Meta | None = None
    spec: RawPodSpec | None = None
    status: RawPodStatus | None = None


def to_pod(raw: RawPod) -> Pod:
    """A v1 Pod -> Pod; cpu in cores, memory in bytes, as the scheduler counts them."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawPodSpec(), raw.status or RawPodStatus()
    containers, inits = _present(spec.containers), _present(spec.init_containers)
    owner, main = meta.owner(), _main(status.container_statuses)
    deleting = meta.deletion_timestamp is not None
    return Pod(
        key=PodKey(intern(meta.namespace or ""), meta.name or ""),
        resource_version=meta.resource_version or "",
        phase=intern(status.phase or "Unknown"),
        state=intern(state_of(status, [one.restart_policy == "Always" for one in inits], deleting)),
        node=NodeName(intern(spec.node_name)) if spec.node_name else None,
        job=job_of(meta),
        replica=intern(meta.label("training.kubeflow.org/replica-type", "jobset.sigs.k8s.io/replicatedjob-name").lower()),
        index=count(meta.label("training.kubeflow.org/replica-index", "batch.kubernetes.io/job-completion-index") or None),
        gpus=int(requested(containers, inits, GPU)),
        efa=int(requested(containers, inits, EFA)),
        cpu=requested(containers, inits, "cpu"),
        memory_bytes=int(requested(containers, inits, "memory")),
        restarts=sum(one.restart_count or 0 for one in status.container_statuses or () if one),
        restart_attempt=count(meta.label("jobset.sigs.k8s.io/restart-attempt") or None) or 0,
        ready=any(one.status == "True" for one in status.conditions or () if one and one.type == "Ready"),
        exit_code=_exit_code(status.container_statuses),
        message=reason_of(status),
        owner=intern(f"{owner.kind}/{owner.name}") if owner and owner.name else "",
        app=intern(meta.label(*APP)),
        ip=status.pod_ip or "",
        ports=_ports(tuple((port.name or "", port.container_port) for one in containers for port in _present(one.ports) if port.container_port)),
        created=seconds(meta.creation_timestamp),
        started=seconds((main.state.running.started_at if main and main.state and main.state.running else None) or status.start_time),
        deleting=deleting,
        nominated=intern(status.nominated_node_name or ""),
        ended=_ended(status.container_statuses),
    )


def job_of(meta: Meta) -> JobKey | None:
    """The training job a pod's labels name."""
    if name := meta.label(PYTORCH_JOB):
        kind = OPERATORS.get(meta.label("training.kubeflow.org/operator-name"))
        return _job_key(meta.namespace or "", kind, name) if kind else None
    if name := meta.label(JOBSET):
        return _job_key(meta.namespace or "", "TrainJob", name)
    return None


@lru_cache(maxsize=8192)
def _job_key(namespace: str, kind: str, name: str) -> JobKey:
    return JobKey(intern(namespace), kind, intern(name))


@lru_cache(maxsize=1024)
def _ports(found: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    return found


def requested(containers: Sequence[RawContainer], inits: Sequence[RawContainer], resource: str) -> float:
    """What a pod asks of a resource: the sum of its containers and sidecars, or its largest init container where that is more."""
    total, sidecars, largest = sum(_asked(one, resource) for one in containers), 0.0, 0.0
    for one in inits:
        if one.restart_policy == "Always":
            sidecars += _asked(one, resource)
        else:
            largest = max(largest, _asked(one, resource) + sidecars)
    return max(total + sidecars, largest)


def _asked(container: RawContainer, resource: str) -> float:
    resources = container.resources
    if resources is None:
        return 0.0
    for found in (resources.requests, resources.limits):
        if found and (value := quantity(found.get(resource))) is not None:
            return value if 0.0 <= value < 1e18 else 0.0
    return 0.0


def _present(found: Iterable[msgspec.Struct | None] | None) -> list[Any]:
    return [one for one in found or () if one]


def _main(statuses: Iterable[RawContainerStatus | None] | None) -> RawContainerStatus | None:
    found = _present(statuses)
    return next((one for one in found if one.name in MAIN_CONTAINERS), found[0] if found else None)


def _exit_code(statuses: Iterable[RawContainerStatus | None] | None) -> int | None:
    """The first exit code that is not 0 among the containers' last ends, else 0 when one ended; None when none did."""
    ends = [end.exit_code for one in _present(statuses) if (end := one.last_end()) and end.exit_code is not None]
    return next((code for code in ends if code), ends[0] if ends else None)


def _ended(statuses: Iterable[RawContainerStatus | None] | None) -> float | None:
    """When the first of the containers that ended badly last did."""
    ends = [end.finished_at for one in _present(statuses) if (end := one.last_end()) and end.exit_code]
    return min((at for one in ends if (at := seconds(one)) is not None), default=None)


def source() -> Reflector:
    """Every pod of the cluster, or of the one namespace that may be listed."""
    return Reflector("pods", Listing("pods", ("/api/v1/pods",), RawPod, to_pod, PodKey, namespaced=True))
