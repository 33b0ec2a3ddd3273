"""The nouns, frozen: what the cockpit knows of a cluster. Joins are methods of `Snapshot` (snapshot.py); unknown is None, never 0.

Rows are msgspec Structs: 50,000 of them are made and kept at a fraction of what dataclasses cost, and so is the class itself at the start.
Bytes, seconds and watts are plain numbers whose unit is in the name; times are seconds since the epoch. Text that came from a cluster is kept as
it came and is made inert where it is shown.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple, NewType

from msgspec import Struct, field

from cockpit.errors import CockpitError, Forbidden

NodeName = NewType("NodeName", str)
PoolName = NewType("PoolName", str)
ClaimName = NewType("ClaimName", str)


class PodKey(NamedTuple):
    """A pod, by namespace and name."""

    namespace: str
    name: str


class JobKey(NamedTuple):
    """A training job, by namespace, kind (PyTorchJob | TrainJob) and name."""

    namespace: str
    kind: str
    name: str


class QueueKey(NamedTuple):
    """A Kueue LocalQueue (namespace set) or ClusterQueue (namespace empty)."""

    namespace: str
    name: str


class StoreKey(NamedTuple):
    """A place of checkpoints: `pvc:CLAIM/PATH` (namespace set), `s3://BUCKET/PREFIX` (namespace empty), `log:KIND/JOB` while only a log is known."""

    namespace: str
    where: str


class CheckpointKey(NamedTuple):
    """A checkpoint, by its place and the name of its entry there (step_00000100)."""

    store: StoreKey
    entry: str


class DeviceKey(NamedTuple):
    """A GPU (by index) or EFA device (by name) of one node."""

    node: NodeName
    device: str


class Condition(Struct, frozen=True, gc=False):
    """One Kubernetes condition; status True | False | Unknown as the API writes it."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: float | None = None


class Node(Struct, frozen=True, gc=False):
    """A Kubernetes node with what matters for training; `gpu_*` and `efa_*` are device counts, None when the resource is not registered.

    `taint_times` says when each taint was added, as the API writes it, where it says so. `plugin_config` names the configuration that the GPU device
    plugin is told to use here (empty: its default), `former_config` what it used before a quarantine; `quarantined` are the UUIDs of the GPUs that
    the cockpit took out.
    """

    name: NodeName
    resource_version: str
    instance_type: str = ""
    zone: str = ""
    region: str = ""
    capacity_type: str = ""
    pool: str = ""
    internal_ip: str = ""
    gpu_capacity: int | None = None
    gpu_allocatable: int | None = None
    efa_allocatable: int | None = None
    cpu_allocatable: float | None = None
    memory_allocatable_bytes: int | None = None
    gpu_model: str = ""
    cordoned: bool = False
    cordon_reason: str = ""
    ready: bool | None = None
    problems: tuple[Condition, ...] = ()
    taints: tuple[str, ...] = ()
    taint_times: tuple[str, ...] = ()
    plugin_config: str = ""
    former_config: str = ""
    quarantined: tuple[str, ...] = ()
    topology: tuple[str, ...] = ()
    created: float | None = None
    simulated: bool = False


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


class Launch(Struct, frozen=True, gc=False):
    """A launch of the past, out of the journal: the parameters, as JSON, of a job that may be gone."""

    key: JobKey
    params: str
    at: float


class Occupant(Struct, frozen=True, gc=False):
    """A pod on a node, as a drain has to know it: who made it (kind empty: nobody), whether it is static, and its emptyDir volumes.

    `budgets` are the PodDisruptionBudgets that select it and `disruptions_allowed` the least that one of them allows now; None: not known.
    """

    key: PodKey
    uid: str
    node: NodeName
    phase: str = ""
    owner_kind: str = ""
    owner_name: str = ""
    static: bool = False
    deleting: bool = False
    empty_dirs: tuple[str, ...] = ()
    grace_seconds: int | None = None
    budgets: tuple[str, ...] | None = None
    disruptions_allowed: int | None = None


class DevicePlugin(Struct, frozen=True):
    """A DaemonSet that runs the NVIDIA device plugin, and the ConfigMap it takes its configurations from (empty: it takes none).

    `configs` are those configurations by name, `default` the name of the one for nodes without the label. `selector` finds its pods.
    """

    key: PodKey
    image: str = ""
    selector: str = ""
    configmap: str = ""
    configmap_version: str = ""
    configs: Mapping[str, str] = field(default_factory=dict)
    default: str = ""
    why: str = ""


class Applied(Struct, frozen=True):
    """A plan of the past, out of the journal: `entry` as it was read back, `here` whether it was applied to this cluster."""

    id: str
    at: float
    entry: Any
    here: bool | None = None


class Observed(Struct, frozen=True):
    """An object as it was read just now, by its API path: None when it is not there, `error` when it could not be read."""

    path: str
    object: Mapping[str, Any] | None = None
    error: str = ""


class NodePool(Struct, frozen=True, gc=False):
    """A Karpenter NodePool; limits and usage by resource name, in Kubernetes base units (cpu cores, bytes, device counts)."""

    name: PoolName
    resource_version: str
    ready: bool | None = None
    conditions: tuple[Condition, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    usage: Mapping[str, float] = field(default_factory=dict)
    instance_types: tuple[str, ...] = ()
    instance_families: tuple[str, ...] = ()
    instance_categories: tuple[str, ...] = ()
    instance_sizes: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    capacity_types: tuple[str, ...] = ()
    weight: int = 0
    taints: tuple[str, ...] = ()
    node_class: str = ""
    created: float | None = None


class NodeClaim(Struct, frozen=True, gc=False):
    """A Karpenter NodeClaim; `waits_for` names the first condition that holds it, empty when Initialized."""

    name: ClaimName
    resource_version: str
    pool: str = ""
    node: NodeName | None = None
    instance_type: str = ""
    zone: str = ""
    capacity_type: str = ""
    conditions: tuple[Condition, ...] = ()
    waits_for: str = ""
    gpu_requested: int = 0
    created: float | None = None
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
    """A Kueue Workload: why a job is or is not admitted; `position` is 1-based, None when not asked or not waiting."""

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


class Gpu(Struct, frozen=True, gc=False):
    """One GPU as DCGM reports it; every reading is None when its series is absent."""

    key: DeviceKey
    index: int
    uuid: str = ""
    model: str = ""
    pod: PodKey | None = None
    utilisation_percent: float | None = None
    tensor_active_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    sm_clock_mhz: float | None = None
    xid: int | None = None
    xid_count: int | None = None
    throttle: str = ""
    at: float | None = None
    simulated: bool = False


class EfaDevice(Struct, frozen=True, gc=False):
    """One EFA device: counters as read, and rates (bits per second, ratio of packets) over the last two readings, None until there are two."""

    key: DeviceKey
    tx_bytes: int | None = None
    rx_bytes: int | None = None
    tx_bits_per_second: float | None = None
    rx_bits_per_second: float | None = None
    retransmit_ratio: float | None = None
    rx_drops: int | None = None
    unresponsive_events: int | None = None
    impaired_events: int | None = None
    line_bits_per_second: float | None = None
    at: float | None = None
    simulated: bool = False


class Event(Struct, frozen=True, gc=False):
    """A Kubernetes event, kept also after its object is gone."""

    key: PodKey
    involved_kind: str
    involved_namespace: str
    involved_name: str
    reason: str
    message: str
    type: str = "Normal"
    count: int = 1
    at: float | None = None
    source: str = ""


class Price(Struct, frozen=True, gc=False):
    """Dollars per hour of one offering; `source` says where it was read and when it was true."""

    instance_type: str
    zone: str
    capacity_type: str
    dollars_per_hour: float | None
    available: bool | None = None
    source: str = ""
    simulated: bool = False


class Served(Struct, frozen=True, gc=False):
    """A resource (`plural.group`) this cluster serves; `fields` maps dotted spec paths of its schema, three levels deep, to their types."""

    resource: str
    group: str
    version: str
    kind: str
    namespaced: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)


class Runtime(Struct, frozen=True, gc=False):
    """A TrainingRuntime (namespace set) or ClusterTrainingRuntime (namespace empty)."""

    key: PodKey
    resource_version: str
    framework: str = ""
    deprecated: bool = False


class Finding(Struct, frozen=True, gc=False):
    """Something wrong or worth saying: stable id, severity error | warning | info, one sentence, evidence lines, and how to mend it."""

    id: str
    severity: str
    message: str
    object: str = ""
    evidence: tuple[str, ...] = ()
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as the JSON contract prints it."""
        return {
            "id": self.id,
            "severity": self.severity,
            "message": self.message,
            "object": self.object,
            "evidence": list(self.evidence),
            "remedy": self.remedy,
        }


class State(enum.Enum):
    """How much a source may be believed now."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    DOWN = "down"
    ABSENT = "absent"


class Health(Struct, frozen=True):
    """A source's state: `since` is when it last heard from the outside (epoch seconds), `error` why it is stale, down or absent.

    `scope` is the only namespace that may be listed (empty: all of them), `unread` the resources of the source that may not be listed at all,
    `part` says how much is read where the source does not read everything (empty: all of it).
    """

    state: State = State.STARTING
    since: float | None = None
    error: CockpitError | None = None
    scope: str = ""
    unread: tuple[str, ...] = ()
    part: str = ""

    @property
    def believed(self) -> bool:
        """True when the rows of this source are fresh and complete within its scope."""
        return self.state is State.LIVE

    @property
    def forbidden(self) -> bool:
        """True when nothing of the source may be listed."""
        return self.state is State.DOWN and isinstance(self.error, Forbidden)

    def limits(self) -> str:
        """What is not seen and why, in words; empty when all is."""
        scope = f"only namespace {self.scope}: listing all is forbidden" if self.scope else ""
        unread = f"{', '.join(self.unread)} may not be listed" if self.unread else ""
        return "; ".join(filter(None, (scope, unread, self.part)))
