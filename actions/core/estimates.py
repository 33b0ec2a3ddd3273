"""Memory of one GPU that training takes, before it is tried: parameters, gradients, optimizer and activations, each by its formula. Pure.

States, bytes a parameter: fp32 4 + 4 + 8 (weights, gradients, two moments of Adam); DeepSpeed in bf16 2 + 2 + 12 (its fp32 copy counts with the
moments): Rajbhandari et al., ZeRO, 2020, 3.1. Each is divided by the ranks it is split over. Activations: 34 x sequence x batch x width bytes a layer
in 16 bit, twice that in 32 (Korthikanti et al., Reducing Activation Recomputation, 2022, eq. 2, without the part of the attention scores, which
flash attention never stores), and the logits with their gradient in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core.model_sizes import SIZES, ModelSize
from actions.core.sizing import GIB, Size
from actions.core.strategies import stage_of
from cockpit.instance_types import instance_types

RUNTIME_BYTES = 2 * GIB
"""CUDA's context, NCCL's buffers and what the allocator cannot use: an estimate of ours."""
PER_LAYER = 34


@dataclass(frozen=True)
class Estimate:
    """Bytes on one GPU; `formula` says how the states came about."""

    parameters: float
    gradients: float
    optimizer: float
    activations: float
    formula: str

    @property
    def total(self) -> float:
        """All of it, with what the runtime takes."""
        return self.parameters + self.gradients + self.optimizer + self.activations + RUNTIME_BYTES


def estimate_of(params: Any, gpus: int) -> Estimate | None:
    """What one rank takes of its GPU; None on CPUs, with an own script and for models whose shape is not known here."""
    size = SIZES.get(params.model)
    if size is None or not gpus or params.script:
        return None
    weights, gradients, optimizer, formula = _states(params, size)
    return Estimate(weights, gradients, optimizer, _activations(params, size), formula)


def _states(params: Any, size: ModelSize) -> tuple[float, float, float, str]:
    """Bytes of weights, gradients and optimizer, and their formula."""
    count, ranks = size.parameters, params.nodes * params.nproc
    if params.strategy == "fsdp":
        return _fsdp(params, size, params.nproc if params.sharding == "hybrid" else ranks)
    if params.strategy != "deepspeed":
        return 4.0 * count, 4.0 * count, 8.0 * count, "(4 + 4 + 8) x P"
    stage, half = stage_of(params), params.precision != "fp32"
    weight, moments = (2.0, 12.0) if half else (4.0, 8.0)
    parts = [ranks if stage >= least else 1 for least in (3, 2, 1)]
    held = [0.0 if params.offload == "all" or (params.offload == "cpu" and stage == 3) else weight, weight, moments]
    if params.offload in ("cpu", "optimizer", "all"):
        held[1], held[2] = (0.0 if stage >= 2 else weight), 0.0
    found = [each * count / part for each, part in zip(held, parts, strict=True)]
    if stage == 3:
        found[0] += weight * size.per_layer * 2
    terms = " + ".join(f"{each:g}" + (f"/{part}" if part > 1 else "") for each, part in zip(held, parts, strict=True))
    return found[0], found[1], found[2], f"({terms}) x P" + (" + two gathered blocks" if stage == 3 else "")


def _fsdp(params: Any, size: ModelSize, split: int) -> tuple[float, float, float, str]:
    """Fully sharded, or weights kept whole between forward and backward (grad-op); two gathered blocks beside."""
    gathered = 2 * 4.0 * max(size.per_layer, size.vocab * size.dim)
    if params.offload == "cpu":
        return gathered, 0.0, 0.0, "two gathered blocks; the rest in host memory"
    count = size.parameters
    whole = params.sharding == "grad-op"
    weights = 4.0 * count * (1 if whole else 1 / split) + (0.0 if whole else gathered)
    return weights, 4.0 * count / split, 8.0 * count / split, f"(4{'' if whole else f'/{split}'} + 4/{split} + 8/{split}) x P + two gathered blocks"


def _activations(params: Any, size: ModelSize) -> float:
    """Of one micro-batch; with --activation-checkpointing the inputs of all blocks and the inside of one."""
    ranks = params.nodes * params.nproc
    batch = params.global_batch // (ranks * params.accumulate) if params.global_batch else size.batch
    width = 2 if params.precision == "fp32" else 1
    token = batch * size.context
    layer = width * token * size.dim
    inside = layer * (2 * size.layers + PER_LAYER) if params.activation_checkpointing else layer * PER_LAYER * size.layers
    return float(inside + 2 * 4 * token * size.vocab)


def fits(memory: Estimate | None, size: Size) -> Iterator[str]:
    """The estimate beside what the GPU has."""
    if memory is None:
        return
    parts = f"parameters {_gib(memory.parameters)}, gradients {_gib(memory.gradients)}, optimizer {_gib(memory.optimizer)}"
    room = _gpu_bytes(size)
    has = f" of {_gib(room)}" if room else ""
    yield f"about {_gib(memory.total)}{has} a GPU: {parts}, activations {_gib(memory.activations)}, runtime {_gib(RUNTIME_BYTES)}"
    yield f"states by {memory.formula}; activations by 34 x sequence x batch x width a layer, and logits"


def too_big(memory: Estimate | None, size: Size, params: Any) -> Iterator[str]:
    """What to change where it will not fit."""
    room = _gpu_bytes(size)
    if memory is None or room is None or memory.total <= room:
        return
    yield f"needs about {_gib(memory.total)} a GPU and the smallest here has {_gib(room)}: {_instead(memory, params)}"


def _instead(memory: Estimate, params: Any) -> str:
    """The first thing to try, for what takes most."""
    states = memory.parameters + memory.gradients + memory.optimizer
    if states < memory.activations:
        return "--accumulate takes the batch in parts; fsdp also --activation-checkpointing"
    if params.strategy == "ddp":
        return "--strategy fsdp splits the states over the ranks"
    if params.strategy == "deepspeed" and stage_of(params) < 3:
        return "--zero 3 splits the weights too"
    return (
        "more ranks split it further; --offload cpu keeps the states in host memory"
        if not params.offload
        else "more ranks, or a GPU with more memory"
    )


def _gpu_bytes(size: Size) -> int | None:
    """The memory of the smallest GPU among the places; None where a type is not known."""
    known = [instance_types().get(room.instance_type) for room, _ in size.places]
    found = [one.gpu_memory_bytes for one in known if one is not None]
    return min(found) if found and len(found) == len(known) else None


def _gib(amount: float) -> str:
    return f"{amount / GIB:.1f} GiB" if amount >= GIB / 10 else f"{amount / 2**20:.0f} MiB"
