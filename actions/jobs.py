"""The training jobs: the phase they are in, their ranks, and how far they have come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import age_seconds, rfc3339
from cockpit.model import Job, Progress
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which jobs."""

    job: str = param("only the jobs of this name", "", picks="jobs")
    namespace: str = param("only this namespace; all of them when empty", "", picks="namespaces")
    active: bool = param("leave out the jobs that are over", False)


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a job, newest first."""
    for job in sorted(snapshot.jobs.values(), key=lambda job: (-(job.created or 0.0), job.key)):
        named = params.job in ("", job.key.name) and params.namespace in ("", job.key.namespace)
        if named and not (params.active and snapshot.phase_of(job).over):
            yield _record(snapshot, job)


def _record(snapshot: Snapshot, job: Job) -> dict[str, Any]:
    progress: Progress | None = snapshot.progress.get(job.key)
    pods = snapshot.pods_of(job.key)
    end = job.finished or time.time()
    started = job.started or job.created
    return {
        "kind": job.key.kind,
        "namespace": job.key.namespace,
        "name": job.key.name,
        "strategy": job.strategy or None,
        "phase": snapshot.phase_of(job).value,
        "reason": snapshot.reason_of(job) or None,
        "ranks": job.ranks_wanted,
        "ranks_up": snapshot.ranks_up(job) if snapshot.believed("pods") else None,
        "pods": [pod.key.name for pod in pods] if snapshot.believed("pods") else None,
        "nodes": list(snapshot.nodes_of(job.key)) if snapshot.believed("pods") else None,
        "gpus": None if job.pods_wanted is None else job.pods_wanted * job.gpus_per_pod,
        "step": progress.step if progress else None,
        "steps": (progress.steps if progress else None) or job.steps_wanted,
        "loss_first": progress.loss_first if progress else None,
        "loss": progress.loss if progress else None,
        "tokens_per_second": progress.tokens_per_second if progress else None,
        "step_seconds": progress.step_seconds if progress else None,
        "queue": job.queue or None,
        "restarts": job.restarts,
        "created": rfc3339(job.created),
        "started": rfc3339(job.started),
        "finished": rfc3339(job.finished),
        "seconds": None if started is None else round(max(0.0, end - started), 1),
        "age_seconds": age_seconds(job.created),
        "managed": job.managed,
    }


ACTION = Action(
    name="jobs",
    title="Jobs",
    params=Params,
    needs=("jobs", "pods", "nodeclaims", "queues", "events", "progress"),
    can_lack=("pods", "nodeclaims", "queues", "events", "progress"),
    records=records,
    columns=(
        Column("namespace", "NAMESPACE"),
        Column("name", "JOB"),
        Column("kind", "KIND"),
        Column("strategy", "STRATEGY"),
        Column("phase", "PHASE"),
        Column("ranks_up", "UP", right=True),
        Column("ranks", "RANKS", right=True),
        Column("step", "STEP", right=True),
        Column("steps", "STEPS", right=True),
        Column("loss", "LOSS", right=True),
        Column("age_seconds", "AGE", right=True),
        Column("reason", "REASON"),
        Column("gpus", "GPU", right=True, wide=True),
        Column("tokens_per_second", "TOKENS/S", right=True, wide=True),
        Column("queue", "QUEUE", wide=True),
        Column("restarts", "RESTARTS", right=True, wide=True),
        Column("nodes", "NODES", wide=True),
    ),
    doc="PyTorchJobs and TrainJobs with the phase derived from the objects below them.",
)
