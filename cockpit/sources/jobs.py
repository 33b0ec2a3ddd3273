"""Training jobs: PyTorchJobs, TrainJobs, and what the JobSet below a TrainJob knows better than the TrainJob itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from cockpit.model import Condition, Job, JobKey
from cockpit.sources.jobtemplates import RawPodTemplate, Shape, priority_of, shape_in, shape_of, stored_in
from cockpit.sources.listings import Listing
from cockpit.sources.pods import RawResources
from cockpit.sources.raw import Meta, RawCondition, conditions, count, intern, seconds
from cockpit.sources.reflect import Reflector

QUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
QUEUE_NAME, STRATEGY, STEPS = "kueue.x-k8s.io/queue-name", "cockpit.dev/strategy", "cockpit.dev/steps"
STORE, RESTORED_FROM, LAUNCH = "cockpit.dev/checkpoints", "cockpit.dev/restored-from", "cockpit.dev/launch"
MANAGED_BY = "app.kubernetes.io/managed-by"
TRAINER_JOBS = ("node", "launcher")


class RawReplica(msgspec.Struct):
    replicas: int | None = None
    template: RawPodTemplate | None = None


class RawReplicas(msgspec.Struct):
    master: RawReplica | None = msgspec.field(default=None, name="Master")
    worker: RawReplica | None = msgspec.field(default=None, name="Worker")


class RawRunPolicy(msgspec.Struct):
    suspend: bool | None = None


class RawElastic(msgspec.Struct, rename="camel"):
    n_proc_per_node: int | str | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None


class RawPyTorchSpec(msgspec.Struct, rename="camel"):
    pytorch_replica_specs: RawReplicas | None = None
    nproc_per_node: str | int | None = None
    run_policy: RawRunPolicy | None = None
    elastic_policy: RawElastic | None = None


class RawPyTorchStatus(msgspec.Struct, rename="camel"):
    conditions: list[RawCondition | None] | None = None
    start_time: str | None = None
    completion_time: str | None = None


class RawPyTorchJob(msgspec.Struct):
    """A kubeflow.org/v1 PyTorchJob."""

    metadata: Meta | None = None
    spec: RawPyTorchSpec | None = None
    status: RawPyTorchStatus | None = None


class RawTrainer(msgspec.Struct, rename="camel"):
    command: list[str | None] | None = None
    args: list[str | None] | None = None
    num_nodes: int | None = None
    num_proc_per_node: int | str | None = None
    resources_per_node: RawResources | None = None


class RawTrainSpec(msgspec.Struct):
    trainer: RawTrainer | None = None
    suspend: bool | None = None


class RawTrainStatus(msgspec.Struct):
    conditions: list[RawCondition | None] | None = None


class RawTrainJob(msgspec.Struct):
    """A trainer.kubeflow.org/v1alpha1 TrainJob."""

    metadata: Meta | None = None
    spec: RawTrainSpec | None = None
    status: RawTrainStatus | None = None


class RawBatchSpec(msgspec.Struct):
    parallelism: int | None = None
    template: RawPodTemplate | None = None


class RawBatchTemplate(msgspec.Struct):
    spec: RawBatchSpec | None = None


class RawReplicatedJob(msgspec.Struct):
    name: str | None = None
    replicas: int | None = None
    template: RawBatchTemplate | None = None


class RawJobSetSpec(msgspec.Struct, rename="camel"):
    replicated_jobs: list[RawReplicatedJob | None] | None = None
    suspend: bool | None = None


class RawJobSetStatus(msgspec.Struct):
    restarts: int | None = None


class RawJobSet(msgspec.Struct):
    """A jobset.x-k8s.io/v1alpha2 JobSet."""

    metadata: Meta | None = None
    spec: RawJobSetSpec | None = None
    status: RawJobSetStatus | None = None


def to_pytorchjob(raw: RawPyTorchJob) -> Job:
    """A PyTorchJob -> Job; its worker's template speaks for all pods, the master's where there is no worker."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawPyTorchSpec(), raw.status or RawPyTorchStatus()
    replicas = spec.pytorch_replica_specs or RawReplicas()
    roles = [role for role in (replicas.worker, replicas.master) if role]
    shape = shape_of(roles[0].template if roles else None, spec.nproc_per_node or (spec.elastic_policy or RawElastic()).n_proc_per_node)
    found = conditions(status.conditions)
    return replace(
        _job(meta, "PyTorchJob", shape, found),
        pods_wanted=sum(1 if role.replicas is None else role.replicas for role in roles) if roles else None,
        suspended=bool(spec.run_policy and spec.run_policy.suspend),
        workers=None if replicas.worker is None else 1 if replicas.worker.replicas is None else replicas.worker.replicas,
        elastic=_range_of(spec.elastic_policy),
        pod_priority=next((name for role in roles if (name := priority_of(role.template))), ""),
        started=seconds(status.start_time),
        finished=seconds(status.completion_time) or _since(found, "Succeeded", "Failed"),
    )


def _range_of(policy: RawElastic | None) -> tuple[int, int] | None:
    """The least and the most workers of an elastic job; None for one that is not, or does not say the most."""
    if policy is None or policy.max_replicas is None:
        return None
    return policy.min_replicas or 1, policy.max_replicas


def to_trainjob(raw: RawTrainJob) -> Job:
    """A TrainJob -> Job, as far as the TrainJob itself says; what its runtime fills in is in the JobSet below it."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawTrainSpec(), raw.status or RawTrainStatus()
    trainer = spec.trainer or RawTrainer()
    shape = shape_in(words_of(trainer), trainer.num_proc_per_node, {}, trainer.resources_per_node)
    found = conditions(status.conditions)
    resumed = next((one.since for one in found if one.type == "Suspended" and one.status == "False"), None)
    return replace(
        _job(meta, "TrainJob", shape, found),
        pods_wanted=trainer.num_nodes,
        suspended=bool(spec.suspend),
        started=resumed,
        finished=_since(found, "Complete", "Failed"),
    )


def words_of(trainer: RawTrainer) -> list[str]:
    """The command line of a TrainJob's trainer."""
    return [word for word in (*(trainer.command or ()), *(trainer.args or ())) if word]


@dataclass(frozen=True, slots=True)
class Below:
    """What a JobSet says of the TrainJob above it."""

    restarts: int
    pods: int | None
    shape: Shape
    started: float | None


def to_below(raw: RawJobSet) -> Below:
    """A JobSet -> what it adds to its TrainJob: restarts, pods and ranks of its trainer job."""
    meta, spec = raw.metadata or Meta(), raw.spec or RawJobSetSpec()
    jobs = [one for one in spec.replicated_jobs or () if one and one.name in TRAINER_JOBS]
    nodes = [one.template.spec for one in jobs if one.template and one.template.spec]
    pods = sum((one.parallelism or 1) * (job.replicas or 1) for one, job in zip(nodes, jobs, strict=False)) if nodes else None
    shape = shape_of(nodes[0].template, None) if nodes else Shape()
    started = None if spec.suspend else seconds(meta.creation_timestamp)
    return Below((raw.status or RawJobSetStatus()).restarts or 0, pods, shape, started)


def _job(meta: Meta, kind: str, shape: Shape, found: tuple[Condition, ...]) -> Job:
    restarting = next((one for one in found if one.type == "Restarting"), None)
    return Job(
        key=JobKey(intern(meta.namespace or ""), kind, intern(meta.name or "")),
        resource_version=meta.resource_version or "",
        uid=meta.uid or "",
        strategy=meta.label(STRATEGY) or shape.strategy,
        ranks_per_pod=shape.ranks,
        gpus_per_pod=shape.gpus,
        queue=intern(meta.label(QUEUE_NAME)),
        conditions=found,
        restarts=1 if restarting is not None else 0,
        steps_wanted=count(meta.annotation(STEPS) or None),
        created=seconds(meta.creation_timestamp),
        deleting=meta.deletion_timestamp is not None,
        managed=meta.label(MANAGED_BY) == "cockpit",
        priority=intern(meta.label(QUEUE_PRIORITY)),
        store=intern(meta.annotation(STORE) or shape.store),
        restored_from=intern(meta.annotation(RESTORED_FROM)),
        launched=meta.annotation(LAUNCH),
    )


def _since(found: Iterable[Condition], *types: str) -> float | None:
    return next((one.since for one in found if one.type in types and one.status == "True"), None)


class TrainJobs:
    """TrainJobs joined with their JobSets, whichever comes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._below: dict[tuple[str, str], Below] = {}
        self._words: dict[tuple[str, str], list[str]] = {}

    def job(self, raw: RawTrainJob) -> Job:
        """The row of a TrainJob."""
        job = to_trainjob(raw)
        with self._lock:
            self._jobs[job.key.namespace, job.key.name] = job
            self._words[job.key.namespace, job.key.name] = words_of((raw.spec or RawTrainSpec()).trainer or RawTrainer())
            return self._joined((job.key.namespace, job.key.name), job)

    def jobset(self, raw: RawJobSet) -> Job | None:
        """The row of the TrainJob above a JobSet, None when there is none (yet)."""
        meta = raw.metadata or Meta()
        owner = meta.owner()
        if owner is None or owner.kind != "TrainJob" or not owner.name:
            return None
        place = (meta.namespace or "", owner.name)
        with self._lock:
            self._below[place] = to_below(raw)
            job = self._jobs.get(place)
            return self._joined(place, job) if job else None

    def gone(self, namespace: str, name: str) -> None:
        """Forget a TrainJob."""
        with self._lock:
            self._jobs.pop((namespace, name), None)
            self._words.pop((namespace, name), None)
            self._below.pop((namespace, name), None)

    def _joined(self, place: tuple[str, str], job: Job) -> Job:
        below = self._below.get(place)
        if below is None:
            return job
        return replace(
            job,
            restarts=below.restarts,
            pods_wanted=job.pods_wanted if job.pods_wanted is not None else below.pods,
            ranks_per_pod=job.ranks_per_pod if job.ranks_per_pod is not None else below.shape.ranks,
            gpus_per_pod=job.gpus_per_pod or below.shape.gpus,
            strategy=job.strategy or below.shape.strategy,
            store=job.store or stored_in(self._words.get(place, ()), below.shape.mounts) or below.shape.store,
            started=job.started or below.started,
        )


def source() -> Reflector:
    """Every PyTorchJob and TrainJob of the cluster, or of the one namespace that may be listed, as far as it serves them."""
    trains = TrainJobs()

    def keys(kind: str) -> Any:
        return lambda namespace, name: JobKey(namespace, kind, name)

    def of(kind: str) -> Any:
        return lambda key: key.kind == kind

    pytorchjobs, trainjobs, jobsets = (
        "/apis/kubeflow.org/v1/pytorchjobs",
        "/apis/trainer.kubeflow.org/v1alpha1/trainjobs",
        "/apis/jobset.x-k8s.io/v1alpha2/jobsets",
    )
    return Reflector(
        "jobs",
        Listing("jobs", (pytorchjobs,), RawPyTorchJob, to_pytorchjob, keys("PyTorchJob"), of("PyTorchJob"), namespaced=True),
        Listing("jobs", (trainjobs,), RawTrainJob, trains.job, keys("TrainJob"), of("TrainJob"), on_gone=trains.gone, namespaced=True),
        Listing("jobs", (jobsets,), RawJobSet, trains.jobset, lambda namespace, name: None, lambda key: False, namespaced=True),
    )
