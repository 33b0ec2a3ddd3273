"""Unquarantine-gpu: give GPUs that were taken out back to pods."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.quarantining import changes_for, counted, gpus_named, look_at
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Which GPUs."""

    gpu: tuple[str, ...] = param("GPUs by UUID or as NODE/INDEX: GPU-...,GPU-...", picks="devices")


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The device plugin and its configurations."""
    yield from look_at(clients, snapshot)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The configuration without the exclusion, or, when no GPU of the node is left in quarantine, the one the node had before."""
    held = {uuid: node for node in snapshot.nodes.values() for uuid in node.quarantined}
    asked = [uuid for name in params.gpu for uuid in ([name] if name in held else [gpu.uuid for gpu in gpus_named(snapshot, [name])])]
    freed = {uuid: held[uuid] for uuid in asked if uuid in held}
    if not freed:
        return Plan(already=f"{', '.join(params.gpu)} not quarantined")
    nodes = {node.name: node for node in freed.values()}
    wanted: dict[str, list[str]] = {name: [uuid for uuid in node.quarantined if uuid not in freed] for name, node in nodes.items()}
    changes = tuple(changes_for(snapshot, wanted))
    return Plan(changes, notes=(*(f"give {uuid} of {node.name} back" for uuid, node in freed.items()), *counted(changes)))


ACTION = Action(
    name="unquarantine-gpu",
    title="Give GPU back",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster", "gpus"),
    needs=("nodes", "pods", "gpus"),
    can_lack=("gpus",),
    look=look,
    plan=plan,
    fills={"device": "gpu"},
    doc="Gives quarantined GPUs back: the node's configuration without the exclusion, the plugin restarted. `undo` takes them out again.",
)
