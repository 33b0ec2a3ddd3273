"""The flags every training program takes, read and checked before anything else starts."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn

import torch

from training.blueprints import HUB, BadModel, Blueprint, read_model
from training.model import PRESETS
from training.texts import DATASET

BAD_FLAGS = 2  # exit code
SHARDINGS = ("full", "grad-op", "hybrid")
OFFLOADS = ("none", "optimizer", "all")


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None means the preset decides."""

    model: str
    blueprint: Blueprint  # of that model
    pretrained: bool
    data: str
    new_data: bool
    steps: int
    seed: int
    global_batch: int | None
    batch: int  # sequences this rank takes a step
    accumulate: int  # micro-batches it takes them in
    lr: float | None
    warmup: int | None
    clip: float
    step_pause_seconds: float
    device: str
    precision: str
    compile: bool
    log_json: str | None
    metrics_port: int | None
    timeout_seconds: float
    grace_seconds: float
    checkpoint_dir: str | None
    checkpoint_every: int
    keep_last: int
    keep_every: int
    resume: str
    sharding: str = "full"  # fsdp
    replicas: int | None = None  # fsdp, hybrid sharding
    activation_checkpointing: bool = False  # fsdp
    stage: int = 0  # zero
    offload: str = "none"  # fsdp, zero

    @property
    def micro_batch(self) -> int:
        """Sequences this rank takes at once."""
        return self.batch // self.accumulate


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, on rank 0 alone, with the nearest flag where one is close."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            message += nearest(message.removeprefix("unrecognized arguments: ").split("=")[0].split()[0], self._option_string_actions)
        refuse(f"{self.prog}: {message}")


def refuse(line: str, speaks: bool | None = None) -> NoReturn:
    """End this rank with exit code 2; rank 0 says why, or whichever rank `speaks`."""
    if os.environ.get("RANK", "0") == "0" if speaks is None else speaks:
        print(f"error: {line}", file=sys.stderr, flush=True)
    sys.exit(BAD_FLAGS)


def nearest(word: str, valid: Sequence[str] | dict[str, argparse.Action]) -> str:
    """`; did you mean X?`, or nothing when no valid word is close."""
    close = get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def one_of(valid: Sequence[str]) -> Callable[[str], str]:
    """An argparse type that accepts the valid words and names the nearest one otherwise."""

    def choice(text: str) -> str:
        if text in valid:
            return text
        raise argparse.ArgumentTypeError(f"unknown value {text!r}{nearest(text, valid)} (valid: {', '.join(valid)})")

    return choice


def number(kind: type[int] | type[float], low: float, high: float = math.inf) -> Callable[[str], float]:
    """An argparse type for a finite int or float with low <= value <= high."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {'a whole number' if kind is int else 'a number'}") from None
        if not low <= value <= high or math.isinf(value):
            span = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
            raise argparse.ArgumentTypeError(f"{text} is out of range: it takes a number {span}")
        return value

    return parse


def checkpoint_to_resume(text: str) -> str:
    """An argparse type: auto, none, or a step."""
    if text in ("auto", "none"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, none nor a step{nearest(text, ('auto', 'none'))}")
    return str(int(text))


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """What is trained, and on what."""
    flag = parser.add_argument
    flag("--model", default="tiny", help=f"{', '.join(PRESETS)} (default tiny), {HUB}NAME of the Hugging Face Hub, or a folder")
    flag("--pretrained", action="store_true", help="begin with the weights of hf:NAME or of the folder (default: random ones)")
    flag("--context", type=number(int, 2), metavar="N", help="tokens in one sample (default: the model's)")
    flag("--data", default="synthetic", help=f"synthetic (default), a file or folder of text, {DATASET}NAME[:CONFIG], or a folder of datasets")
    flag("--new-data", action="store_true", help="go on from a checkpoint that was trained on other data")
    flag("--global-batch", type=number(int, 1), metavar="N", help="sequences a step over all ranks (default: the model's, times ranks and N below)")
    flag("--accumulate", type=number(int, 1), default=1, metavar="N", help="micro-batches a rank takes its share in (default 1)")


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Where checkpoints go, how many are kept, and which one is gone on from."""
    flag, count = parser.add_argument, number(int, 0)
    flag("--checkpoint-dir", metavar="DIR", help="a folder all ranks share, or s3://BUCKET/PREFIX (default: no checkpoints)")
    flag("--checkpoint-every", type=number(int, 1), default=100, metavar="K", help="steps (default 100); also at the end and on SIGTERM")
    flag("--keep-last", type=number(int, 1), default=3, metavar="N", help="checkpoints that stay (default 3)")
    flag("--keep-every", type=count, default=0, metavar="M", help="also keep those of every M-th step (default 0: none)")
    flag("--resume", type=checkpoint_to_resume, default="auto", metavar="STEP", help="auto (default: the last whole one), none or a step")


def add_strategy_flags(strategy: str, parser: argparse.ArgumentParser) -> None:
    """What only one strategy takes."""
    flag = parser.add_argument
    if strategy == "fsdp":
        flag("--sharding", type=one_of(SHARDINGS), default="full", help=f"{', '.join(SHARDINGS)} (default full)")
        flag("--replicas", type=number(int, 1), metavar="N", help="copies of the model in hybrid sharding (default: one a machine)")
        flag("--activation-checkpointing", action="store_true", help="compute each block again in the backward pass")
        flag("--offload", type=one_of(("none", "cpu")), default="none", help="none (default) or cpu: what to keep in host memory")
    if strategy == "zero":
        flag("--stage", type=int, choices=(1, 2, 3), default=2, help="split 1: the optimizer, 2: and gradients, 3: and weights (default 2)")
        flag("--offload", type=one_of(OFFLOADS), default="none", help=f"{', '.join(OFFLOADS)} (default none): what to keep in host memory")


def read_options(strategy: str, argv: Sequence[str]) -> Options:
    """Options of `python -m training.<strategy>`; a wrong flag is one line on rank 0's stderr and exit code 2."""
    parser = Parser(prog=f"training.{strategy}", allow_abbrev=False)
    flag, seconds = parser.add_argument, number(float, 0)
    add_model_flags(parser)
    flag("--steps", type=number(int, 1), default=50, metavar="N", help="optimizer steps (default 50)")
    flag("--seed", type=number(int, -(2**63), 2**63 - 1), default=0, metavar="S", help="of weights and data (default 0)")
    flag("--lr", type=number(float, 0), metavar="RATE", help="peak learning rate (default: the model's)")
    flag("--warmup", type=number(int, 0), metavar="STEPS", help="before the cosine (default: a tenth of --steps, at most 100)")
    flag("--clip", type=number(float, 0), default=1.0, metavar="NORM", help="largest gradient norm; 0: no clipping (default 1.0)")
    flag("--step-pause", dest="step_pause_seconds", type=seconds, default=0.0, metavar="SECONDS", help="idle time a step (default 0)")
    flag(
        "--device",
        type=one_of(("auto", "cpu", "cuda")),
        default="cpu" if strategy == "amx" else "auto",
        help="auto (cuda where there is one), cpu or cuda",
    )
    flag("--precision", type=one_of(("auto", "fp32", "bf16")), default="auto", help="auto (default: bf16 on capable GPUs), fp32 or bf16")
    flag("--compile", action="store_true", help="compile the model with torch.compile")
    flag("--log-json", metavar="PATH", help="append the JSON lines to PATH too; %%r in it becomes the rank")
    port, of_env = number(int, 1, 65_535), os.environ.get("TRAINING_METRICS_PORT") or None
    flag("--metrics-port", type=port, default=of_env, metavar="PORT", help="Prometheus text on PORT + local rank (default: none)")
    flag("--timeout", dest="timeout_seconds", type=number(float, 1), default=120.0, metavar="SECONDS", help="wait for a peer (default 120)")
    flag("--grace", dest="grace_seconds", type=seconds, default=20.0, metavar="SECONDS", help="a step may take after SIGTERM (default 20)")
    add_checkpoint_flags(parser)
    add_strategy_flags(strategy, parser)
    asked = vars(parser.parse_args(argv))
    context = asked.pop("context")
    try:
        blueprint = read_model(asked["model"], context, asked["pretrained"])
    except BadModel as error:
        parser.error(f"argument --model: {error}")
    batch = batch_per_rank(blueprint, asked["global_batch"], asked["accumulate"], int(os.environ.get("WORLD_SIZE", "1")))
    return Options(blueprint=blueprint, batch=batch, **asked)


def batch_per_rank(blueprint: Blueprint, global_batch: int | None, accumulate: int, world_size: int, whose: str = "--global-batch") -> int:
    """Sequences each rank takes a step; a global batch that does not divide is refused with the arithmetic."""
    if global_batch is None:
        return blueprint.batch * accumulate
    micro_batch, left_over = divmod(global_batch, world_size * accumulate)
    if left_over:
        near = max(1, micro_batch) * world_size * accumulate
        parts = f"{world_size} ranks" if accumulate == 1 else f"{world_size} ranks x {accumulate} micro-batches = {world_size * accumulate} parts"
        refuse(f"{whose} {global_batch} over {parts} leaves {left_over} sequences over; {near} divides")
    return micro_batch * accumulate


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """bf16 where asked, or on GPUs that have it (compute capability 8.0 on); elsewhere it is emulated and slower than fp32."""
    capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if wanted == "bf16" or (wanted == "auto" and capable) else torch.float32
