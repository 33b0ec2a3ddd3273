"""How the ranks share the work: the training program of each strategy, the options that only it has, and the arithmetic of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actions.core.places import Place
from cockpit.errors import BadInput

PROGRAMS = {"ddp": "training.ddp", "fsdp": "training.fsdp", "deepspeed": "training.zero", "amx": "training.amx"}
OPTIONS = {
    "sharding": ("fsdp",),
    "activation_checkpointing": ("fsdp",),
    "zero": ("deepspeed",),
    "offload": ("fsdp", "deepspeed"),
}
PRESETS, HUB = ("tiny", "small", "125m", "1b", "3b", "8b"), "hf:"
"""Models of training/model.py; every other word that is no folder names one on the Hugging Face Hub."""
OFFLOADS = {"fsdp": ("none", "cpu"), "deepspeed": ("none", "optimizer", "cpu", "all")}
ZERO_STAGE = 2
"""What training.zero takes when nothing is said."""

GRACE_SECONDS, TRAINJOB_GRACE_SECONDS = 60, 20
"""A step and its save after SIGTERM; the pods of a TrainJob keep Kubernetes' 30 seconds, of which the rest is for leaving."""


def stage_of(params: Any) -> int:
    """The ZeRO stage these parameters train with; 0 for the other strategies."""
    return (params.zero or ZERO_STAGE) if params.strategy == "deepspeed" else 0


def model_of(text: str) -> str:
    """A model as the training programs spell it: a preset, a folder, or `hf:` and a name."""
    return text if text in PRESETS or text.startswith((HUB, "/")) else HUB + text


def strategy_flags(params: Any) -> Iterator[tuple[str, Any]]:
    """The flags of the strategy's own options, as its program spells them."""
    if params.strategy == "deepspeed":
        yield "--stage", stage_of(params)
    if params.offload:
        yield "--offload", _offload(params)
    if params.sharding:
        yield "--sharding", params.sharding


def _offload(params: Any) -> str:
    """`cpu` of DeepSpeed is all that its stage can put into host memory."""
    if params.strategy == "deepspeed" and params.offload in ("cpu", "all"):
        return "all" if stage_of(params) == 3 else "optimizer"
    return str(params.offload)


def check_options(params: Any) -> None:
    """BadInput for an option of another strategy, GPUs for a strategy of CPUs, and a batch that does not divide."""
    for name, strategies in OPTIONS.items():
        value = getattr(params, name)
        if value not in (None, "", False) and params.strategy not in strategies:
            takes = " or ".join(f"--strategy {one}" for one in strategies)
            raise BadInput(f"--{name.replace('_', '-')} is not for {params.strategy}", f"it goes with {takes}")
    if params.offload and params.offload not in OFFLOADS[params.strategy]:
        raise BadInput(f"--offload {params.offload} is not for {params.strategy}", f"valid: {', '.join(OFFLOADS[params.strategy])}")
    if params.offload == "all" and stage_of(params) in (1, 2):
        raise BadInput(f"--offload all needs --zero 3: stage {stage_of(params)} keeps the weights on every GPU", "--offload optimizer, or --zero 3")
    if params.strategy == "amx" and params.gpus:
        raise BadInput(f"--gpus {params.gpus}: amx trains on CPUs", "leave --gpus out, or take --strategy ddp")
    if params.pretrained and params.model in PRESETS:
        raise BadInput(f"--pretrained: {params.model} is a shape without weights", "a Hugging Face name or a folder has them")
    check_batch(params.global_batch, params.nodes * params.nproc, params.accumulate)


def check_batch(global_batch: int | None, ranks: int, accumulate: int = 1, whose: str = "--global-batch") -> None:
    """BadInput, with the arithmetic, where a global batch does not divide by ranks and accumulation."""
    parts = ranks * accumulate
    if global_batch is None or not global_batch % parts:
        return
    near = max(1, global_batch // parts) * parts
    over = f"{ranks} ranks" + (f" x {accumulate} accumulations = {parts} parts" if accumulate > 1 else "")
    hint = f"{near} divides" if whose == "--global-batch" else f"other ranks, or --global-batch {near}"
    raise BadInput(f"{whose} {global_batch} over {over} leaves {global_batch % parts} over", hint)


def grace_of(params: Any) -> int:
    """Seconds a step and its save may take after SIGTERM."""
    if params.kind == "TrainJob":
        return min(int(params.grace or TRAINJOB_GRACE_SECONDS), TRAINJOB_GRACE_SECONDS)
    return int(params.grace or GRACE_SECONDS)


def flags_of(params: Any, place: Place) -> tuple[str, ...]:
    """The training program's own flags; what is None is left to it."""
    given = {
        "--model": model_of(params.model),
        "--steps": params.steps,
        "--seed": params.seed,
        "--global-batch": params.global_batch,
        "--accumulate": params.accumulate if params.accumulate > 1 else None,
        "--data": params.data or None,
        "--precision": params.precision if params.precision != "auto" else None,
        "--lr": params.lr,
        "--step-pause": params.step_pause or None,
        **dict(strategy_flags(params)),
    }
    if place.where:
        given |= {"--checkpoint-dir": place.directory, "--checkpoint-every": params.checkpoint_every, "--resume": params.resume}
    given |= {"--grace": grace_of(params)}
    switches = {"--activation-checkpointing": params.activation_checkpointing, "--pretrained": params.pretrained}
    return (*(f"{flag}={value}" for flag, value in given.items() if value is not None), *(flag for flag, on in switches.items() if on))
