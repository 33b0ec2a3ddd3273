"""Launch a distributed training job: what it needs, where it fits, what it costs, then the job in the shape the cluster takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from actions.core import Action, Clients, Outcome, Plan, Risk, as_json, param, params_of
from actions.core.capacity import Want, dollars_per_hour, gpu_nodes, types_of
from actions.core.following import SOURCES, last_words, to_the_end
from actions.core.kinds import KINDS, kind_of, runtime_of
from actions.core.lookups import closest
from actions.core.places import Place, settled, writer_to
from actions.core.render import training_files
from actions.core.scripts import SCRIPT_SHA256, Script, script_of
from actions.core.sizing import Size, gibibytes, sized
from actions.core.strategies import PRESETS, PROGRAMS, TRAINJOB_GRACE_SECONDS, check_options, flags_of, grace_of
from actions.core.training_jobs import Spec, changes, override_of
from cockpit.errors import BadInput, Refused
from cockpit.instance_types import instance_types
from cockpit.model import Served
from cockpit.snapshot import Snapshot

IMAGE = "pytorch/pytorch:2.8.0-cuda12.9-cudnn9-runtime"
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = 50
"""So that `<job>-node-0-9999`, the hostname of a pod, stays within 63."""
LOCAL_QUEUES = "localqueues.kueue.x-k8s.io"
STRATEGIES = tuple(PROGRAMS)
MODEL = re.compile(r"(hf:)?[\w][\w./-]{0,199}|/[\w./-]{1,199}")
CHECKPOINT_EVERY = 100
"""What the training programs take when nothing is said."""


@dataclass(frozen=True)
class Params:
    """What to train, on how much of what, and where."""

    strategy: str = param("how the ranks share the work", "ddp", choices=STRATEGIES)
    model: str = param("tiny, small, 125m, 1b, 3b or 8b; or a Hugging Face name or folder", "tiny")
    pretrained: bool = param("begin with the weights that model has on the Hub or in its folder, not with random ones", False)
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
    checkpoints: str = param("pvc:CLAIM[/PATH], s3://BUCKET/PREFIX or none; by default the namespace's shared claim, a folder a job", "")
    checkpoint_every: int | None = param("steps between two checkpoints; by default 100, and always the last", None, minimum=1)
    resume: str = param("auto goes on from the last whole checkpoint there, if any; none begins anew; or a step", "auto")
    precision: str = param("fp32 or bf16; auto takes bf16 where the hardware has it", "auto", choices=("auto", "fp32", "bf16"))
    global_batch: int | None = param("sequences a step over all ranks; by default the model's, times ranks", None, minimum=1)
    accumulate: int = param("parts a rank takes its share of a step in", 1, minimum=1)
    data: str = param("text file or folder, or a dataset's name; synthetic tokens by default", "")
    lr: float | None = param("peak learning rate; by default the model's", None, minimum=0)
    seed: int = param("seed of weights and data", 0)
    sharding: str = param("fsdp: what is split; full by default", "", choices=("full", "grad-op", "hybrid"))
    activation_checkpointing: bool = param("fsdp: compute each block again in the backward pass", False)
    zero: int | None = param("deepspeed: ZeRO stage 1, 2 or 3; 2 by default", None, choices=(1, 2, 3))
    offload: str = param("fsdp: cpu; deepspeed: optimizer, cpu: what is kept in host memory", "", choices=("none", "cpu", "optimizer", "all"))
    script: str = param("your own training script, run by torchrun in place of the strategy's", "")
    script_args: str = param("its words, or write them after --", "", rest=True)
    step_pause: float = param("seconds to idle each step", 0.0, minimum=0)
    max_restarts: int = param("times torchrun may restart the ranks after one has failed", 0, minimum=0)
    grace: int | None = param("seconds a step and its save may take after SIGTERM; by default 60, of a TrainJob 20", None, minimum=1)
    image: str = param("container image; PyTorch and torchrun are all it must hold", IMAGE)
    kind: str = param("job kind; auto takes PyTorchJob where it is served, else TrainJob", "auto", choices=("auto", *KINDS))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


@dataclass(frozen=True)
class Origin:
    """What a restored job goes on from, and the nodes it sits out, each with why."""

    job: str = ""
    avoid: Mapping[str, str] = field(default_factory=dict)


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why nothing can be launched here; None while it is not known."""
    if not snapshot.believed("served") or any(resource in snapshot.served for resource in KINDS.values()):
        return None
    return "this cluster serves neither PyTorchJob nor TrainJob; install the Kubeflow training-operator or Trainer"


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The plan of one launch; Refused with the arithmetic when its GPUs cannot be had."""
    return planned(snapshot, params, Origin())


def planned(snapshot: Snapshot, params: Params, origin: Origin) -> Plan:
    """The plan of one launch that goes on from `origin`, which may be nothing."""
    kind, served = kind_of(snapshot, params.kind)
    runtime = runtime_of(snapshot, params.namespace) if kind == "TrainJob" else None
    params = dataclasses.replace(params, name=params.name or free_name(snapshot, params), kind=kind)
    _check(snapshot, params)
    place = settled(snapshot, params.checkpoints, params.namespace, params.name, params.nodes)
    _check_place(snapshot, params, place)
    script = script_of(params.script, params.script_args, training_files())
    size = sized(snapshot, _wants(snapshot, params, origin), params.nproc, params.efa)
    given = dataclasses.replace(params, checkpoints=place.where or "none", script=script.path if script else "")
    params = dataclasses.replace(given, gpus=size.want.gpus, efa=size.efa)
    dollars, invented = dollars_per_hour(snapshot, size.want, size.places) if size.want.gpus and size.whole else (None, False)
    saving = (saves(params, place),) if place.where else ()
    return Plan(
        changes(_spec(given, size, place, script, origin), kind, served, runtime),
        warnings=(*size.warnings, *_unchecked(snapshot, params, size), *_lacking(params, place, script), *_not_avoided(kind, served, origin)),
        notes=(_headline(params, size), size.where(), _price(dollars, invented or size.simulated, size), *saving),
        dollars_per_hour=dollars,
        simulated=size.simulated,
        confirm="" if size.simulated else params.name,
        params=params,
    )


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
    if not MODEL.fullmatch(params.model):
        raise BadInput(f"--model {params.model!r}", f"{', '.join(PRESETS)}, or a Hugging Face name or folder")
    if params.resume not in ("auto", "none") and not params.resume.isdecimal():
        raise BadInput(f"--resume {params.resume!r}", "auto, none or a step")
    check_options(params)
    queues = {key.name for key in snapshot.queues if key.namespace == params.namespace}
    if params.queue and snapshot.sees("queues", params.namespace, LOCAL_QUEUES) and params.queue not in queues:
        raise BadInput(f"no LocalQueue {params.queue!r} in {params.namespace}", closest(params.queue, queues, "queues"))
    if params.nodepool and snapshot.believed("nodepools") and params.nodepool not in snapshot.nodepools:
        raise BadInput(f"no NodePool {params.nodepool!r}", closest(params.nodepool, snapshot.nodepools, "NodePools"))


def _check_place(snapshot: Snapshot, params: Params, place: Place) -> None:
    """Refused while another job writes there: the lock would end this one."""
    writer = writer_to(snapshot, place.key(params.namespace)) if place.where else None
    if writer is not None and writer.key.name != params.name:
        raise Refused(f"{writer.key.kind} {writer.key.name} keeps its checkpoints in {place.where}", "stop it first, or name another --checkpoints")


def saves(params: Params, place: Place) -> str:
    """Where checkpoints go, and what the training begins with."""
    begins = {"auto": "goes on from the last whole one there, if any", "none": "begins anew"}.get(params.resume, f"goes on from step {params.resume}")
    return f"saves to {place.where} every {params.checkpoint_every or CHECKPOINT_EVERY} steps and at the end; {begins}"


def _lacking(params: Params, place: Place, script: Script | None) -> Iterator[str]:
    if place.warning:
        yield place.warning
    if params.kind == "TrainJob" and (params.grace or 0) > TRAINJOB_GRACE_SECONDS:
        yield f"the pods of a TrainJob are killed after 30 s: --grace is cut to {TRAINJOB_GRACE_SECONDS}"
    if script is not None and place.where:
        yield f"{script.name} saves only if it does so itself: CHECKPOINT_DIR tells it where, CHECKPOINT_RESUME from what"


def _not_avoided(kind: str, served: Served, origin: Origin) -> Iterator[str]:
    if kind == "TrainJob" and origin.avoid and override_of(served) == "podSpecOverrides":
        yield f"this TrainJob API takes no affinity: cordon {', '.join(origin.avoid)} to keep the job away"


def _wants(snapshot: Snapshot, params: Params, origin: Origin) -> Want:
    """The GPUs asked for; by default one a rank where the cluster has GPUs, a NodePool can bring some, or nodes may not be listed."""
    gpus = 0 if params.strategy == "amx" else params.gpus
    if gpus is None:
        has_gpus = (
            snapshot.forbidden("nodes") or bool(gpu_nodes(snapshot)) or any(types_of(pool, instance_types()) for pool in snapshot.nodepools.values())
        )
        gpus = params.nproc if has_gpus else 0
    return Want(
        params.nodes,
        gpus,
        params.instance_type,
        params.nodepool,
        params.capacity_type,
        params.zone,
        waits=bool(params.queue),
        avoid=frozenset(origin.avoid),
    )


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


def _spec(params: Params, size: Size, place: Place, script: Script | None, origin: Origin) -> Spec:
    chosen = {
        "node.kubernetes.io/instance-type": params.instance_type,
        "karpenter.sh/nodepool": params.nodepool,
        "karpenter.sh/capacity-type": params.capacity_type,
        "topology.kubernetes.io/zone": params.zone,
        "kubernetes.io/arch": "amd64" if params.strategy == "amx" else "",
    }
    return Spec(
        name=params.name,
        namespace=params.namespace,
        strategy=params.strategy,
        image=params.image,
        nodes=params.nodes,
        nproc=params.nproc,
        flags=flags_of(params, place),
        resources=size.resources(),
        node_selector={label: value for label, value in chosen.items() if value},
        shm=gibibytes(size.shm_bytes),
        threads=size.threads,
        queue=params.queue,
        max_restarts=params.max_restarts,
        grace_seconds=grace_of(params),
        place=place,
        script=script,
        resume=params.resume,
        avoid=tuple(sorted(origin.avoid)),
        annotations=_annotations(params, place, script, origin),
    )


def _annotations(params: Params, place: Place, script: Script | None, origin: Origin) -> dict[str, str]:
    """What restore and the views read on the job: its steps, its place, where it came from, and the parameters that made it."""
    chosen = {one.name: getattr(params, one.name) for one in params_of(Params) if getattr(params, one.name) != one.default}
    kept = {name: value for name, value in chosen.items() if name not in ("name", "namespace")}
    kept |= {SCRIPT_SHA256: script.sha256} if script else {}
    found = {
        "cockpit.dev/steps": "" if script else str(params.steps),
        "cockpit.dev/checkpoints": place.where,
        "cockpit.dev/restored-from": origin.job,
        "cockpit.dev/launch": as_json(kept),
    }
    return {name: value for name, value in found.items() if value}


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
    needs=("served", "nodes", "pods", "jobs", "nodepools", "queues", "prices", "volumeclaims"),
    can_lack=("nodes", "pods", "jobs", "nodepools", "nodeclaims", "queues", "events", "progress", "volumeclaims"),
    plan=plan,
    disabled=disabled,
    follow=follow,
    follow_needs=SOURCES,
    explain=explain,
    doc="Launches a training job; on a real cluster it spends and asks for --yes, where the GPUs are SIMULATED it does not.",
)
