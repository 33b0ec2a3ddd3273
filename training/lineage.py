"""Which checkpoint comes first, which may be deleted, and which run may go on from which. The standard library and nothing else."""

from training.manifest import WHOLE, Manifest, Verdict

READS = {"ddp": "dcp", "fsdp": "dcp", "amx": "dcp", "zero": "deepspeed"}  # strategy: the format of its checkpoints


def newest_first(found: list[Verdict]) -> list[Verdict]:
    """The whole ones, the last committed first."""
    whole = [one for one in found if one.state == WHOLE and one.manifest]
    return sorted(whole, key=lambda one: one.manifest.sequence if one.manifest else 0, reverse=True)


def expendable(found: list[Verdict], keep_last: int, keep_every: int = 0) -> list[str]:
    """Whole entries that retention may delete: not the last `keep_last` (at least one), not every `keep_every`th step."""
    return [one.entry for one in newest_first(found)[max(1, keep_last) :] if not (keep_every and one.step % keep_every == 0)]


def refusal(manifest: Manifest, strategy: str, shapes: dict[str, list[int]] | None = None, stage: int = 0, seed: int | None = None) -> str:
    """Why a run of `strategy` cannot go on from this checkpoint; empty when it can, on any number of ranks."""
    if READS[strategy] != manifest.format:
        able = ", ".join(name for name, form in READS.items() if form == manifest.format)
        return f"it is of {manifest.strategy}, in the format {manifest.format}; {able} can load it, {strategy} cannot"
    if (manifest.stage == 3) != (stage == 3):
        return f"it is of ZeRO stage {manifest.stage}, this run of stage {stage}: only stage 3 splits the weights; use --stage {manifest.stage}"
    if shapes is not None and shapes != manifest.shapes:
        name = min(n for n in shapes.keys() | manifest.shapes.keys() if shapes.get(n) != manifest.shapes.get(n))
        return (
            f"it is of another model, {manifest.model}: {name} is {manifest.shapes.get(name, 'absent')} there and {shapes.get(name, 'absent')} here"
        )
    if seed is not None and seed != manifest.data["seed"]:
        return f"its data are of seed {manifest.data['seed']}, this run's of seed {seed}; use --seed {manifest.data['seed']}"
    return ""
