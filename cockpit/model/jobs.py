"""Training: jobs and their pods, how far they are, what they saved, and the queues that admit them."""

from __future__ import annotations

import enum

from msgspec import Struct

from cockpit.model.keys import CheckpointKey, Condition, JobKey, NodeName, PodKey, QueueKey, StoreKey


class Pod(Struct, frozen=True, gc=False):
    """A pod; `state` is the one word kubectl would print (Running, ContainerCreating, CrashLoopBackOff, ...)."""

    key: PodKey
    resource_version: str
    phase: str
    state: str
    node: NodeName | None = None
    job: JobKey | None = None
    replica: str = ""
    index: int | None = None
    gpus: int = 0
    efa: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0
    restarts: int = 0
    restart_attempt: int = 0
    ready: bool = False
    exit_code: int | None = None
    message: str = ""
    owner: str = ""
    app: str = ""
    ip: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    created: float | None = None
    started: float | None = None
    deleting: bool = False
    nominated: str = ""
    ended: float | None = None


class Phase(enum.Enum):
    """Where a job stands, derived from its pods and objects; the value is the word shown."""

    SUSPENDED = "suspended"
    QUEUED = "queued"
    PENDING = "pending"
    PROVISIONING = "provisioning"
    PULLING = "pulling"
    RENDEZVOUS = "rendezvous"
    TRAINING = "training"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """True when nothing more will happen by itself."""
        return self in (Phase.SUCCEEDED, Phase.FAILED)


class Job(Struct, frozen=True, gc=False):
    """The facts of one training job object; its phase is derived by `Snapshot.phase_of`.

    `workers` counts a PyTorchJob's, `elastic` the least and the most it may have; `priority` is its class in Kueue, `pod_priority` that of its pods.
    `store` is where its checkpoints go, as StoreKey.where (empty: nowhere, or not known); `restored_from` the job it goes on from; `launched` the
    parameters it was launched with, as JSON (empty: not by the cockpit).
    """

    key: JobKey
    resource_version: str
    uid: str = ""
    strategy: str = ""
    pods_wanted: int | None = None
    ranks_per_pod: int | None = None
    gpus_per_pod: int = 0
    suspended: bool = False
    queue: str = ""
    conditions: tuple[Condition, ...] = ()
    restarts: int = 0
    steps_wanted: int | None = None
    created: float | None = None
    started: float | None = None
    finished: float | None = None
    deleting: bool = False
    managed: bool = False
    workers: int | None = None
    elastic: tuple[int, int] | None = None
    priority: str = ""
    pod_priority: str = ""
    store: str = ""
    restored_from: str = ""
    launched: str = ""

    @property
    def ranks_wanted(self) -> int | None:
        """World size, when both factors are known."""
        return None if self.pods_wanted is None or self.ranks_per_pod is None else self.pods_wanted * self.ranks_per_pod

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if the object has it."""
        return next((c for c in self.conditions if c.type == type_), None)


class Progress(Struct, frozen=True, gc=False):
    """The last step a job's ranks reported, read from the log of its first rank."""

    job: JobKey
    step: int
    steps: int | None = None
    loss: float | None = None
    loss_first: float | None = None
    losses: tuple[float, ...] = ()
    tokens_per_second: float | None = None
    step_seconds: float | None = None
    at: float | None = None


class LastWords(Struct, frozen=True, gc=False):
    """How the ranks of one pod ended, as its log told: `rank` and `exit_code` (negative: a signal) of the one that failed first, by torchrun.

    `event` is stopped | failed when a program told of its end itself, with its own exit `code`, the last good `checkpoint`, the `reason` and
    the time; `error` is the last error that was raised, `step` the last one reported. All are the pod's own text.
    """

    pod: PodKey
    job: JobKey
    rank: int | None = None
    exit_code: int | None = None
    event: str = ""
    code: int | None = None
    step: int | None = None
    checkpoint: int | None = None
    reason: str = ""
    error: str = ""
    at: float | None = None


class Launch(Struct, frozen=True, gc=False):
    """A launch of the past, out of the journal: the parameters, as JSON, of a job that may be gone."""

    key: JobKey
    params: str
    at: float


class Checkpoint(Struct, frozen=True, gc=False):
    """One checkpoint. `state` is whole | torn | in progress as looked at, said | failed as only a job's log told; `why` when it is not whole.

    `at` is when it was committed, `verified` how far its bytes were read ("" | sizes | sampled | full), `job` whose log told of it, if one did.
    `sequence` counts the commits to its place: the highest is the last, whatever its step. `stage` is ZeRO's, 0 for the other strategies.
    """

    key: CheckpointKey
    step: int
    state: str
    why: str = ""
    at: float | None = None
    size_bytes: int | None = None
    world_size: int | None = None
    strategy: str = ""
    loss: float | None = None
    verified: str = ""
    job: JobKey | None = None
    sequence: int | None = None
    stage: int | None = None
    model: str = ""
    global_batch: int | None = None
    seed: int | None = None

    @property
    def store(self) -> str:
        """`pvc:CLAIM/PATH`, `s3://BUCKET/PREFIX`, or `log:KIND/JOB`."""
        return self.key.store.where


class CheckpointStore(Struct, frozen=True, gc=False):
    """A place of checkpoints that was looked at: when, how deep, whether a job writes to it now, and why it could not be read (empty: it was)."""

    key: StoreKey
    looked_at: float
    verified: str = ""
    writing: bool | None = None
    why: str = ""


class VolumeClaim(Struct, frozen=True, gc=False):
    """A PersistentVolumeClaim; access modes as Kubernetes writes them."""

    key: PodKey
    resource_version: str
    phase: str = ""
    access_modes: tuple[str, ...] = ()
    storage_class: str = ""
    volume: str = ""
    capacity_bytes: int | None = None
    deleting: bool = False


class Quota(Struct, frozen=True, gc=False):
    """One resource of one flavor of a ClusterQueue: used of nominal."""

    flavor: str
    resource: str
    nominal: float
    used: float = 0.0


class Queue(Struct, frozen=True, gc=False):
    """A Kueue queue; counts are workloads."""

    key: QueueKey
    resource_version: str
    cluster_queue: str = ""
    pending: int | None = None
    admitted: int | None = None
    active: bool | None = None
    reason: str = ""
    quotas: tuple[Quota, ...] = ()


class Workload(Struct, frozen=True, gc=False):
    """A Kueue Workload: why a job is or is not admitted; `position` is 1-based, None when not asked or not waiting.

    `active` is False when somebody has told Kueue to leave it out; `priority` is None where the object does not say.
    """

    key: PodKey
    resource_version: str
    job_uid: str = ""
    queue: str = ""
    cluster_queue: str = ""
    admitted: bool = False
    finished: bool = False
    reason: str = ""
    message: str = ""
    position: int | None = None
    active: bool = True
    priority: int | None = None


class PriorityClass(Struct, frozen=True, gc=False):
    """A named priority: Kueue's own (`queue`: WorkloadPriorityClass), or that of pods (PriorityClass)."""

    key: tuple[bool, str]
    resource_version: str
    value: int = 0
    default: bool = False

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.key[1]
