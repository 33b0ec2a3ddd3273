"""What a manifest that was not configured here takes: its pods and GPUs, where they fit, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actions.core import Change, Plan
from actions.core.capacity import GPU, Want, dollars_per_hour
from actions.core.launch_words import counted, price
from actions.core.lints.flaws import at, items, mapping
from actions.core.sizing import sized
from cockpit.errors import Refused
from cockpit.snapshot import Snapshot

QUEUE = "kueue.x-k8s.io/queue-name"
PLACES = ("node.kubernetes.io/instance-type", "karpenter.sh/nodepool", "karpenter.sh/capacity-type", "topology.kubernetes.io/zone")
"""In the order of a Want's fields."""
EFA = "vpc.amazonaws.com/efa"


def priced(snapshot: Snapshot, changes: tuple[Change, ...]) -> Plan:
    """The plan of these changes, with what is known of their GPUs and price; GPUs that cannot be had are a warning, for the file may know better."""
    simulated = bool(len(snapshot.nodes)) and all(node.simulated for node in snapshot.nodes.values())
    notes, warnings, total = [], [], 0.0
    known = True
    for want, efa in (one for change in changes if change.body for one in wants(change.body)):
        notes.append(f"{counted(want.pods, 'pod')} x {counted(want.gpus, 'GPU')}")
        try:
            size = sized(snapshot, want, 1, efa)
        except Refused as refusal:
            warnings.append(refusal.message)
            known = False
            continue
        dollars, invented = dollars_per_hour(snapshot, want, size.places) if size.whole else (None, False)
        notes += [size.where(), price(dollars, invented or simulated, size)]
        total, known = total + (dollars or 0.0), known and dollars is not None
    return Plan(changes, warnings=tuple(warnings), notes=tuple(notes), dollars_per_hour=total if known and notes else None, simulated=simulated)


def wants(body: Mapping[str, Any]) -> Iterable[tuple[Want, int]]:
    """The pods with GPUs that a training job asks for, with their EFA devices."""
    waits = QUEUE in mapping(body, "metadata", "labels")
    if body.get("kind") == "TrainJob":
        limits = mapping(body, "spec", "trainer", "resourcesPerNode", "limits") or mapping(body, "spec", "trainer", "resourcesPerNode", "requests")
        yield from _want(at(body, "spec", "trainer", "numNodes") or 1, limits, {}, waits)
    for replica in mapping(body, "spec", "pytorchReplicaSpecs").values():
        pod = mapping(replica, "template", "spec")
        limits = mapping(items(pod, "containers"), 0, "resources", "limits")
        yield from _want(at(replica, "replicas") or 1, limits, mapping(pod, "nodeSelector"), waits)


def _want(pods: Any, limits: Mapping[str, Any], chosen: Mapping[str, Any], waits: bool) -> Iterable[tuple[Want, int]]:
    gpus = _whole(limits.get(GPU))
    if gpus and _whole(pods):
        kind, pool, capacity, zone = (str(chosen.get(label) or "") for label in PLACES)
        yield Want(_whole(pods), gpus, kind, pool, capacity, zone, waits=waits), _whole(limits.get(EFA))


def _whole(amount: Any) -> int:
    return int(amount) if str(amount).isdecimal() else 0
