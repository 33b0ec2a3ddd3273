"""Karpenter: what a NodePool can really give, and the fields that moved between its API versions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from actions.core.capacity import Want, arithmetic, on_nodes, on_pools, placed
from actions.core.lints.devices import POOL, TYPE_LABEL, ZONE
from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, items, mapping, put
from actions.core.lints.kueue import QUEUE
from actions.core.lints.resources import GPU, quantity
from actions.core.lints.shapes import TRAINING, pods_of
from actions.core.params import nearest
from cockpit.instance_types import InstanceType, instance_types

TEMPLATE: Path = ("spec", "template", "spec")
CATEGORY, FAMILY = "karpenter.k8s.aws/instance-category", "karpenter.k8s.aws/instance-family"
FEW_NODES = 8
"""GPU nodes below which a limit on CPUs is taken for an accident."""
CPU_LIMIT = Rule(
    "nodepool-cpu-limit",
    "warning",
    "a GPU NodePool is limited by CPUs alone",
    "large GPU nodes have 96 to 192 of them: the limit is a handful of nodes, and says so only in Karpenter's log",
)
MOVED = Rule("nodepool-expire-after", "error", "expireAfter under disruption", "since karpenter.sh/v1 it belongs to template.spec", mends=True)
POLICY = Rule(
    "nodepool-consolidation", "error", "consolidationPolicy WhenUnderutilized", "since karpenter.sh/v1 it is WhenEmptyOrUnderutilized", mends=True
)
CLASS_REF = Rule("nodepool-class-ref", "error", "nodeClassRef without its group", "karpenter.sh/v1 wants group, kind and name", mends=True)
NO_CLASS = Rule("nodepool-unknown-class", "error", "an EC2NodeClass that does not exist", "the NodePool is never Ready")
NO_POOL = Rule("job-unknown-nodepool", "error", "a NodePool that does not exist", "no node will ever have the label")
NO_ROOM = Rule("no-room", "warning", "the GPUs asked for are not to be had", "pods stay Pending while the others wait for them")
RULES = (CPU_LIMIT, MOVED, POLICY, CLASS_REF, NO_CLASS, NO_POOL, NO_ROOM)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with a NodePool, and whether a job finds its nodes."""
    if document.kind == "NodePool":
        yield from _moved(document)
        yield from _limits(document)
        yield from _class(document, context)
    elif document.kind in TRAINING:
        yield from _job(document, context)


def _moved(document: Document) -> Iterator[Flaw]:
    disruption = mapping(document.data, "spec", "disruption")
    if "expireAfter" in disruption:
        mended = f"template: {{spec: {{expireAfter: {disruption['expireAfter']}}}}}"
        yield MOVED.at(("spec", "disruption", "expireAfter"), "spec.disruption has no expireAfter", mended, _move_expiry)
    if disruption.get("consolidationPolicy") == "WhenUnderutilized":
        path: Path = ("spec", "disruption", "consolidationPolicy")
        right = "WhenEmptyOrUnderutilized"
        yield POLICY.at(path, "there is no WhenUnderutilized", f"consolidationPolicy: {right}", lambda root: put(root, path, right))
    reference = mapping(document.data, *TEMPLATE, "nodeClassRef")
    if reference and ("apiVersion" in reference or not reference.get("group")):
        path = (*TEMPLATE, "nodeClassRef")
        yield CLASS_REF.at(path, "it has no group", "group: karpenter.k8s.aws, kind: EC2NodeClass", _regroup_reference)


def _move_expiry(root: Any) -> None:
    value = root["spec"]["disruption"].pop("expireAfter")
    at(root, *TEMPLATE).setdefault("expireAfter", value)


def _regroup_reference(root: Any) -> None:
    held = at(root, *TEMPLATE, "nodeClassRef")
    version = str(held.pop("apiVersion", ""))
    held["group"] = version.partition("/")[0] if "/" in version else "karpenter.k8s.aws"
    held.setdefault("kind", "EC2NodeClass")


def _limits(document: Document) -> Iterator[Flaw]:
    limits = mapping(document.data, "spec", "limits")
    cpus = quantity(limits.get("cpu"))
    types = _types(document.data)
    if cpus is None or GPU in limits or not types:
        return
    largest = max(types, key=lambda one: (one.vcpu, one.gpus))
    nodes = math.floor(cpus / largest.vcpu)
    if nodes < FEW_NODES:
        message = f"cpu {limits['cpu']} is {nodes} x {largest.name} ({largest.vcpu} vCPU each), {nodes * largest.gpus} GPUs"
        yield CPU_LIMIT.at(("spec", "limits", "cpu"), message, f"limits: {{{GPU}: 64}}, as many as you are ready to pay for")


def _types(pool: Mapping[str, Any]) -> list[InstanceType]:
    """The instance types with GPUs that a NodePool's requirements allow, as far as the table knows them."""
    asked: dict[str, set[str]] = {}
    for one in items(pool, *TEMPLATE, "requirements"):
        if mapping(one).get("operator") == "In":
            asked.setdefault(str(one.get("key")), set()).update(str(value) for value in items(one, "values"))
    if not {TYPE_LABEL, CATEGORY, FAMILY} & set(asked):
        return []
    found = []
    for one in instance_types().values():
        family = one.name.partition(".")[0]
        facts = ((TYPE_LABEL, one.name), (FAMILY, family), (CATEGORY, "".join(takewhile(str.isalpha, family))))
        if one.gpus and all(key not in asked or value in asked[key] for key, value in facts):
            found.append(one)
    return found


def _class(document: Document, context: Context) -> Iterator[Flaw]:
    name = str(mapping(document.data, *TEMPLATE, "nodeClassRef").get("name") or "")
    there = context.named("EC2NodeClass")
    if name and name not in there and "EC2NodeClass" in context.complete:
        yield NO_CLASS.at((*TEMPLATE, "nodeClassRef", "name"), f"no EC2NodeClass {name!r}", nearest(name, sorted(there)))


def _job(document: Document, context: Context) -> Iterator[Flaw]:
    snapshot = context.snapshot
    if snapshot is None:
        return
    found = list(pods_of(document, context))
    for pods in found:
        pool = pods.selected(POOL)
        there = set(context.named("NodePool")) | set(snapshot.nodepools)
        if pool and pool not in there and snapshot.sees("nodepools"):
            yield NO_POOL.at((*pods.spec_path, "nodeSelector", POOL), f"no NodePool {pool!r}", nearest(pool, sorted(there)))
            return
    if any(context.objects("NodePool")) and not snapshot.sees("nodepools"):
        return
    yield from _room(document, context, found)


def _room(document: Document, context: Context, found: list[Any]) -> Iterator[Flaw]:
    """The arithmetic of the whole job: its widest template stands for all of them."""
    snapshot = context.snapshot
    first = max(found, key=lambda pods: pods.gpus, default=None)
    if snapshot is None or first is None or not first.gpus or not (snapshot.sees("nodes") and snapshot.sees("nodepools") and snapshot.sees("pods")):
        return
    waits = bool(mapping(document.data, "metadata", "labels").get(QUEUE))
    kind, pool, capacity, zone = (first.selected(label) for label in (TYPE_LABEL, POOL, "karpenter.sh/capacity-type", ZONE))
    want = Want(sum(pods.count for pods in found if pods.gpus), first.gpus, kind, pool, capacity, zone, waits)
    rooms = [*on_nodes(snapshot, want), *on_pools(snapshot, want, instance_types())]
    own = any(one.get("kind") == "NodePool" for one in (document.data for document in context.documents) if isinstance(one, Mapping))
    if sum(pods for _, pods in placed(want, rooms)) < want.pods and not own:
        path = first.main.resources if first.main else first.spec_path
        yield NO_ROOM.at(path, arithmetic(want, rooms), "fewer pods or GPUs, another selector, or larger limits of a NodePool")
