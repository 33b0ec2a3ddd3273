"""How a job that was started, or one that is being stopped, stands; read from the picture alone."""

from __future__ import annotations

from typing import Any

from actions.core import Clients, Outcome
from actions.core.lookups import jobs_named
from cockpit.model import Job, Phase, Pod, Progress
from cockpit.snapshot import CRASHED_STATES, Snapshot, rank_order

SOURCES = ("jobs", "pods", "nodes", "nodeclaims", "queues", "events", "progress")
LAST_LINES = 20


def to_the_end(snapshot: Snapshot, namespace: str, name: str, kind: str) -> Outcome:
    """Where a job stands; done when it has succeeded or failed. The result is what --wait prints."""
    found = jobs_named(snapshot, name, namespace, kind)
    if not found:
        return Outcome(False, line=f"{name}: not seen yet", result={"job": name, "kind": kind, "phase": None})
    job = found[0]
    phase = snapshot.phase_of(job)
    result = _result(snapshot, job, phase)
    return Outcome(phase.over, phase is not Phase.FAILED, _line(snapshot, job, phase), result)


def _result(snapshot: Snapshot, job: Job, phase: Phase) -> dict[str, Any]:
    progress: Progress | None = snapshot.progress.get(job.key)
    began = job.created or job.started
    return {
        "job": job.key.name,
        "namespace": job.key.namespace,
        "kind": job.key.kind,
        "phase": phase.value,
        "ranks": job.ranks_wanted,
        "steps": progress.step if progress else None,
        "loss_first": progress.loss_first if progress else None,
        "loss_last": progress.loss if progress else None,
        "seconds": round(job.finished - began, 3) if job.finished is not None and began is not None else None,
        "nodes": list(snapshot.nodes_of(job.key)),
        "restarts": job.restarts,
    }


def _line(snapshot: Snapshot, job: Job, phase: Phase) -> str:
    if not snapshot.believed("jobs"):
        return f"{job.key.name}: the API does not answer; it was {phase.value} when last seen"
    progress: Progress | None = snapshot.progress.get(job.key)
    if phase is Phase.TRAINING and progress:
        of = f"/{progress.steps or job.steps_wanted}" if progress.steps or job.steps_wanted else ""
        return f"{job.key.name}: training, step {progress.step}{of}" + ("" if progress.loss is None else f", loss {progress.loss:.4f}")
    up, wanted = snapshot.ranks_up(job), job.ranks_wanted
    ranks = f", {up}/{wanted} ranks up" if up is not None and wanted is not None and not phase.over else ""
    reason = snapshot.reason_of(job)
    return f"{job.key.name}: {phase.value}{ranks}" + (f": {reason}" if reason else "")


def until_gone(snapshot: Snapshot, namespace: str, name: str, kind: str) -> Outcome:
    """Whether a job and every pod of it are gone."""
    jobs = jobs_named(snapshot, name, namespace, kind)
    pods = [pod for pod in snapshot.pods.values() if pod.job and (pod.job.namespace, pod.job.kind, pod.job.name) == (namespace, kind, name)]
    left = [*(f"{job.key.kind} {job.key.name}" for job in jobs), *(f"pod {pod.key.name}" for pod in pods)]
    result = {"job": name, "namespace": namespace, "kind": kind, "phase": "stopping" if left else "gone", "left": left}
    return Outcome(not left, line=f"{name}: waits for {', '.join(left)}" if left else f"{name}: gone", result=result)


def failed_pod(snapshot: Snapshot, job: Job) -> Pod | None:
    """The pod to ask why: the failed one, else the one that crashed, else the first."""
    pods = sorted(snapshot.pods_of(job.key), key=rank_order)
    failed = [pod for pod in pods if pod.phase == "Failed" or pod.exit_code]
    crashed = [pod for pod in pods if pod.state in CRASHED_STATES]
    return next(iter([*failed, *crashed, *pods]), None)


def last_words(clients: Clients, snapshot: Snapshot, namespace: str, name: str, kind: str) -> str:
    """The last log lines of the pod that failed, under its name; empty when it left none."""
    for job in jobs_named(snapshot, name, namespace, kind):
        pod = failed_pod(snapshot, job)
        if pod is None:
            return f"no pod of {name} is left to ask; kubectl describe it"
        path = f"/api/v1/namespaces/{pod.key.namespace}/pods/{pod.key.name}/log"
        text = clients.kube.read(path, params={"tailLines": str(LAST_LINES), "limitBytes": "65536"}).decode("utf-8", "replace")
        code = "" if pod.exit_code is None else f", exit code {pod.exit_code}"
        return f"last lines of {pod.key.name}{code}:\n{text.rstrip()}"
    return ""
