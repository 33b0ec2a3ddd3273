"""Nodes: what they hold, who made them, and what is wrong with them, whichever way round a condition says it."""

from __future__ import annotations

import msgspec

from cockpit.model import Node, NodeName
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta, Quantities, RawCondition, condition, count, intern, quantity, seconds
from cockpit.sources.reflect import Reflector

GPU, EFA = "nvidia.com/gpu", "vpc.amazonaws.com/efa"
TOPOLOGY = tuple(f"topology.k8s.aws/network-node-layer-{layer}" for layer in (1, 2, 3))
GPU_MODEL = ("nvidia.com/gpu.product", "karpenter.k8s.aws/instance-gpu-name", "eks.amazonaws.com/instance-gpu-name")
HEALTHY_WHEN_TRUE = ("Ready", "Healthy", "Available", "IsVoter")
CAPACITY_TYPES = {"SPOT": "spot", "ON_DEMAND": "on-demand", "CAPACITY_BLOCK": "reserved"}


class RawTaint(msgspec.Struct, gc=False):
    key: str | None = None
    value: str | None = None
    effect: str | None = None


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

    metadata: Meta | None = None
    spec: RawSpec | None = None
    status: RawStatus | None = None


def to_node(raw: RawNode) -> Node:
    """A v1 Node -> Node; `problems` holds only what is bad now."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawSpec(), raw.status or RawStatus()
    allocatable, capacity = status.allocatable or {}, status.capacity or {}
    found = [one for one in status.conditions or () if one and one.type]
    ready = next((one.status for one in found if one.type == "Ready"), None)
    memory = quantity(allocatable.get("memory"))
    return Node(
        name=NodeName(intern(meta.name or "")),
        resource_version=meta.resource_version or "",
        instance_type=intern(meta.label("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")),
        zone=intern(meta.label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")),
        region=intern(meta.label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")),
        capacity_type=_capacity_type(meta),
        pool=intern(meta.label("karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup")),
        internal_ip=next((one.address or "" for one in status.addresses or () if one and one.type == "InternalIP"), ""),
        gpu_capacity=count(capacity.get(GPU)),
        gpu_allocatable=count(allocatable.get(GPU)),
        efa_allocatable=count(allocatable.get(EFA)),
        cpu_allocatable=quantity(allocatable.get("cpu")),
        memory_allocatable_bytes=None if memory is None else int(memory),
        gpu_model=intern(meta.label(*GPU_MODEL)),
        cordoned=bool(spec.unschedulable),
        cordon_reason=meta.annotation("cockpit.dev/cordon-reason"),
        ready=None if ready is None else ready == "True",
        problems=tuple(condition(one) for one in found if is_problem(one.type or "", one.status or "")),
        taints=tuple(taint(one) for one in spec.taints or () if one and one.key),
        topology=tuple(intern(value) for name in TOPOLOGY if (value := meta.label(name))),
        created=seconds(meta.creation_timestamp),
        simulated=meta.label("cockpit.dev/simulated") == "true",
    )


def is_problem(type_: str, status: str) -> bool:
    """True when a condition of this type and status is bad: `*Ready` is good when True, pressures and faults when False."""
    if type_ == "Ready":
        return status != "True"
    if type_.endswith(HEALTHY_WHEN_TRUE):
        return status == "False"
    return status == "True"


def _capacity_type(meta: Meta) -> str:
    found = meta.label("karpenter.sh/capacity-type", "eks.amazonaws.com/capacityType")
    return intern(CAPACITY_TYPES.get(found, found))


def taint(raw: RawTaint) -> str:
    """`key=value:Effect`, as kubectl taints."""
    return intern(f"{raw.key}={raw.value}:{raw.effect or ''}" if raw.value else f"{raw.key}:{raw.effect or ''}")


def source() -> Reflector:
    """Every node of the cluster."""
    return Reflector("nodes", Listing("nodes", ("/api/v1/nodes",), RawNode, to_node, lambda namespace, name: name))
