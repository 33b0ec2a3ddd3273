"""Taint: keep pods off nodes that do not tolerate it, or take such a mark away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Change, Plan, Risk, Target, param
from actions.core.lookups import nodes_named
from cockpit.errors import BadInput
from cockpit.model import Node
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True)
class Params:
    """Which nodes, and which taint."""

    node: tuple[str, ...] = param("nodes to taint: a,b,c", picks="nodes")
    key: str = param("key of the taint, as in maintenance or example.com/why")
    value: str = param("its value", "")
    effect: str = param("what it does to pods that do not tolerate it", "NoSchedule", choices=EFFECTS)
    remove: bool = param("take the taint of this key and effect away instead", False)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch a node; nodes that are as asked for are left as they are."""
    if not KEY.fullmatch(params.key) or not VALUE.fullmatch(params.value):
        raise BadInput(
            f"--key {params.key!r} with --value {params.value!r} is no taint", "letters, digits, - _ . with an optional prefix before one slash"
        )
    nodes = nodes_named(snapshot, params.node)
    wanted = {node.name: _wanted(node, params) for node in nodes}
    moving = [node for node in nodes if wanted[node.name] != _held(node)]
    if not moving:
        return Plan(already=f"{', '.join(node.name for node in nodes)} {'without' if params.remove else 'with'} {_named(params)} already")
    changes = tuple(_change(node, params, wanted[node.name]) for node in moving)
    pods = [pod for node in moving for pod in snapshot.pods_on(node.name) if pod.phase in OCCUPYING_PHASES]
    drives_off = params.effect == "NoExecute" and not params.remove and bool(pods)
    return Plan(changes, warnings=tuple(_warnings(snapshot, moving, drives_off)), risk=Risk.DESTROY if drives_off else None, confirm=moving[0].name)


def _held(node: Node) -> list[dict[str, str]]:
    times = (*node.taint_times, *[""] * len(node.taints))
    return [_parsed(text) | ({"timeAdded": at} if at else {}) for text, at in zip(node.taints, times, strict=False)]


def _parsed(text: str) -> dict[str, str]:
    """`key=value:Effect` as the API writes it."""
    name, _, effect = text.rpartition(":")
    key, equals, value = name.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if equals else {})


def _wanted(node: Node, params: Params) -> list[dict[str, str]]:
    taint = {"key": params.key, "effect": params.effect} | ({"value": params.value} if params.value else {})
    found = _held(node)
    same = [one for one in found if (one["key"], one["effect"]) == (params.key, params.effect)]
    if params.remove:
        return [one for one in found if one not in same]
    if any(one.get("value", "") == params.value for one in same):
        return found
    return [*(one for one in found if one not in same), taint]


def _change(node: Node, params: Params, taints: list[dict[str, str]]) -> Change:
    target = Target("Node", node.name, plural="nodes")
    verb = "untaint" if params.remove else "taint"
    back = "" if params.remove else "-"
    held = _held(node)
    undone: dict[str, Any] = {"spec": {"taints": held or None}}
    inverse = Change("kube", "patch", target, f"{verb} {node.name} back", f"kubectl taint node {node.name} {_named(params)}{back}", undone)
    return Change(
        "kube",
        "patch",
        target,
        f"{verb} {node.name}: {_named(params)}",
        f"kubectl taint node {node.name} {_named(params)}{'-' if params.remove else ''} --overwrite",
        {"spec": {"taints": taints or None}},
        resource_version=node.resource_version,
        before={"taints": list(node.taints)},
        after={"taints": [_text(one) for one in taints]},
        inverse=inverse,
    )


def _text(one: dict[str, str]) -> str:
    return f"{one['key']}={one['value']}:{one['effect']}" if one.get("value") else f"{one['key']}:{one['effect']}"


def _named(params: Params) -> str:
    return _text({"key": params.key, "value": "" if params.remove else params.value, "effect": params.effect})


def _warnings(snapshot: Snapshot, nodes: list[Node], drives_off: bool) -> Iterator[str]:
    for node in nodes if drives_off else ():
        jobs = ", ".join(key.name for key in snapshot.jobs_on(node.name))
        yield f"{node.name}: pods that do not tolerate it are evicted at once, past every disruption budget" + (f"; here run {jobs}" if jobs else "")


ACTION = Action(
    name="taint",
    title="Taint",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster",),
    needs=("nodes", "pods"),
    can_lack=("pods",),
    plan=plan,
    fills={"node": "node"},
    form=True,
    doc="Adds a taint to nodes, or with --remove takes it away; other taints stay as they are. `undo` brings back what was.",
)
