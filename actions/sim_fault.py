"""Make something go wrong on the practice cluster, or heal it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actions.core import Action, Change, Plan, Risk, Target, param
from actions.core.lookups import nodes_named, one_job
from actions.core.render import manifest
from cockpit.errors import BadInput
from cockpit.snapshot import Snapshot

ON_NODES = ("xid", "throttle", "efa-retransmit", "node-notready", "spot-interruption")
ON_RANKS = ("kill-rank", "hang-rank", "slow-rank")
FAULTS = (*ON_NODES, "insufficient-capacity", *ON_RANKS, "api-down", "watch-expire")
RESOURCE = "faults.sim.cockpit.dev"


@dataclass(frozen=True)
class Params:
    """Which fault, and where it strikes."""

    fault: str = param("what goes wrong", choices=FAULTS)
    node: str = param(f"node it strikes: {', '.join(ON_NODES)}", "", picks="nodes")
    gpu: int | None = param("GPU index on the node: xid, throttle", None, minimum=0)
    device: str = param("EFA device on the node: efa-retransmit", "")
    job: str = param(f"job it strikes: {', '.join(ON_RANKS)}", "", picks="jobs")
    rank: int | None = param("rank of the job", None, minimum=0)
    instance_type: str = param("EC2 type without capacity: insufficient-capacity", "")
    zone: str = param("zone without capacity: insufficient-capacity", "")
    capacity_type: str = param("capacity that is short: insufficient-capacity", "", choices=("on-demand", "spot", "reserved"))
    xid: int | None = param("XID code: xid", None, minimum=1)
    seconds: float | None = param("ends by itself after this many seconds; else it stays until cleared", None, minimum=0)
    factor: float | None = param("speed that is left, 0 to 1: throttle, slow-rank, efa-retransmit", None, minimum=0)
    clear: bool = param("heal every fault of this sort instead", False)
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why there is nothing to break here; None while it is not known."""
    if not snapshot.believed("served") or RESOURCE in snapshot.served:
        return None
    return "this is not the practice cluster: it serves no faults; open it with --sim"


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Create one Fault, or delete all of a sort."""
    if params.clear:
        return Plan((_healing(params),))
    target = _target(snapshot, params)
    holes = {"fault": params.fault, "target": target or None, "xid": params.xid, "seconds": params.seconds, "factor": params.factor}
    where = ", ".join(f"{key} {value}" for key, value in target.items()) or "the whole cluster"
    lasts = f" for {params.seconds:g} s" if params.seconds else ""
    summary = f"SIMULATED {params.fault} on {where}{lasts}"
    body = manifest("fault", holes)
    created = Change("kube", "create", _object(), summary, "kubectl create -f -", body, "application/json", after=body, inverse=_healing(params))
    return Plan((created,))


def _object() -> Target:
    return Target("Fault", "", "", "sim.cockpit.dev", "v1alpha1", "faults")


def _healing(params: Params) -> Change:
    selector = f"cockpit.dev/fault={params.fault}"
    return Change("kube", "delete", _object(), f"heal every {params.fault}", f"kubectl delete faults -l {selector}", selector=selector)


def _target(snapshot: Snapshot, params: Params) -> dict[str, Any]:
    """What the fault strikes; BadInput when the fault needs a node or a job that was not named, or is not there."""
    if params.fault in ON_NODES and not params.node:
        raise BadInput(f"{params.fault} needs --node", f"for example --node {next(iter(sorted(snapshot.nodes)), 'NAME')}")
    if params.fault in ON_RANKS and not params.job:
        raise BadInput(f"{params.fault} needs --job", "and --rank, which is 0 by default")
    if params.factor is not None and params.factor > 1:
        raise BadInput(f"--factor is {params.factor:g}", "the most is 1: no loss of speed")
    if params.node:
        nodes_named(snapshot, [params.node])
    job = one_job(snapshot, params.job, params.namespace) if params.job else None
    found = {
        "node": params.node,
        "gpu": params.gpu,
        "device": params.device,
        "namespace": job.key.namespace if job else "",
        "job": params.job,
        "rank": params.rank if params.rank is not None or not job else 0,
        "instanceType": params.instance_type,
        "zone": params.zone,
        "capacityType": params.capacity_type,
    }
    return {key: value for key, value in found.items() if value not in (None, "")}


ACTION = Action(
    name="sim-fault",
    title="Simulate a fault",
    params=Params,
    risk=Risk.CHANGE,
    needs=("served", "nodes", "jobs"),
    plan=plan,
    fills={"node": "node", "job": "job"},
    disabled=disabled,
    doc="On the practice cluster alone: makes a GPU, a node, a network device, a rank or the API fail, so that the cockpit can be seen at work.",
)
