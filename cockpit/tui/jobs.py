"""Pane 3, the training jobs: where each stands, how far it has come, and why it waits; Enter goes down to its ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.diagnosis import end_in_words, finding_of
from cockpit.model import Finding, Job, Phase, Pod, Progress
from cockpit.snapshot import Snapshot
from cockpit.store import Changes
from cockpit.tui.bars import bar, sparkline
from cockpit.tui.cells import BLANK, DASH, UNKNOWN, Cell, Part, Tone, age, cell, count, dollars, natural, short_node
from cockpit.tui.checkpoints import Checkpoints
from cockpit.tui.cluster import Pods, pod_state
from cockpit.tui.findings import cause_part, caution, lines, troubled_by
from cockpit.tui.gpus import mean
from cockpit.tui.views import Column, Scene, Sums, View

LOOK = {
    Phase.SUSPENDED: ("◌", Tone.MUTED),
    Phase.QUEUED: ("◌", Tone.INFO),
    Phase.PENDING: ("◌", Tone.INFO),
    Phase.PROVISIONING: ("◌", Tone.INFO),
    Phase.PULLING: ("◌", Tone.INFO),
    Phase.RENDEZVOUS: ("◐", Tone.INFO),
    Phase.TRAINING: ("●", Tone.GOOD),
    Phase.RESTARTING: ("↻", Tone.WARN),
    Phase.STOPPING: ("◌", Tone.WARN),
    Phase.SUCCEEDED: ("✔", Tone.MUTED),
    Phase.FAILED: ("✖", Tone.BAD),
}
WAITING = frozenset({Phase.QUEUED, Phase.PENDING, Phase.PROVISIONING, Phase.PULLING, Phase.RESTARTING})
STALLED = cell("✖ stalled", Tone.BAD)
SLOW_SECONDS = 300.0
SPARK_CELLS = 10


def phase_cell(phase: Phase) -> Cell:
    """A phase with its glyph."""
    glyph, tone = LOOK[phase]
    return cell(f"{glyph} {phase.value}", tone)


def steps(job: Job, progress: Progress | None) -> str:
    """1204/2000; the dash stands for what is not known."""
    if progress is None:
        return UNKNOWN
    wanted = progress.steps or job.steps_wanted
    return f"{progress.step}/{_compact(wanted)}" if wanted else f"{progress.step:,}"


class Jobs(View):
    """All training jobs, the newest first."""

    name, title, noun, kind, ticking = "jobs", "Jobs", "job", "jobs", True
    sources = ("jobs", "pods", "progress")
    missing = "no training operator here: neither PyTorchJob nor TrainJob is served"
    empty = "l launches one"
    sort_key, sort_down = "age", True

    def __init__(self) -> None:
        self._waiting: set[Any] = set()
        self._troubled: set[Any] = set()
        self.columns = (
            Column("namespace", "NS", 8, drop=9),
            Column("job", "JOB", 20, flex=2, most=50, sort=lambda scene, key: natural(key.name)),
            Column("strategy", "STRAT", 9, drop=5),
            Column("phase", "PHASE", 14, sort=lambda scene, key: list(Phase).index(scene.snapshot.phase_of(scene.snapshot.jobs[key]))),
            Column("ranks", "RANKS", 9, right=True, sort=lambda scene, key: scene.snapshot.jobs[key].ranks_wanted),
            Column("step", "STEP", 13, right=True, drop=3, sort=self._step),
            Column("trend", "LOSS/WHY", 8, flex=3, most=80, drop=2, sort=self._loss),
            Column("dollars", "$/H", 7, right=True, drop=7, sort=lambda scene, key: scene.snapshot.job_price(key)),
            Column("age", "AGE", 6, right=True, drop=6, sort=lambda scene, key: scene.snapshot.jobs[key].created),
        )

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.jobs and scene.namespace in (None, key.namespace)

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        empty: frozenset[Any] = frozenset()
        touched = changes.get("jobs", empty) | changes.get("progress", empty) | changes.get("pods_by_job", empty)
        if changes.keys() & {"workloads", "nodeclaims", "events"}:
            touched |= self._waiting
        return touched | troubled_by(scene, changes, self._troubled)

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        picture, job = scene.snapshot, scene.snapshot.jobs[key]
        phase, progress, finding = picture.phase_of(job), picture.progress.get(key), finding_of(picture, job)
        up, wanted = picture.ranks_up(job), job.ranks_wanted
        short = not phase.over and up is not None and wanted is not None and up < wanted and phase is Phase.TRAINING
        return (
            cell(key.namespace, Tone.MUTED),
            cell(key.name, Tone.STRONG),
            cell(job.strategy or UNKNOWN, Tone.MUTED),
            STALLED if finding is not None and phase is Phase.TRAINING else phase_cell(phase),
            cell(_known(wanted), Tone.MUTED) if phase.over else cell(f"{_known(up)}/{_known(wanted)}", Tone.WARN if short else Tone.PLAIN),
            cell(steps(job, progress)),
            self._trend(picture, job, phase, progress, finding),
            cell(dollars(picture.job_price(key), per_hour=False)) if picture.job_price(key) != 0 and not phase.over else BLANK,
            cell(short_age(scene.now - job.created), Tone.MUTED) if job.created else DASH,
        )

    def _trend(self, picture: Snapshot, job: Job, phase: Phase, progress: Progress | None, finding: Finding | None) -> Cell:
        if finding is not None:
            return cell(*cause_part(finding, job))
        if why := picture.reason_of(job):
            return cell(why, Tone.MUTED)
        if progress is None or progress.loss is None:
            return cell(f"↻ {job.restarts} restarts", Tone.WARN) if job.restarts else BLANK
        speed = f" {progress.tokens_per_second:,.0f} tok/s" if progress.tokens_per_second and not phase.over else ""
        spark = sparkline(progress.losses, SPARK_CELLS)
        return Cell(((f"{progress.loss:.3f} ", Tone.PLAIN), (spark, Tone.MUTED if phase.over else Tone.BAR), (speed, Tone.MUTED)))

    def text(self, scene: Scene, key: Any) -> str:
        job = scene.snapshot.jobs[key]
        return f"{key.namespace} {key.name} {job.strategy} {scene.snapshot.phase_of(job).value} {scene.snapshot.reason_of(job)}"

    def weigh(self, scene: Scene, key: Any) -> Sums:
        phase = scene.snapshot.phase_of(scene.snapshot.jobs[key])
        (self._waiting.add if phase in WAITING else self._waiting.discard)(key)
        training = phase in (Phase.TRAINING, Phase.RENDEZVOUS)
        return (training, phase in WAITING, phase is Phase.FAILED, phase is Phase.SUCCEEDED)

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        words = zip(sums, ("training", "wait", "failed", "done"), strict=True)
        return " · ".join(f"{int(amount):,} {word}" for amount, word in words if amount) or count(rows, "job")

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        job = scene.snapshot.jobs[key]
        phase, trouble = scene.snapshot.phase_of(job), caution(scene, job)
        (self._troubled.discard if trouble is None else self._troubled.add)(key)
        if trouble is not None:
            return trouble
        if phase in (Phase.PENDING, Phase.PROVISIONING) and job.created and scene.now - job.created > SLOW_SECONDS:
            return 2, f"{key.name} waits {age(scene.now - job.created)}: {scene.snapshot.reason_of(job)}"
        return None

    def enter(self, scene: Scene, key: Any) -> View | None:
        return JobRoom(key)

    def fills(self, key: Any) -> dict[str, str]:
        return {"jobs": key.name, "namespaces": key.namespace}

    def api_path(self, scene: Scene, key: Any) -> str:
        return job_path(scene.snapshot, key)

    def involved(self, key: Any) -> tuple[str, str, str]:
        return (key.kind, key.namespace, key.name)

    def _step(self, scene: Scene, key: Any) -> int | None:
        progress = scene.snapshot.progress.get(key)
        return progress.step if progress else None

    def _loss(self, scene: Scene, key: Any) -> float | None:
        progress = scene.snapshot.progress.get(key)
        return progress.loss if progress else None


def short_age(seconds: float) -> str:
    """An age in its largest unit only, so that it seldom changes on screen."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "<1m"


def job_path(picture: Snapshot, key: Any) -> str:
    """The API path of a job's object, by the group and version this cluster serves."""
    served = next((one for one in picture.served.values() if one.kind == key.kind), None)
    group, version = (served.group, served.version) if served else ("kubeflow.org", "v1")
    plural = served.resource.split(".")[0] if served else key.kind.lower() + "s"
    return f"/apis/{group}/{version}/namespaces/{key.namespace}/{plural}/{key.name}"


class JobRoom(Pods):
    """One job: its facts and its pods in rank order, each with its node and GPUs; Enter reads a rank's log."""

    name, ticking, sort_key = "job", True, "ranks"
    noun, empty = "rank", "its pods are not made yet"

    def __init__(self, job: Any) -> None:
        super().__init__()
        self.job, self.title = job, f"Job {job.name}"
        self.columns = (
            Column("ranks", "RANKS", 7, sort=self._first_rank),
            Column("pod", "POD", 20, flex=3, most=50, sort=lambda scene, key: natural(key.name)),
            Column("state", "STATE", 18),
            Column("restarts", "RST", 4, right=True, drop=3, sort=lambda scene, key: scene.snapshot.pods[key].restarts),
            Column("node", "NODE", 15, flex=1, most=30),
            Column("gpus", "GPU", 16, drop=2),
            Column("message", "WHY", 12, flex=2, most=60, drop=4),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.pods_by_job.get(self.job, ())

    def has(self, scene: Scene, key: Any) -> bool:
        pod = scene.snapshot.pods.get(key)
        return pod is not None and pod.job == self.job

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        empty: frozenset[Any] = frozenset()
        return changes.get("pods", empty) | changes.get("gpus_by_pod", empty) | changes.get("lastwords", empty)

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        pod = scene.snapshot.pods[key]
        gpus = [gpu for one in scene.snapshot.gpus_by_pod.get(key, ()) if (gpu := scene.snapshot.gpus.get(one))]
        util = mean(gpu.utilisation_percent for gpu in gpus)
        used = cell(str(pod.gpus or "-"), Tone.MUTED) if util is None else Cell((*bar(util / 100, 8), (f" {util:3.0f} %", Tone.PLAIN)))
        return (
            cell(self._ranks(scene, pod.index, pod.replica)),
            cell(key.name, Tone.STRONG),
            pod_state(pod),
            cell(str(pod.restarts), Tone.WARN if pod.restarts else Tone.MUTED),
            cell(short_node(pod.node)) if pod.node else DASH,
            used,
            cell(self._why(scene, pod), Tone.MUTED),
        )

    def _why(self, scene: Scene, pod: Pod) -> str:
        """The last words of its ranks where it ended, else what the pod says of itself."""
        words = scene.snapshot.lastwords.get(pod.key) if pod.exit_code else None
        return (end_in_words(words) if words is not None else "") or pod.message

    def _ranks(self, scene: Scene, index: int | None, replica: str) -> str:
        job = scene.snapshot.jobs.get(self.job)
        first = _place(index, replica)
        if job is None or not job.ranks_per_pod or first is None:
            return UNKNOWN
        low = first * job.ranks_per_pod
        return f"{low}-{low + job.ranks_per_pod - 1}" if job.ranks_per_pod > 1 else str(low)

    def _first_rank(self, scene: Scene, key: Any) -> int | None:
        pod = scene.snapshot.pods[key]
        return _place(pod.index, pod.replica)

    def below(self) -> View | None:
        return Checkpoints(self.job)

    def room(self) -> dict[str, str]:
        return {"jobs": self.job.name, "namespaces": self.job.namespace}

    def facts(self, scene: Scene) -> list[tuple[Part, ...]]:
        picture, job = scene.snapshot, scene.snapshot.jobs.get(self.job)
        if job is None:
            return [(("✖ this job is gone", Tone.BAD),)]
        progress = picture.progress.get(self.job)
        glyph, tone = LOOK[picture.phase_of(job)]
        told: list[tuple[Part, ...]] = [
            (
                (f"{glyph} {picture.phase_of(job).value}", tone),
                (f"   {self.job.kind} · {job.strategy or UNKNOWN} · ranks {picture.ranks_up(job) or 0}/{job.ranks_wanted or UNKNOWN}", Tone.PLAIN),
                (f" · {dollars(picture.job_price(self.job))} · restarts {job.restarts} · queue {job.queue or 'none'}", Tone.MUTED),
            ),
        ]
        if progress is not None:
            wanted = progress.steps or job.steps_wanted
            told.append(
                (
                    (f"step {steps(job, progress)}  ", Tone.PLAIN),
                    *(bar(progress.step / wanted, 24) if wanted else ()),
                    (f"  loss {progress.loss:.4f}" if progress.loss is not None else "  loss –", Tone.STRONG),
                    (f" from {progress.loss_first:.4f}  " if progress.loss_first is not None else "  ", Tone.MUTED),
                    (sparkline(progress.losses, 32), Tone.BAR),
                    (f"  {progress.tokens_per_second:,.0f} tokens/s" if progress.tokens_per_second else "", Tone.MUTED),
                )
            )
        return [*told, *lines(scene, job)]

    def api_path(self, scene: Scene, key: Any) -> str:
        return super().api_path(scene, key) if key is not None else job_path(scene.snapshot, self.job)


def _place(index: int | None, replica: str) -> int | None:
    if replica == "master":
        return 0
    if index is None:
        return None
    return index + 1 if replica == "worker" else index


def _compact(steps: int) -> str:
    """100k and 1M where the digits say no more."""
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if (steps >= 10 * size and steps % (size // 10) == 0) or steps == size:
            return f"{steps / size:g}{unit}"
    return str(steps)


def _known(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)
