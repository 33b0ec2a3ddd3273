"""Which checkpoint a job goes on from, and why another cannot be loaded: said before any rank starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actions.core.strategies import PRESETS, check_batch, stage_of
from cockpit.errors import BadInput, Refused
from cockpit.model import Checkpoint, StoreKey
from cockpit.snapshot import Snapshot

FORMATS = {"ddp": "dcp", "fsdp": "dcp", "amx": "dcp", "deepspeed": "deepspeed"}
NAMED = 5


def chosen(snapshot: Snapshot, key: StoreKey, wanted: str) -> Checkpoint:
    """The checkpoint of a step, the last whole one (latest), or the whole one of the lowest loss (best)."""
    found = looked_at(snapshot, key)
    whole = sorted((one for one in found if one.state == "whole"), key=commit_order, reverse=True)
    if wanted == "best":
        return _best(key, whole, found)
    if wanted == "latest":
        if not whole:
            raise Refused(f"no checkpoint in {key.where} is whole{_told(found)}", "launch begins anew")
        return whole[0]
    if not wanted.isdecimal():
        raise BadInput(f"--step {wanted!r}", "latest, best or a step")
    for one in whole:
        if one.step == int(wanted):
            return one
    broken = next((one for one in found if one.step == int(wanted)), None)
    if broken is not None:
        raise Refused(f"the checkpoint of step {wanted} is {broken.state}: {broken.why}", _there(whole))
    raise BadInput(f"no checkpoint of step {wanted} in {key.where}", _there(whole))


def commit_order(one: Checkpoint) -> tuple[int, int]:
    """The later a commit, the higher."""
    return (one.sequence or 0, one.step)


def looked_at(snapshot: Snapshot, key: StoreKey) -> list[Checkpoint]:
    """What a place holds; Refused where nobody has looked, or could."""
    seen = snapshot.stores.get(key)
    if seen is None:
        raise Refused(f"{key.where} has not been looked at", "--action checkpoints looks")
    if seen.why:
        raise Refused(f"{key.where} could not be looked at: {seen.why}", "--action checkpoints tells what the logs said")
    return snapshot.checkpoints_in(key)


def _best(key: StoreKey, whole: Sequence[Checkpoint], found: Sequence[Checkpoint]) -> Checkpoint:
    known = [one for one in whole if one.loss is not None]
    if not known:
        why = "no log tells the loss of their steps" if whole else f"none is whole{_told(found)}"
        raise Refused(f"which checkpoint in {key.where} is best is not known: {why}", _there(whole) if whole else "launch begins anew")
    return min(known, key=lambda one: (one.loss or 0.0, -one.step))


def _told(found: Sequence[Checkpoint]) -> str:
    said = [f"step {one.step} is {one.state}: {one.why}" for one in found[:NAMED]]
    return f" ({'; '.join(said)})" if said else ": it holds none"


def _there(whole: Sequence[Checkpoint]) -> str:
    steps = ", ".join(str(one.step) for one in sorted(whole, key=lambda one: -one.step)[:NAMED])
    return f"whole are: {steps}" if steps else "none is whole"


def check_fits(one: Checkpoint, params: Any) -> None:
    """Refused or BadInput with the reason when a launch with these parameters cannot load it; what is not known is left to the ranks."""
    here, there = FORMATS[params.strategy], FORMATS.get(one.strategy, "")
    where = f"the checkpoint of step {one.step}"
    if there and here != there:
        able = " or ".join(name for name, form in FORMATS.items() if form == there)
        raise Refused(f"{where} is of {one.strategy}, in the format {there}: {params.strategy} cannot load it", f"--strategy {able} can load it")
    stage = stage_of(params)
    if here == "deepspeed" and one.stage and (one.stage == 3) != (stage == 3):
        raise Refused(f"{where} is of ZeRO stage {one.stage}, this run of stage {stage}: only stage 3 splits the weights", f"--zero {one.stage}")
    if one.model and one.model != params.model and {one.model, params.model} <= set(PRESETS):
        raise Refused(f"{where} is of another model, {one.model}: this run is of {params.model}", "the shapes of their weights differ")
    if one.seed is not None and one.seed != params.seed:
        raise Refused(f"the data of {where} are of seed {one.seed}, this run's of seed {params.seed}", f"launch --seed {one.seed} goes on from it")
    ranks = params.nodes * params.nproc
    if params.global_batch is None:
        check_batch(one.global_batch, ranks, params.accumulate, whose="the checkpoint's global batch of")
    if one.step >= params.steps:
        raise BadInput(f"{where} is at the last of {params.steps} steps: there is nothing left to train", f"--steps {2 * one.step} trains on")
