"""Checkpoints: those of one job below its ranks, or all that are known; what a log told is `said`, until someone reads the place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cockpit.model import Checkpoint, CheckpointStore, JobKey, StoreKey
from cockpit.snapshot import store_of
from cockpit.store import Changes
from cockpit.tui.cells import DASH, UNKNOWN, Cell, Tone, age, cell, count, natural, number
from cockpit.tui.views import Column, Scene, Sums, View

LOOK = {
    "whole": ("● whole", Tone.GOOD),
    "said": ("○ said", Tone.INFO),
    "in progress": ("◐ in progress", Tone.INFO),
    "torn": ("✖ torn", Tone.BAD),
    "failed": ("✖ failed", Tone.BAD),
}
BAD = frozenset({"torn", "failed"})


def size(amount: int | None) -> str:
    """1.7 MiB; a dash when it is not known."""
    if amount is None:
        return UNKNOWN
    for unit, least in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= least:
            return f"{amount / least:,.1f} {unit}"
    return f"{amount} B"


class Checkpoints(View):
    """Every checkpoint that is known, the newest first; of one job, or of all."""

    name, title, noun, kind, ticking = "checkpoints", "Checkpoints", "checkpoint", "checkpoints", True
    sources = ("progress",)
    sort_key, sort_down = "step", True

    def __init__(self, job: JobKey | None = None) -> None:
        self.job = job
        self._writers: dict[StoreKey, JobKey] = {}
        self.empty = "none is told of in its log" if job else "no job's log told of one"
        whose = Column("job", "JOB", 14, flex=2, most=40, sort=lambda scene, key: natural(self._whose(scene, key)))
        self.columns = (
            *(() if job else (whose,)),
            Column("step", "STEP", 7, right=True, sort=lambda scene, key: scene.snapshot.checkpoints[key].step),
            Column("state", "STATE", 13),
            Column("age", "AGE", 6, right=True, sort=lambda scene, key: scene.snapshot.checkpoints[key].at),
            Column("loss", "LOSS", 8, right=True, drop=5, sort=lambda scene, key: scene.snapshot.checkpoints[key].loss),
            Column("size", "SIZE", 9, right=True, drop=4, sort=lambda scene, key: scene.snapshot.checkpoints[key].size_bytes),
            Column("world", "RANKS", 5, right=True, drop=3, sort=lambda scene, key: scene.snapshot.checkpoints[key].world_size),
            Column("strategy", "STRAT", 9, drop=6),
            Column("read", "READ", 7, drop=7),
            Column("why", "WHY", 12, flex=3, most=120, drop=1),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        if self.job is None:
            return scene.snapshot.checkpoints
        job = scene.snapshot.jobs.get(self.job)
        return scene.snapshot.checkpoints_by_store.get(store_of(job), ()) if job is not None else ()

    def has(self, scene: Scene, key: Any) -> bool:
        if key not in scene.snapshot.checkpoints:
            return False
        if self.job is None:
            return scene.namespace in (None, "", key.store.namespace) or not key.store.namespace
        job = scene.snapshot.jobs.get(self.job)
        return job is not None and key.store == store_of(job)

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        """A place read anew touches all that is in it."""
        empty: frozenset[Any] = frozenset()
        found = set(changes.get("checkpoints", empty))
        for store in changes.get("stores", empty):
            found.update(scene.snapshot.checkpoints_by_store.get(store, ()))
        return found

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        one = scene.snapshot.checkpoints[key]
        word, tone = LOOK.get(one.state, (one.state, Tone.PLAIN))
        whose = self._whose(scene, key)
        return (
            *(() if self.job else (cell(whose or one.store, Tone.STRONG),)),
            cell(f"{one.step:,}", Tone.STRONG),
            cell(word, tone),
            cell(age(scene.now - one.at), Tone.MUTED) if one.at else DASH,
            number(one.loss, "{:.4f}"),
            cell(size(one.size_bytes), Tone.MUTED),
            number(one.world_size, tone=Tone.MUTED),
            cell(one.strategy or UNKNOWN, Tone.MUTED),
            cell(one.verified, Tone.MUTED),
            cell(one.why, Tone.BAD if one.state in BAD else Tone.MUTED),
        )

    def label(self, key: Any) -> str:
        return str(key.entry)

    def weigh(self, scene: Scene, key: Any) -> Sums:
        state = scene.snapshot.checkpoints[key].state
        return (state == "whole", state == "said", state in BAD)

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        words = [f"{int(amount)} {word}" for amount, word in zip(sums, ("whole", "said", "not whole"), strict=True) if amount]
        return " · ".join([*(words or [count(rows, "checkpoint")]), *self._read(scene)])

    def _read(self, scene: Scene) -> list[str]:
        """When the place was read, or that it is being read now."""
        store = self._store(scene)
        if scene.reading:
            return ["reading …"]
        return [f"read {age(scene.now - store.looked_at)} ago"] if store is not None else []

    def alert(self, scene: Scene) -> str:
        """Why the place could not be read."""
        store = self._store(scene)
        return scene.misread or (store.why if store is not None else "")

    def _store(self, scene: Scene) -> CheckpointStore | None:
        job = scene.snapshot.jobs.get(self.job) if self.job else None
        found: CheckpointStore | None = scene.snapshot.stores.get(store_of(job)) if job is not None else None
        return found

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        one: Checkpoint = scene.snapshot.checkpoints[key]
        return (1, f"checkpoint {one.step} is {one.state}: {one.why}") if one.state in BAD else None

    def fills(self, key: Any) -> Mapping[str, str]:
        step = key.entry.rpartition("_")[2]
        job = self.job or self._writers.get(key.store)
        whose = {"jobs": job.name, "namespaces": job.namespace} if job is not None else {}
        return {"checkpoints": str(int(step)) if step.isdigit() else key.entry, **whose}

    def room(self) -> Mapping[str, str]:
        return {"jobs": self.job.name, "namespaces": self.job.namespace} if self.job else {}

    def _whose(self, scene: Scene, key: Any) -> str:
        """The job that writes there, the newest where several have; remembered for `fills`, which has no picture."""
        told = scene.snapshot.checkpoints[key].job
        writers = [job for job in scene.snapshot.jobs.values() if store_of(job) == key.store] if told is None else []
        newest = max(writers, key=lambda job: job.created or 0.0, default=None)
        found: JobKey | None = told if told is not None else newest.key if newest is not None else None
        if found is None:
            return ""
        self._writers[key.store] = found
        return found.name
