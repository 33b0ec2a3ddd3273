"""Stop the practice cluster and every process of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from actions.core import Action, Change, Plan, Risk, Target
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """There is one practice cluster, so nothing to say."""


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One command; the practice cluster itself knows whether it runs."""
    argv = (sys.executable, "-m", "cockpit.sim", "stop")
    line = "python -m cockpit.sim stop"
    return Plan((Change("shell", "run", Target("Program", "cockpit.sim"), "stop the practice cluster and all its processes", line, argv=argv),))


ACTION = Action(
    name="sim-stop",
    title="Stop the practice cluster",
    params=Params,
    risk=Risk.CHANGE,
    front=("shell",),
    plan=plan,
    doc="Ends the practice cluster with every process of it; its jobs are gone, and `--sim` starts a fresh one.",
)
