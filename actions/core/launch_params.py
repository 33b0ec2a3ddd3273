"""What a launch is asked for: its parameters, and which of them cannot be met whatever the cluster has free."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from actions.core import param
from actions.core.kinds import KINDS
from actions.core.lookups import closest
from actions.core.nccl import PROFILES
from actions.core.places import Place, writer_to
from actions.core.strategies import PRESETS, PROGRAMS, check_options
from actions.core.tokens import check_token
from cockpit.errors import BadInput, Refused
from cockpit.snapshot import Snapshot

IMAGE = "pytorch/pytorch:2.8.0-cuda12.9-cudnn9-runtime"
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = 50
"""So that `<job>-node-0-9999`, the hostname of a pod, stays within 63."""
LOCAL_QUEUES = "localqueues.kueue.x-k8s.io"
STRATEGIES = tuple(PROGRAMS)
MODEL = re.compile(r"(hf:)?[\w][\w./-]{0,199}|/[\w./-]{1,199}")


@dataclass(frozen=True)
class Params:
    """What to train, on how much of what, and where."""

    strategy: str = param("how the ranks share the work", "ddp", choices=STRATEGIES)
    model: str = param("tiny, small, 125m, 1b, 3b or 8b; or hf:NAME of the Hugging Face Hub, or a folder", "tiny")
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
    hf_secret: str = param("Secret that holds a Hugging Face token as HF_TOKEN; of a token given below it is made, <job>-hf-token by default", "")
    hf_token_from_env: str = param("make that Secret from this environment variable of the cockpit's own process", "")
    hf_token_prompt: bool = param("make that Secret from a token typed at a prompt", False)
    nccl: str = param("how NCCL is told to talk, each variable explained", "default", choices=PROFILES)
    priority: str = param("with --queue a WorkloadPriorityClass of Kueue, else a PriorityClass (PyTorchJob)", "")
    max_job_restarts: int | None = param("PyTorchJob: times failed pods may be started again; by default as often as --max-restarts", None, minimum=0)
    workers: int = param("loader processes a rank, for the size of /dev/shm", 0, minimum=0)
    prefetch: int = param("batches each of them holds ready", 2, minimum=1)
    batch_mib: float | None = param("MiB of one rank's batch; by default the tokens of the model's", None, minimum=0)
    shm: str = param("size of /dev/shm, as 16Gi; by default from ranks, workers, prefetch and batch", "")
    file: str = param("launch what this manifest holds, ours or another's; - is standard input", "", short="f")
    save: str = param("write the manifest into this file, and apply nothing", "")
    image: str = param("container image; PyTorch and torchrun are all it must hold", IMAGE)
    kind: str = param("job kind; auto takes PyTorchJob where it is served, else TrainJob", "auto", choices=("auto", *KINDS))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


@dataclass(frozen=True)
class Origin:
    """What a restored job goes on from, and the nodes it sits out, each with why."""

    job: str = ""
    avoid: Mapping[str, str] = field(default_factory=dict)


def free_name(snapshot: Snapshot, params: Params) -> str:
    """The strategy with the lowest number no job of the namespace has."""
    taken = {key.name for key in snapshot.jobs if key.namespace == params.namespace}
    return next(name for number in range(1, len(taken) + 2) if (name := f"{params.strategy}-{number}") not in taken)


def check(snapshot: Snapshot, params: Params) -> None:
    if not NAME.fullmatch(params.name) or len(params.name) > LONGEST_NAME:
        hint = f"lower case letters, digits and dashes, a letter first, at most {LONGEST_NAME}"
        raise BadInput(f"--name {params.name!r} cannot name a job", hint)
    taken = [key for key in snapshot.jobs if (key.namespace, key.name) == (params.namespace, params.name)]
    if taken:
        raise Refused(f"{taken[0].kind} {params.name} exists in {params.namespace}", f"--name {free_name(snapshot, params)} is free")
    if not MODEL.fullmatch(params.model):
        raise BadInput(f"--model {params.model!r}", f"{', '.join(PRESETS)}, or hf:NAME of the Hugging Face Hub, or a folder")
    if params.resume not in ("auto", "none") and not params.resume.isdecimal():
        raise BadInput(f"--resume {params.resume!r}", "auto, none or a step")
    check_options(params)
    check_token(params)
    _check_restarts(params)
    queues = {key.name for key in snapshot.queues if key.namespace == params.namespace}
    if params.queue and snapshot.sees("queues", params.namespace, LOCAL_QUEUES) and params.queue not in queues:
        raise BadInput(f"no LocalQueue {params.queue!r} in {params.namespace}", closest(params.queue, queues, "queues"))
    if params.nodepool and snapshot.believed("nodepools") and params.nodepool not in snapshot.nodepools:
        raise BadInput(f"no NodePool {params.nodepool!r}", closest(params.nodepool, snapshot.nodepools, "NodePools"))


def _check_restarts(params: Params) -> None:
    """BadInput for what a TrainJob has no field for: its pods and its JobSet are configured in its runtime."""
    if params.kind == "TrainJob" and params.max_job_restarts is not None:
        hint = "set spec.template.spec.failurePolicy.maxRestarts in its TrainingRuntime; --max-restarts is torchrun's and works here"
        raise BadInput("--max-job-restarts: a TrainJob takes the restarts of its JobSet from its runtime", hint)
    if params.kind == "TrainJob" and params.priority and not params.queue:
        raise BadInput("--priority of a TrainJob needs --queue: its API has no field for a PriorityClass", "--queue NAME makes it Kueue's priority")


def check_place(snapshot: Snapshot, params: Params, place: Place) -> None:
    """Refused while another job writes there: the lock would end this one."""
    writer = writer_to(snapshot, place.key(params.namespace)) if place.where else None
    if writer is not None and writer.key.name != params.name:
        raise Refused(f"{writer.key.kind} {writer.key.name} keeps its checkpoints in {place.where}", "stop it first, or name another --checkpoints")
