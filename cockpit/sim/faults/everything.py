"""Fault name -> effect."""

from __future__ import annotations

from cockpit.sim.faults.effects import Effect
from cockpit.sim.faults.gpus import Throttle, Xid
from cockpit.sim.faults.jobs import HangRank, KillRank, SlowRank
from cockpit.sim.faults.nodes import EfaRetransmit, NodeNotReady, SpotInterruption
from cockpit.sim.faults.services import ApiDown, InsufficientCapacity, WatchExpire

EFFECTS: dict[str, type[Effect]] = {
    "xid": Xid,
    "throttle": Throttle,
    "efa-retransmit": EfaRetransmit,
    "node-notready": NodeNotReady,
    "spot-interruption": SpotInterruption,
    "insufficient-capacity": InsufficientCapacity,
    "kill-rank": KillRank,
    "hang-rank": HangRank,
    "slow-rank": SlowRank,
    "api-down": ApiDown,
    "watch-expire": WatchExpire,
}
