"""Make what a training cluster is made of, from the network to a queue, or take it down; from what exists, so that it may be run again."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from actions.core import Action, Clients, Outcome, Plan, Risk
from actions.core.provisioning import TARGETS, Params
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

SOURCES = {"nodepool": ("served", "nodepools"), "queue": ("served", "nodepools"), "addons": ("served",)}


def _module(target: str) -> ModuleType:
    """The room of a target: `ask` looks outside, `plan` is pure."""
    return importlib.import_module("actions.core.provisioning." + target.replace("-", "_"))


def more_needs(params: Params) -> tuple[str, ...]:
    """What of the cluster a target is planned from; the network and the cluster itself need none of it."""
    return SOURCES.get(params.target, ())


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """What AWS, the programs and the API say of the target, until it is all or time is over."""
    for fact in _module(params.target).ask(clients, snapshot, params, stop):
        yield fact
        if stop.is_set():
            return


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What is missing, in order."""
    found: Plan = _module(params.target).plan(snapshot, params)
    return found


def follow(snapshot: Snapshot, params: Any) -> Outcome:
    """How a node pool stands; the other targets are whole when they were applied."""
    stands = getattr(_module(params.target), "stands", None)
    found: Outcome = stands(snapshot, params) if stands else Outcome(True)
    return found


ACTION = Action(
    name="provision",
    title="Provision",
    params=Params,
    risk=Risk.SPEND,
    more_needs=more_needs,
    can_lack=("nodepools",),
    look=look,
    front=("kube-if-any", "shell"),
    plan=plan,
    follow=follow,
    follow_needs=("nodepools", "nodeclasses"),
    doc=f"Makes one of {', '.join(TARGETS[:-1])}, or takes all down with teardown. It plans from what exists, so a run that was cut short is run "
    "again. Terraform, eksctl and helm are run where they are needed; what they say is told as it comes.",
)
