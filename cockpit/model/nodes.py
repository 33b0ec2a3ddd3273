"""Machines: nodes with their GPUs and EFA devices, what Karpenter makes them from, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from cockpit.model.keys import ClaimName, Condition, DeviceKey, NodeName, PodKey, PoolName


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


class NodeClass(Struct, frozen=True, gc=False):
    """A Karpenter EC2NodeClass: its conditions say what a NodePool that uses it waits for."""

    name: str
    resource_version: str
    ready: bool | None = None
    conditions: tuple[Condition, ...] = ()


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


class Price(Struct, frozen=True, gc=False):
    """Dollars per hour of one offering; `source` says where it was read and when it was true."""

    instance_type: str
    zone: str
    capacity_type: str
    dollars_per_hour: float | None
    available: bool | None = None
    source: str = ""
    simulated: bool = False


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
