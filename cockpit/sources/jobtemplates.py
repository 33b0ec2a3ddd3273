"""What a job's pod template says of its ranks, GPUs and strategy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from cockpit.sources.nodes import GPU
from cockpit.sources.pods import MAIN_CONTAINERS, RawResources
from cockpit.sources.raw import count

NPROC = re.compile(r"--nproc[-_]per[-_]node(?:=|\s+)(\d+)")
DIRECTORY = re.compile(r"--checkpoint[-_]dir(?:=|\s+)(\S+)")
STRATEGIES = (("deepspeed", "deepspeed"), ("training.zero", "deepspeed"), ("fsdp", "fsdp"), ("amx", "amx"), ("ddp", "ddp"))


class RawEnv(msgspec.Struct):
    name: str | None = None
    value: str | None = None


class RawMount(msgspec.Struct, rename="camel"):
    name: str | None = None
    mount_path: str | None = None
    sub_path: str | None = None


class RawClaim(msgspec.Struct, rename="camel"):
    claim_name: str | None = None


class RawVolume(msgspec.Struct, rename="camel"):
    name: str | None = None
    persistent_volume_claim: RawClaim | None = None


class RawTemplateContainer(msgspec.Struct, rename="camel"):
    name: str | None = None
    command: list[str | None] | None = None
    args: list[str | None] | None = None
    env: list[RawEnv | None] | None = None
    resources: RawResources | None = None
    volume_mounts: list[RawMount | None] | None = None


class RawTemplateSpec(msgspec.Struct, rename="camel"):
    containers: list[RawTemplateContainer | None] | None = None
    volumes: list[RawVolume | None] | None = None
    priority_class_name: str | None = None


class RawPodTemplate(msgspec.Struct):
    """A pod template, its containers and the claims they mount."""

    spec: RawTemplateSpec | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """Ranks and GPUs of one pod, the strategy, and where checkpoints go, as far as a template tells; `mounts`: (path, claim/sub-path) of claims."""

    ranks: int | None = None
    gpus: int = 0
    strategy: str = ""
    store: str = ""
    mounts: tuple[tuple[str, str], ...] = ()


def shape_of(template: RawPodTemplate | None, nproc: int | str | None) -> Shape:
    """The shape of a template's training container; `nproc` is what the job itself says (a number, auto, gpu, cpu or None)."""
    containers = [one for one in (template.spec.containers if template and template.spec else None) or () if one]
    main = next((one for one in containers if one.name in MAIN_CONTAINERS), containers[0] if containers else None)
    if main is None:
        return shape_in((), nproc, {}, None)
    words = [word for word in (*(main.command or ()), *(main.args or ())) if word]
    environment = {one.name: one.value for one in main.env or () if one and one.name and one.value}
    mounts = _claims_in(template, main)
    return replace(shape_in(words, nproc, environment, main.resources), store=stored_in(words, mounts), mounts=mounts)


def priority_of(template: RawPodTemplate | None) -> str:
    """The PriorityClass a template's pods name; empty when they name none."""
    return (template.spec.priority_class_name if template and template.spec else None) or ""


def _claims_in(template: RawPodTemplate | None, main: RawTemplateContainer) -> tuple[tuple[str, str], ...]:
    volumes = [one for one in (template.spec.volumes if template and template.spec else None) or () if one]
    claims = {one.name: one.persistent_volume_claim.claim_name for one in volumes if one.persistent_volume_claim}
    mounts = [one for one in main.volume_mounts or () if one and one.mount_path and claims.get(one.name)]
    return tuple((mount.mount_path or "", "/".join(filter(None, (claims[mount.name], (mount.sub_path or "").strip("/"))))) for mount in mounts)


def stored_in(words: Sequence[str], mounts: Sequence[tuple[str, str]]) -> str:
    """Where `--checkpoint-dir` of a command line leads: a bucket, or the claim mounted there; empty when it leads nowhere that outlives the pod."""
    found = DIRECTORY.search(" ".join(words))
    if found is None or found[1].startswith("s3://"):
        return found[1].rstrip("/") if found else ""
    for path, claim in sorted(mounts, key=lambda mount: len(mount[0]), reverse=True):
        top = path.rstrip("/")
        if found[1] == top or found[1].startswith(top + "/"):
            return "pvc:" + "/".join(filter(None, (claim, found[1][len(top) :].strip("/"))))
    return ""


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
