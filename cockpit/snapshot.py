"""One immutable picture of the cluster, and the joins that are computed from it.

Joins are never stored: pods, nodes, jobs and claims may arrive in any order, and a question is answered from what is there now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cockpit.model import (
    Applied,
    Checkpoint,
    CheckpointKey,
    CheckpointStore,
    DeviceKey,
    DevicePlugin,
    EfaDevice,
    Event,
    Gpu,
    Health,
    Job,
    JobKey,
    LastWords,
    Launch,
    Node,
    NodeClaim,
    NodeName,
    NodePool,
    Observed,
    Occupant,
    Phase,
    Pod,
    PodKey,
    Price,
    Progress,
    Queue,
    QueueKey,
    Runtime,
    Served,
    State,
    StoreKey,
    VolumeClaim,
    Workload,
)
from cockpit.rows import Rows

PULLING_STATES = frozenset({"ContainerCreating", "PodInitializing", "Init", "Pulling", "ErrImagePull", "ImagePullBackOff"})
CRASHED_STATES = frozenset({"CrashLoopBackOff", "Error", "OOMKilled", "StartError", "ContainerCannotRun"})
SHORTAGE_SECONDS = 180.0
"""How long Karpenter keeps an offering without capacity out of its choice."""
OCCUPYING_PHASES = frozenset({"Pending", "Running"})


def _empty() -> Rows[Any, Any]:
    return Rows()


@dataclass(frozen=True)
class Snapshot:
    """Every row by kind, the indexes over them (`*_by_*`: key -> tuple of keys), and each source's health."""

    version: int = 0
    health: Mapping[str, Health] = field(default_factory=dict)
    nodes: Rows[NodeName, Node] = field(default_factory=_empty)
    pods: Rows[PodKey, Pod] = field(default_factory=_empty)
    jobs: Rows[JobKey, Job] = field(default_factory=_empty)
    progress: Rows[JobKey, Progress] = field(default_factory=_empty)
    nodepools: Rows[str, NodePool] = field(default_factory=_empty)
    nodeclaims: Rows[str, NodeClaim] = field(default_factory=_empty)
    queues: Rows[QueueKey, Queue] = field(default_factory=_empty)
    workloads: Rows[PodKey, Workload] = field(default_factory=_empty)
    gpus: Rows[DeviceKey, Gpu] = field(default_factory=_empty)
    efa: Rows[DeviceKey, EfaDevice] = field(default_factory=_empty)
    events: Rows[PodKey, Event] = field(default_factory=_empty)
    prices: Rows[tuple[str, str, str], Price] = field(default_factory=_empty)
    served: Rows[str, Served] = field(default_factory=_empty)
    runtimes: Rows[PodKey, Runtime] = field(default_factory=_empty)
    lastwords: Rows[PodKey, LastWords] = field(default_factory=_empty)
    checkpoints: Rows[CheckpointKey, Checkpoint] = field(default_factory=_empty)
    stores: Rows[StoreKey, CheckpointStore] = field(default_factory=_empty)
    volumeclaims: Rows[PodKey, VolumeClaim] = field(default_factory=_empty)
    launches: Rows[JobKey, Launch] = field(default_factory=_empty)
    occupants: Rows[PodKey, Occupant] = field(default_factory=_empty)
    deviceplugins: Rows[PodKey, DevicePlugin] = field(default_factory=_empty)
    applied: Rows[str, Applied] = field(default_factory=_empty)
    observed: Rows[str, Observed] = field(default_factory=_empty)
    occupants_by_node: Rows[str, tuple[PodKey, ...]] = field(default_factory=_empty)
    pods_by_node: Rows[str, tuple[PodKey, ...]] = field(default_factory=_empty)
    pods_by_job: Rows[JobKey, tuple[PodKey, ...]] = field(default_factory=_empty)
    nodes_by_pool: Rows[str, tuple[NodeName, ...]] = field(default_factory=_empty)
    claims_by_pool: Rows[str, tuple[str, ...]] = field(default_factory=_empty)
    claims_by_node: Rows[str, tuple[str, ...]] = field(default_factory=_empty)
    gpus_by_node: Rows[str, tuple[DeviceKey, ...]] = field(default_factory=_empty)
    gpus_by_pod: Rows[PodKey, tuple[DeviceKey, ...]] = field(default_factory=_empty)
    efa_by_node: Rows[str, tuple[DeviceKey, ...]] = field(default_factory=_empty)
    workloads_by_job: Rows[str, tuple[PodKey, ...]] = field(default_factory=_empty)
    events_by_object: Rows[tuple[str, str, str], tuple[PodKey, ...]] = field(default_factory=_empty)
    shortages_by_pool: Rows[str, tuple[PodKey, ...]] = field(default_factory=_empty)
    lastwords_by_job: Rows[JobKey, tuple[PodKey, ...]] = field(default_factory=_empty)
    checkpoints_by_store: Rows[StoreKey, tuple[CheckpointKey, ...]] = field(default_factory=_empty)

    def believed(self, source: str) -> bool:
        """True when that source is live; a source that was never started is not believed."""
        health = self.health.get(source)
        return health is not None and health.believed

    def sees(self, source: str, namespace: str = "", resource: str = "") -> bool:
        """True when the rows of that source are all there are: in one namespace or (empty) the cluster, of one resource or (empty) of all."""
        health = self.health.get(source)
        if health is None or not health.believed or health.scope not in ("", namespace):
            return False
        return resource not in health.unread if resource else not health.unread

    def forbidden(self, source: str) -> bool:
        """True when nothing that source reads may be listed."""
        health = self.health.get(source)
        return health is not None and health.forbidden

    def limits(self, source: str) -> str:
        """What that source may not see, in words; empty when it sees all."""
        health = self.health.get(source)
        return health.limits() if health is not None else ""

    def absent(self, source: str) -> bool:
        """True when the cluster does not serve what that source reads."""
        health = self.health.get(source)
        return health is not None and health.state is State.ABSENT

    # -- nodes ---------------------------------------------------------------------------------------------------------------------------

    def pods_on(self, node: str) -> list[Pod]:
        """The pods bound to a node."""
        return [pod for key in self.pods_by_node.get(node, ()) if (pod := self.pods.get(key))]

    def gpus_used(self, node: str) -> int | None:
        """GPUs requested by the pods on a node that are not over; None while pods are not known, or those of other namespaces are not seen."""
        if (not self.believed("pods") and not len(self.pods)) or self.limits("pods"):
            return None
        return sum(pod.gpus for pod in self.pods_on(node) if pod.phase in OCCUPYING_PHASES)

    def jobs_on(self, node: str) -> tuple[JobKey, ...]:
        """The training jobs with a live pod on a node, sorted."""
        return tuple(sorted({pod.job for pod in self.pods_on(node) if pod.job and pod.phase in OCCUPYING_PHASES}))

    def gpus_on(self, node: str) -> list[Gpu]:
        """The GPUs of a node as DCGM reported them, by index."""
        found = [gpu for key in self.gpus_by_node.get(node, ()) if (gpu := self.gpus.get(key))]
        return sorted(found, key=lambda gpu: gpu.index)

    def efa_on(self, node: str) -> list[EfaDevice]:
        """The EFA devices of a node, by name."""
        found = [device for key in self.efa_by_node.get(node, ()) if (device := self.efa.get(key))]
        return sorted(found, key=lambda device: device.key.device)

    def claim_of(self, node: str) -> NodeClaim | None:
        """The NodeClaim that made a node, if Karpenter did."""
        return next((claim for name in self.claims_by_node.get(node, ()) if (claim := self.nodeclaims.get(name))), None)

    def price_of(self, node: Node) -> Price | None:
        """Dollars per hour of a node's offering; None when no source knows it."""
        for zone in (node.zone, ""):
            price = self.prices.get((node.instance_type, zone, node.capacity_type or "on-demand"))
            if price is not None:
                found: Price = price
                return found
        return None

    # -- node pools ----------------------------------------------------------------------------------------------------------------------

    def nodes_in(self, pool: str) -> list[Node]:
        """The nodes of a NodePool."""
        return [node for name in self.nodes_by_pool.get(pool, ()) if (node := self.nodes.get(name))]

    def claims_in(self, pool: str) -> list[NodeClaim]:
        """The NodeClaims of a NodePool, oldest first."""
        found = [claim for name in self.claims_by_pool.get(pool, ()) if (claim := self.nodeclaims.get(name))]
        return sorted(found, key=lambda claim: (claim.created or 0.0, claim.name))

    # -- jobs ----------------------------------------------------------------------------------------------------------------------------

    def pods_of(self, job: JobKey) -> list[Pod]:
        """The pods of a job's newest attempt, in rank order."""
        found = [pod for key in self.pods_by_job.get(job, ()) if (pod := self.pods.get(key))]
        newest = max((pod.restart_attempt for pod in found), default=0)
        return sorted((pod for pod in found if pod.restart_attempt == newest), key=rank_order)

    def workload_of(self, job: Job) -> Workload | None:
        """The Kueue Workload of a job, when it has one."""
        return next((work for key in self.workloads_by_job.get(job.uid, ()) if (work := self.workloads.get(key))), None)

    def words_of(self, job: JobKey) -> list[LastWords]:
        """How the ranks of a job ended, as far as their logs were read."""
        return [words for key in self.lastwords_by_job.get(job, ()) if (words := self.lastwords.get(key))]

    def checkpoints_in(self, store: StoreKey) -> list[Checkpoint]:
        """The checkpoints of a place as far as they are known, the highest step first."""
        found = [one for key in self.checkpoints_by_store.get(store, ()) if (one := self.checkpoints.get(key))]
        return sorted(found, key=lambda one: (one.step, one.key.entry), reverse=True)

    def checkpoints_of(self, job: Job) -> list[Checkpoint]:
        """The checkpoints where a job writes them: what its log told, and what was looked at."""
        return self.checkpoints_in(store_of(job))

    def ranks_up(self, job: Job) -> int | None:
        """Ranks whose pod is running; None when ranks per pod are not known."""
        if job.ranks_per_pod is None:
            return None
        return sum(pod.phase == "Running" and pod.ready for pod in self.pods_of(job.key)) * job.ranks_per_pod

    def nodes_of(self, job: JobKey) -> tuple[str, ...]:
        """The nodes a job's pods are bound to, sorted."""
        return tuple(sorted({pod.node for pod in self.pods_of(job) if pod.node}))

    def job_price(self, job: JobKey) -> float | None:
        """Dollars per hour of the nodes a job's live pods hold, shared by GPU; None when any price is unknown."""
        total = 0.0
        for pod in self.pods_of(job):
            node = self.nodes.get(pod.node) if pod.node else None
            if node is None or pod.phase not in OCCUPYING_PHASES:
                continue
            price = self.price_of(node)
            if price is None or price.dollars_per_hour is None:
                return None
            if not pod.gpus and self.limits("pods"):
                return None
            share = pod.gpus / node.gpu_allocatable if node.gpu_allocatable and pod.gpus else 1.0 / max(1, len(self.pods_on(node.name)))
            total += price.dollars_per_hour * min(1.0, share)
        return total

    def phase_of(self, job: Job) -> Phase:
        """Where a job stands; TrainJob has no Running condition of its own, so it is read from the objects below it."""
        finished = _finished_phase(job)
        if finished is not None:
            return finished
        if job.deleting:
            return Phase.STOPPING
        work = self.workload_of(job)
        if work is not None and not work.admitted and not work.finished:
            return Phase.QUEUED
        if job.suspended:
            return Phase.QUEUED if job.queue else Phase.SUSPENDED
        return self._running_phase(job)

    def _running_phase(self, job: Job) -> Phase:
        pods = self.pods_of(job.key)
        restarting = (condition := job.condition("Restarting")) is not None and condition.status == "True"
        if not pods:
            return Phase.RESTARTING if restarting or job.restarts else Phase.PENDING
        if any(pod.node is None and pod.phase == "Pending" for pod in pods):
            return Phase.PROVISIONING if any(self.claim_for(pod) for pod in pods if pod.node is None) else Phase.PENDING
        if any(pod.state in CRASHED_STATES or pod.deleting for pod in pods):
            return Phase.RESTARTING
        if any(pod.phase == "Pending" for pod in pods):
            return Phase.PULLING
        progress = self.progress.get(job.key)
        newest_start = max((pod.started or 0.0 for pod in pods), default=0.0)
        reported = progress is not None and (progress.at is None or progress.at >= newest_start)
        return Phase.TRAINING if reported else Phase.RENDEZVOUS

    def claim_for(self, pod: Pod) -> NodeClaim | None:
        """The NodeClaim Karpenter nominated for a pod, while it exists."""
        for event in self.events_about("Pod", pod.key.namespace, pod.key.name):
            if event.reason == "Nominated" and "nodeclaim/" in event.message:
                name = event.message.split("nodeclaim/", 1)[1].split(",", 1)[0].strip()
                claim: NodeClaim | None = self.nodeclaims.get(name)
                if claim is not None:
                    return claim
        return None

    def reason_of(self, job: Job) -> str:
        """Why a job is where it is, in the words of the object that holds it; empty when nothing holds it."""
        phase = self.phase_of(job)
        if phase is Phase.QUEUED:
            work = self.workload_of(job)
            return (work.message or work.reason) if work else f"waits for queue {job.queue}"
        if phase is Phase.FAILED:
            failed = job.condition("Failed")
            return (failed.message or failed.reason) if failed else "failed"
        return next(self._pod_reasons(job.key, phase), "")

    def _pod_reasons(self, job: JobKey, phase: Phase) -> Iterator[str]:
        for pod in self.pods_of(job):
            if phase is Phase.PROVISIONING and pod.node is None and (claim := self.claim_for(pod)):
                yield f"{claim.name} waits for {claim.waits_for or 'its node'}"
            elif phase in (Phase.PENDING, Phase.PROVISIONING) and pod.node is None and (said := self._karpenter_on(pod)):
                yield said
            elif pod.message and phase in (Phase.PENDING, Phase.PROVISIONING, Phase.PULLING, Phase.RESTARTING):
                yield pod.message

    def _karpenter_on(self, pod: Pod) -> str:
        """Why Karpenter makes no node for a pod, in its own words; it knows more than the scheduler, which only sees the nodes there are."""
        about = self.events_about("Pod", pod.key.namespace, pod.key.name)
        return next((event.message for event in about if event.reason == "FailedScheduling" and event.source == "karpenter"), "")

    def shortage_in(self, pool: str, now: float) -> Event | None:
        """The newest lack of capacity of a NodePool, while Karpenter remembers it; its claim is gone, so only the event tells."""
        found = [
            event for key in self.shortages_by_pool.get(pool, ()) if (event := self.events.get(key)) and now - (event.at or 0.0) < SHORTAGE_SECONDS
        ]
        return max(found, key=lambda event: event.at or 0.0, default=None)

    def events_about(self, kind: str, namespace: str, name: str) -> list[Event]:
        """Events of one object, newest first."""
        found = [event for key in self.events_by_object.get((kind, namespace, name), ()) if (event := self.events.get(key))]
        return sorted(found, key=lambda event: event.at or 0.0, reverse=True)


def store_of(job: Job) -> StoreKey:
    """Where a job's checkpoints go; a place of its own while only its log tells of them."""
    if not job.store:
        return StoreKey(job.key.namespace, f"log:{job.key.kind}/{job.key.name}")
    return StoreKey("" if job.store.startswith("s3://") else job.key.namespace, job.store)


def rank_order(pod: Pod) -> tuple[int, int, str]:
    """Master before workers, then by index, then by name."""
    return (0 if pod.replica == "master" else 1, pod.index if pod.index is not None else 1 << 30, pod.key.name)


def _finished_phase(job: Job) -> Phase | None:
    for type_, phase in (("Succeeded", Phase.SUCCEEDED), ("Complete", Phase.SUCCEEDED), ("Failed", Phase.FAILED)):
        condition = job.condition(type_)
        if condition is not None and condition.status == "True":
            return phase
    return None
