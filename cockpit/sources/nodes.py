"""Nodes: what they hold, who made them, and what is wrong with them, whichever way round a condition says it."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from cockpit.model import Condition, Node, NodeName
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Quantities, RawCondition, condition, count, intern, quantity, seconds
from cockpit.sources.reflect import Reflector

GPU, EFA = "nvidia.com/gpu", "vpc.amazonaws.com/efa"
HEALTHY_WHEN_TRUE = ("Ready", "Healthy", "Available", "IsVoter")
CAPACITY_TYPES = {"SPOT": "spot", "ON_DEMAND": "on-demand", "CAPACITY_BLOCK": "reserved"}


class RawLabels(
    msgspec.Struct,
    gc=False,
    rename={
        "type": "node.kubernetes.io/instance-type",
        "old_type": "beta.kubernetes.io/instance-type",
        "zone": "topology.kubernetes.io/zone",
        "old_zone": "failure-domain.beta.kubernetes.io/zone",
        "region": "topology.kubernetes.io/region",
        "old_region": "failure-domain.beta.kubernetes.io/region",
        "capacity_type": "karpenter.sh/capacity-type",
        "group_capacity_type": "eks.amazonaws.com/capacityType",
        "pool": "karpenter.sh/nodepool",
        "group": "eks.amazonaws.com/nodegroup",
        "gpu_product": "nvidia.com/gpu.product",
        "gpu_name": "karpenter.k8s.aws/instance-gpu-name",
        "auto_gpu_name": "eks.amazonaws.com/instance-gpu-name",
        "layer_1": "topology.k8s.aws/network-node-layer-1",
        "layer_2": "topology.k8s.aws/network-node-layer-2",
        "layer_3": "topology.k8s.aws/network-node-layer-3",
        "plugin_config": "nvidia.com/device-plugin.config",
        "simulated": "cockpit.dev/simulated",
    },
):
    """The labels that are read; of the sixty and more that a GPU node carries the others cost nothing."""

    type: str | None = None
    old_type: str | None = None
    zone: str | None = None
    old_zone: str | None = None
    region: str | None = None
    old_region: str | None = None
    capacity_type: str | None = None
    group_capacity_type: str | None = None
    pool: str | None = None
    group: str | None = None
    gpu_product: str | None = None
    gpu_name: str | None = None
    auto_gpu_name: str | None = None
    layer_1: str | None = None
    layer_2: str | None = None
    layer_3: str | None = None
    plugin_config: str | None = None
    simulated: str | None = None


class RawAnnotations(
    msgspec.Struct,
    gc=False,
    rename={
        "cordon_reason": "cockpit.dev/cordon-reason",
        "quarantined": "cockpit.dev/quarantined-gpus",
        "former_config": "cockpit.dev/device-plugin-config-before",
    },
):
    cordon_reason: str | None = None
    quarantined: str | None = None
    former_config: str | None = None


class RawMeta(msgspec.Struct, rename="camel"):
    name: str | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    labels: RawLabels | None = None
    annotations: RawAnnotations | None = None


class RawTaint(msgspec.Struct, gc=False, rename="camel"):
    key: str | None = None
    value: str | None = None
    effect: str | None = None
    time_added: str | None = None


class RawSpec(msgspec.Struct):
    unschedulable: bool | None = None
    taints: list[RawTaint | None] | None = None


class RawAddress(msgspec.Struct, gc=False):
    type: str | None = None
    address: str | None = None


class RawStatus(msgspec.Struct):
    capacity: Quantities | None = None
    allocatable: Quantities | None = None
    conditions: list[RawCondition | None] | None = None
    addresses: list[RawAddress | None] | None = None


class RawNode(msgspec.Struct):
    """A v1 Node."""

    metadata: RawMeta | None = None
    spec: RawSpec | None = None
    status: RawStatus | None = None


_NO_META, _NO_SPEC, _NO_STATUS, _NO_LABELS = RawMeta(), RawSpec(), RawStatus(), RawLabels()


def to_node(raw: RawNode) -> Node:
    """A v1 Node -> Node; `problems` holds only what is bad now."""
    meta, spec, status = raw.metadata or _NO_META, raw.spec or _NO_SPEC, raw.status or _NO_STATUS
    labels, annotations = meta.labels or _NO_LABELS, meta.annotations
    allocatable, capacity = status.allocatable or {}, status.capacity or {}
    ready, problems = _conditions(status.conditions)
    memory = quantity(allocatable.get("memory"))
    return Node(
        name=NodeName(intern(meta.name or "")),
        resource_version=meta.resource_version or "",
        instance_type=intern(labels.type or labels.old_type or ""),
        zone=intern(labels.zone or labels.old_zone or ""),
        region=intern(labels.region or labels.old_region or ""),
        capacity_type=_capacity_type(labels),
        pool=intern(labels.pool or labels.group or ""),
        internal_ip=_internal_ip(status.addresses),
        gpu_capacity=count(capacity.get(GPU)),
        gpu_allocatable=count(allocatable.get(GPU)),
        efa_allocatable=count(allocatable.get(EFA)),
        cpu_allocatable=quantity(allocatable.get("cpu")),
        memory_allocatable_bytes=None if memory is None else int(memory),
        gpu_model=intern(labels.gpu_product or labels.gpu_name or labels.auto_gpu_name or ""),
        cordoned=bool(spec.unschedulable),
        cordon_reason=(annotations and annotations.cordon_reason) or "",
        ready=ready,
        problems=problems,
        taints=tuple([taint(one) for one in spec.taints if one and one.key]) if spec.taints else (),
        taint_times=tuple([one.time_added or "" for one in spec.taints if one and one.key]) if spec.taints else (),
        plugin_config=intern(labels.plugin_config or ""),
        former_config=(annotations and annotations.former_config) or "",
        quarantined=tuple(annotations.quarantined.split(",")) if annotations and annotations.quarantined else (),
        topology=tuple([intern(layer) for layer in (labels.layer_1, labels.layer_2, labels.layer_3) if layer]),
        created=seconds(meta.creation_timestamp),
        simulated=labels.simulated == "true",
    )


def _conditions(found: list[RawCondition | None] | None) -> tuple[bool | None, tuple[Condition, ...]]:
    """Whether the node is ready (None: nobody says), and the conditions that are bad now."""
    ready: bool | None = None
    problems: tuple[Condition, ...] = ()
    for one in found or ():
        if one and one.type:
            if ready is None and one.type == "Ready":
                ready = one.status == "True"
            if is_problem(one.type, one.status or ""):
                problems += (condition(one),)
    return ready, problems


def _internal_ip(addresses: list[RawAddress | None] | None) -> str:
    for one in addresses or ():
        if one and one.type == "InternalIP":
            return one.address or ""
    return ""


@lru_cache(1024)
def is_problem(type_: str, status: str) -> bool:
    """True when a condition of this type and status is bad: `*Ready` is good when True, pressures and faults when False."""
    if type_ == "Ready":
        return status != "True"
    if type_.endswith(HEALTHY_WHEN_TRUE):
        return status == "False"
    return status == "True"


def _capacity_type(labels: RawLabels) -> str:
    found = labels.capacity_type or labels.group_capacity_type or ""
    return intern(CAPACITY_TYPES.get(found, found))


def taint(raw: RawTaint) -> str:
    """`key=value:Effect`, as kubectl taints."""
    return intern(f"{raw.key}={raw.value}:{raw.effect or ''}" if raw.value else f"{raw.key}:{raw.effect or ''}")


def source() -> Reflector:
    """Every node of the cluster."""
    return Reflector("nodes", Listing("nodes", ("/api/v1/nodes",), RawNode, to_node, lambda namespace, name: name))
