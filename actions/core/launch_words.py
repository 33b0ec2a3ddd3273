"""What is said about a launch before it is done: how much it takes, where it runs, what it costs, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterator

from actions.core.capacity import GPU
from actions.core.kinds import KINDS
from actions.core.launch_params import LOCAL_QUEUES, Origin, Params
from actions.core.places import Place
from actions.core.scripts import Script
from actions.core.sizing import Size
from actions.core.strategies import TRAINJOB_GRACE_SECONDS
from actions.core.training_jobs import override_of
from cockpit.model import NodeName, QueueKey, Served
from cockpit.snapshot import Snapshot

CHECKPOINT_EVERY = 100
"""What the training programs take when nothing is said."""


def saves(params: Params, place: Place) -> str:
    """Where checkpoints go, and what the training begins with."""
    begins = {"auto": "goes on from the last whole one there, if any", "none": "begins anew"}.get(params.resume, f"goes on from step {params.resume}")
    return f"saves to {place.where} every {params.checkpoint_every or CHECKPOINT_EVERY} steps and at the end; {begins}"


def lacking(params: Params, place: Place, script: Script | None) -> Iterator[str]:
    if place.warning:
        yield place.warning
    if params.kind == "TrainJob" and (params.grace or 0) > TRAINJOB_GRACE_SECONDS:
        yield f"the pods of a TrainJob are killed after 30 s: --grace is cut to {TRAINJOB_GRACE_SECONDS}"
    if script is not None and place.where:
        yield f"{script.name} saves only if it does so itself: CHECKPOINT_DIR tells it where, CHECKPOINT_RESUME from what"


def not_avoided(kind: str, served: Served, origin: Origin) -> Iterator[str]:
    if kind == "TrainJob" and origin.avoid and override_of(served) == "podSpecOverrides":
        yield f"this TrainJob API takes no affinity: cordon {', '.join(origin.avoid)} to keep the job away"


def unchecked(snapshot: Snapshot, params: Params, size: Size) -> Iterator[str]:
    """What could not be looked at, and so is not promised."""
    if size.want.gpus and snapshot.forbidden("nodes"):
        yield f"nodes may not be listed: whether {counted(size.want.total, 'GPU')} can be had is not checked; --gpus 0 trains on CPUs"
    if size.want.gpus and snapshot.forbidden("nodepools"):
        yield "NodePools may not be listed: what Karpenter may add is not checked"
    if size.want.gpus and len(snapshot.nodes) and (snapshot.forbidden("pods") or snapshot.limits("pods")):
        yield "pods of other namespaces are not seen: the nodes may be fuller than they look from here"
    if params.queue and not snapshot.sees("queues", params.namespace, LOCAL_QUEUES):
        yield f"LocalQueues of {params.namespace} may not be listed: whether {params.queue} is there is not checked"
    if snapshot.forbidden("jobs") or (snapshot.limits("jobs") and not snapshot.sees("jobs", params.namespace, KINDS[params.kind])):
        yield f"{params.kind}s of {params.namespace} may not be listed: whether the name is free is not checked"


def headline(params: Params, size: Size) -> str:
    ranks = params.nodes * params.nproc
    gpus = counted(size.want.total, "SIMULATED GPU" if size.simulated else "GPU") if size.want.gpus else "no GPU"
    efa = f", {size.efa} EFA devices a pod" if size.efa else ""
    return f"{params.kind} {params.namespace}/{params.name}: {counted(params.nodes, 'pod')} x {params.nproc} = {counted(ranks, 'rank')}, {gpus}{efa}"


def counted(count: int, noun: str) -> str:
    """1 pod, 2 pods."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def price(dollars: float | None, invented: bool, size: Size) -> str:
    if dollars is None:
        return "costs an unknown price: no list of prices here has its offering" if size.want.gpus else "adds no GPU to the bill"
    return f"costs ${dollars:,.2f}/h{' (SIMULATED)' if invented else ''}"


def quota(snapshot: Snapshot, params: Params, size: Size) -> Iterator[str]:
    """The GPUs its queue still has of its quota."""
    local = snapshot.queues.get(QueueKey(params.namespace, params.queue)) if params.queue else None
    above = snapshot.queues.get(QueueKey("", local.cluster_queue)) if local else None
    held = [one for one in (above.quotas if above else ()) if one.resource == GPU]
    if not held or not size.want.gpus:
        return
    nominal, used = sum(one.nominal for one in held), sum(one.used for one in held)
    left = max(0.0, nominal - used)
    then = (
        "it is admitted at once" if size.want.total <= left else "it waits, or borrows" if size.want.total <= nominal else "more than its whole quota"
    )
    yield f"queue {params.queue}: {used:g} of {nominal:g} GPUs used, {left:g} left, {size.want.total} asked for: {then}"


def shape(params: Params, size: Size) -> Iterator[str]:
    """What it costs to split over several pods what one node could hold."""
    per_node = max((room.gpus_per_node for room, _ in size.places), default=0)
    if params.nodes < 2 or not size.want.gpus or size.want.gpus >= per_node:
        return
    pods = -(-size.want.total // per_node)
    ranks = f"--nodes {pods} --nproc {-(-params.nodes * params.nproc // pods)}"
    yield f"one pod a node with all its {per_node} GPUs ({ranks}) talks over NVLink or PCIe; split up, measured runs took 2.4 to 4.9 times as long"


def spans(snapshot: Snapshot, params: Params, size: Size) -> Iterator[str]:
    """That ranks on both sides of a switch layer of EC2's network talk better in a tree; nothing where the layers are not known."""
    standing = [snapshot.nodes[NodeName(room.name)] for room, _ in size.places if not room.new]
    layers = {node.topology[1] for node in standing if len(node.topology) > 1}
    if len(layers) > 1 and params.nccl == "default":
        yield f"its nodes hang on {len(layers)} switches of network-node-layer-2: --nccl tree crosses them less often"
