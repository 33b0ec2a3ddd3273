"""Launch a distributed training job: what it needs, where it fits, what it costs, then the job in the shape the cluster takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Outcome, Plan, Risk, param
from actions.core.capacity import Want, dollars_per_hour, gpu_nodes, types_of
from actions.core.following import SOURCES, last_words, to_the_end
from actions.core.lookups import closest
from actions.core.sizing import Size, gibibytes, sized
from actions.core.training_jobs import Spec, changes
from cockpit.errors import BadInput, NotServed, Refused
from cockpit.instance_types import instance_types
from cockpit.model import Runtime, Served
from cockpit.snapshot import Snapshot

IMAGE = "pytorch/pytorch:2.8.0-cuda12.9-cudnn9-runtime"
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = 50
"""So that `<job>-node-0-9999`, the hostname of a pod, stays within 63."""
KINDS = {"PyTorchJob": "pytorchjobs.kubeflow.org", "TrainJob": "trainjobs.trainer.kubeflow.org"}
LOCAL_QUEUES = "localqueues.kueue.x-k8s.io"
STRATEGIES = ("ddp",)
MODELS = ("tiny", "small", "125m", "1b", "3b", "8b")


@dataclass(frozen=True)
class Params:
    """What to train, on how much of what, and where."""

    strategy: str = param("how the ranks share the work", "ddp", choices=STRATEGIES)
    model: str = param("size of the decoder that is trained", "tiny", choices=MODELS)
    nodes: int = param("pods, each on one node", 1, minimum=1)
    nproc: int = param("ranks per pod", 1, minimum=1)
    steps: int = param("optimizer steps", 50, minimum=1)
    name: str = param("job name; by default the strategy and the next free number", "")
    gpus: int | None = param("GPUs per pod; by default one a rank, and none where the cluster has no GPU", None, minimum=0)
    efa: int | None = param("EFA devices per pod; by default its GPUs' share of the node's when the job has several pods", None, minimum=0)
    instance_type: str = param("only nodes of this EC2 type", "")
    nodepool: str = param("only nodes of this NodePool", "", picks="nodepools")
    capacity_type: str = param("only this capacity", "", choices=("on-demand", "spot", "reserved"))
    zone: str = param("only this availability zone", "")
    queue: str = param("Kueue LocalQueue that admits the job", "", picks="queues")
    global_batch: int | None = param("sequences a step over all ranks; by default the model's, times ranks", None, minimum=1)
    lr: float | None = param("peak learning rate; by default the model's", None, minimum=0)
    seed: int = param("seed of weights and data", 0)
    step_pause: float = param("seconds to idle each step", 0.0, minimum=0)
    max_restarts: int = param("times torchrun may restart the ranks after one has failed", 0, minimum=0)
    image: str = param("container image; PyTorch and torchrun are all it must hold", IMAGE)
    kind: str = param("job kind; auto takes PyTorchJob where it is served, else TrainJob", "auto", choices=("auto", *KINDS))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why nothing can be launched here; None while it is not known."""
    if not snapshot.believed("served") or any(resource in snapshot.served for resource in KINDS.values()):
        return None
    return "this cluster serves neither PyTorchJob nor TrainJob; install the Kubeflow training-operator or Trainer"


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The plan of one launch; Refused with the arithmetic when its GPUs cannot be had."""
    kind, served = kind_of(snapshot, params.kind)
    runtime = _runtime(snapshot, params.namespace) if kind == "TrainJob" else None
    params = dataclasses.replace(params, name=params.name or free_name(snapshot, params), kind=kind)
    _check(snapshot, params)
    size = sized(snapshot, _wants(snapshot, params), params.nproc, params.efa)
    params = dataclasses.replace(params, gpus=size.want.gpus, efa=size.efa)
    dollars, invented = dollars_per_hour(snapshot, size.want, size.places) if size.want.gpus and size.whole else (None, False)
    return Plan(
        changes(_spec(params, size), kind, served, runtime),
        warnings=(*size.warnings, *_unchecked(snapshot, params, size)),
        notes=(_headline(params, size), size.where(), _price(dollars, invented or size.simulated, size)),
        dollars_per_hour=dollars,
        simulated=size.simulated,
        confirm="" if size.simulated else params.name,
        params=params,
    )


def kind_of(snapshot: Snapshot, wanted: str) -> tuple[str, Served]:
    """The job kind to create and how it is served: the one asked for, else PyTorchJob, else TrainJob."""
    for kind in [wanted] if wanted in KINDS else KINDS:
        served: Served | None = snapshot.served.get(KINDS[kind])
        if served is not None:
            return kind, served
    if wanted in KINDS:
        other = next((kind for kind in KINDS if KINDS[kind] in snapshot.served), "")
        raise NotServed(f"this cluster does not serve {wanted}", f"it serves {other}: --kind {other}" if other else "install its operator")
    raise NotServed(
        "this cluster serves neither PyTorchJob nor TrainJob",
        "install the Kubeflow training-operator (PyTorchJob) or Kubeflow Trainer (TrainJob), or try it on the practice cluster with --sim",
    )


def _runtime(snapshot: Snapshot, namespace: str) -> Runtime | None:
    """The torch runtime a TrainJob refers to; NotServed when the cluster lists runtimes and none of them is torch's."""
    known = [one for one in snapshot.runtimes.values() if one.key.namespace in ("", namespace) and not one.deprecated]
    if not known:
        return None
    named = [one for one in known if one.key.name == "torch-distributed"]
    torch = [one for one in known if one.framework == "torch"]
    if not named and not torch:
        names = ", ".join(sorted(one.key.name for one in known))
        raise NotServed("no training runtime of this cluster runs torch", f"install torch-distributed; there are: {names}")
    return (named or torch)[0]


def free_name(snapshot: Snapshot, params: Params) -> str:
    """The strategy with the lowest number no job of the namespace has."""
    taken = {key.name for key in snapshot.jobs if key.namespace == params.namespace}
    return next(name for number in range(1, len(taken) + 2) if (name := f"{params.strategy}-{number}") not in taken)


def _check(snapshot: Snapshot, params: Params) -> None:
    if not NAME.fullmatch(params.name) or len(params.name) > LONGEST_NAME:
        hint = f"lower case letters, digits and dashes, a letter first, at most {LONGEST_NAME}"
        raise BadInput(f"--name {params.name!r} cannot name a job", hint)
    taken = [key for key in snapshot.jobs if (key.namespace, key.name) == (params.namespace, params.name)]
    if taken:
        raise Refused(f"{taken[0].kind} {params.name} exists in {params.namespace}", f"--name {free_name(snapshot, params)} is free")
    ranks = params.nodes * params.nproc
    if params.global_batch is not None and params.global_batch % ranks:
        near = max(1, params.global_batch // ranks) * ranks
        raise BadInput(f"--global-batch {params.global_batch} over {ranks} ranks leaves {params.global_batch % ranks} over", f"{near} divides")
    queues = {key.name for key in snapshot.queues if key.namespace == params.namespace}
    if params.queue and snapshot.sees("queues", params.namespace, LOCAL_QUEUES) and params.queue not in queues:
        raise BadInput(f"no LocalQueue {params.queue!r} in {params.namespace}", closest(params.queue, queues, "queues"))
    if params.nodepool and snapshot.believed("nodepools") and params.nodepool not in snapshot.nodepools:
        raise BadInput(f"no NodePool {params.nodepool!r}", closest(params.nodepool, snapshot.nodepools, "NodePools"))


def _wants(snapshot: Snapshot, params: Params) -> Want:
    """The GPUs asked for; by default one a rank where the cluster has GPUs, a NodePool can bring some, or nodes may not be listed."""
    gpus = params.gpus
    if gpus is None:
        has_gpus = (
            snapshot.forbidden("nodes") or bool(gpu_nodes(snapshot)) or any(types_of(pool, instance_types()) for pool in snapshot.nodepools.values())
        )
        gpus = params.nproc if has_gpus else 0
    return Want(params.nodes, gpus, params.instance_type, params.nodepool, params.capacity_type, params.zone, waits=bool(params.queue))


def _unchecked(snapshot: Snapshot, params: Params, size: Size) -> Iterator[str]:
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


def _spec(params: Params, size: Size) -> Spec:
    chosen = {
        "node.kubernetes.io/instance-type": params.instance_type,
        "karpenter.sh/nodepool": params.nodepool,
        "karpenter.sh/capacity-type": params.capacity_type,
        "topology.kubernetes.io/zone": params.zone,
    }
    return Spec(
        name=params.name,
        namespace=params.namespace,
        strategy=params.strategy,
        image=params.image,
        nodes=params.nodes,
        nproc=params.nproc,
        steps=params.steps,
        flags=_flags(params),
        resources=size.resources(),
        node_selector={label: value for label, value in chosen.items() if value},
        shm=gibibytes(size.shm_bytes),
        threads=size.threads,
        queue=params.queue,
        max_restarts=params.max_restarts,
    )


def _flags(params: Params) -> tuple[str, ...]:
    """The training program's own flags; what is None is left to it."""
    given = {
        "--model": params.model,
        "--steps": params.steps,
        "--seed": params.seed,
        "--global-batch": params.global_batch,
        "--lr": params.lr,
        "--step-pause": params.step_pause or None,
    }
    return tuple(f"{flag}={value}" for flag, value in given.items() if value is not None)


def _headline(params: Params, size: Size) -> str:
    ranks = params.nodes * params.nproc
    gpus = counted(size.want.total, "SIMULATED GPU" if size.simulated else "GPU") if size.want.gpus else "no GPU"
    efa = f", {size.efa} EFA devices a pod" if size.efa else ""
    return f"{params.kind} {params.namespace}/{params.name}: {counted(params.nodes, 'pod')} x {params.nproc} = {counted(ranks, 'rank')}, {gpus}{efa}"


def counted(count: int, noun: str) -> str:
    """1 pod, 2 pods."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _price(dollars: float | None, invented: bool, size: Size) -> str:
    if dollars is None:
        return "costs an unknown price: no list of prices here has its offering" if size.want.gpus else "adds no GPU to the bill"
    return f"costs ${dollars:,.2f}/h{' (SIMULATED)' if invented else ''}"


def follow(snapshot: Snapshot, params: Params) -> Outcome:
    """How the launched job stands."""
    return to_the_end(snapshot, params.namespace, params.name, params.kind)


def explain(clients: Clients, snapshot: Snapshot, params: Params) -> str:
    """The last words of the pod that failed."""
    return last_words(clients, snapshot, params.namespace, params.name, params.kind)


ACTION = Action(
    name="launch",
    title="Launch",
    key="l",
    params=Params,
    risk=Risk.SPEND,
    panes=("cluster", "nodepools", "jobs", "gpus", "efa"),
    needs=("served", "nodes", "pods", "jobs", "nodepools", "queues", "prices"),
    can_lack=("nodes", "pods", "jobs", "nodepools", "nodeclaims", "queues", "events", "progress"),
    plan=plan,
    disabled=disabled,
    follow=follow,
    follow_needs=SOURCES,
    explain=explain,
    doc="Launches a training job; on a real cluster it spends and asks for --yes, where the GPUs are SIMULATED it does not.",
)
