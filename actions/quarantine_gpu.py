"""Quarantine-gpu: take single GPUs of a node out of what pods may be given; the others go on working."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.lookups import nodes_named
from actions.core.quarantining import changes_for, counted, gpus_named, look_at
from cockpit.errors import BadInput
from cockpit.model import Gpu, NodeName
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Which GPUs."""

    gpu: tuple[str, ...] = param("GPUs by UUID or as NODE/INDEX: GPU-...,GPU-...", picks="devices")
    node: str = param("node they must be on", "", picks="nodes")


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The device plugin and its configurations."""
    yield from look_at(clients, snapshot)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """A configuration without them for their nodes, the label that chooses it, the plugin restarted, and what it then offers."""
    gpus = _chosen(snapshot, params)
    fresh = [gpu for gpu in gpus if gpu.uuid not in snapshot.nodes[gpu.key.node].quarantined]
    if not fresh:
        return Plan(already=f"{', '.join(gpu.uuid for gpu in gpus)} quarantined already")
    names = dict.fromkeys(gpu.key.node for gpu in fresh)
    wanted: dict[str, list[str]] = {name: _with(snapshot, name, fresh) for name in names}
    changes = tuple(changes_for(snapshot, wanted))
    notes = (f"take {gpu.uuid} out: GPU {gpu.index} of {gpu.key.node}" + (f", xid {gpu.xid}" if gpu.xid else "") for gpu in fresh)
    return Plan(changes, notes=(*notes, *counted(changes)), warnings=tuple(_warnings(snapshot, fresh)))


def _with(snapshot: Snapshot, node: NodeName, gpus: list[Gpu]) -> list[str]:
    return sorted({*snapshot.nodes[node].quarantined, *(gpu.uuid for gpu in gpus if gpu.key.node == node)})


def _chosen(snapshot: Snapshot, params: Params) -> list[Gpu]:
    gpus = gpus_named(snapshot, params.gpu)
    where = nodes_named(snapshot, [params.node])[0].name if params.node else ""
    for gpu in gpus:
        if where and gpu.key.node != where:
            raise BadInput(f"--gpu {gpu.uuid} is on {gpu.key.node}, not on {where}", "leave --node out, or name that one")
    nodes_named(snapshot, [gpu.key.node for gpu in gpus])
    return gpus


def _warnings(snapshot: Snapshot, gpus: list[Gpu]) -> Iterator[str]:
    for gpu in gpus:
        if gpu.pod is not None:
            yield f"pod/{gpu.pod.name} -n {gpu.pod.namespace} has {gpu.uuid} and keeps it until it ends"
    for name in dict.fromkeys(gpu.key.node for gpu in gpus):
        if snapshot.nodes[name].gpu_allocatable is None:
            yield f"{name} has no GPU registered now"


ACTION = Action(
    name="quarantine-gpu",
    title="Quarantine GPU",
    key="Q",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster", "gpus"),
    needs=("nodes", "pods", "gpus"),
    look=look,
    plan=plan,
    fills={"device": "gpu", "node": "node"},
    doc="Takes GPUs out by UUID: a device plugin configuration for their nodes excludes them, and the plugin restarts. `undo` brings them back. "
    "A plugin that knows no device filter (NVIDIA's up to 0.18 does not) goes on offering them: that fails the last step, and says so.",
)
