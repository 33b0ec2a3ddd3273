"""What a job's pod template says of its ranks, GPUs and strategy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cockpit.sources.nodes import GPU
from cockpit.sources.pods import MAIN_CONTAINERS, RawResources
from cockpit.sources.raw import count

NPROC = re.compile(r"--nproc[-_]per[-_]node(?:=|\s+)(\d+)")
STRATEGIES = (("deepspeed", "deepspeed"), ("training.zero", "deepspeed"), ("fsdp", "fsdp"), ("amx", "amx"), ("ddp", "ddp"))


class RawEnv(msgspec.Struct):
    name: str | None = None
    value: str | None = None


class RawTemplateContainer(msgspec.Struct):
    name: str | None = None
    command: list[str | None] | None = None
    args: list[str | None] | None = None
    env: list[RawEnv | None] | None = None
    resources: RawResources | None = None


class RawTemplateSpec(msgspec.Struct):
    containers: list[RawTemplateContainer | None] | None = None


class RawPodTemplate(msgspec.Struct):
    """A pod template, its containers only."""

    spec: RawTemplateSpec | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """Ranks and GPUs of one pod, and the strategy, as far as a template tells."""

    ranks: int | None = None
    gpus: int = 0
    strategy: str = ""


def shape_of(template: RawPodTemplate | None, nproc: int | str | None) -> Shape:
    """The shape of a template's training container; `nproc` is what the job itself says (a number, auto, gpu, cpu or None)."""
    containers = [one for one in (template.spec.containers if template and template.spec else None) or () if one]
    main = next((one for one in containers if one.name in MAIN_CONTAINERS), containers[0] if containers else None)
    if main is None:
        return shape_in((), nproc, {}, None)
    words = [word for word in (*(main.command or ()), *(main.args or ())) if word]
    environment = {one.name: one.value for one in main.env or () if one and one.name and one.value}
    return shape_in(words, nproc, environment, main.resources)


def shape_in(words: Sequence[str], nproc: int | str | None, environment: Mapping[str, str], resources: RawResources | None) -> Shape:
    """Ranks: the number the job says, else PET_NPROC_PER_NODE, else torchrun's flag, else one a GPU, else unknown."""
    gpus = _gpus(resources)
    line = " ".join(words)
    flag = NPROC.search(line)
    said = (_number(nproc), _number(environment.get("PET_NPROC_PER_NODE")), _number(flag[1]) if flag else None, gpus or None)
    return Shape(next((one for one in said if one), None), gpus, strategy_of(line))


def strategy_of(line: str) -> str:
    """The strategy a command line names: ddp, fsdp, deepspeed, amx; ddp for a bare torchrun, empty when it says nothing."""
    for word, strategy in STRATEGIES:
        if word in line:
            return strategy
    return "ddp" if "torchrun" in line or "torch.distributed.run" in line else ""


def _number(text: int | str | None) -> int | None:
    return int(text) if text is not None and str(text).isdigit() else None


def _gpus(resources: RawResources | None) -> int:
    for found in (resources.limits, resources.requests) if resources else ():
        if found and (gpus := count(found.get(GPU))) is not None:
            return max(0, gpus)
    return 0
