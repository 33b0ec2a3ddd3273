"""One finding a job: whether it is in trouble, what ended or holds it, and what can be gone back to."""

from __future__ import annotations

from cockpit.diagnosis import gpus, interruptions, nodes, ranks
from cockpit.diagnosis.cases import Case, Cause
from cockpit.diagnosis.offers import offer_of, restored_as
from cockpit.model import Finding, Job, Phase
from cockpit.snapshot import Snapshot

FAMILIES = (gpus.cause, interruptions.cause, nodes.cause, ranks.cause)
"""The hardware before the node, the node before the process: what is further down explains what is above it."""
RUNNING = frozenset({Phase.TRAINING, Phase.RENDEZVOUS, Phase.PULLING})


def finding_of(picture: Snapshot, job: Job) -> Finding | None:
    """What is wrong with a job: failed, restarting, standing still on a node that does not answer, or back from a restart and not yet training."""
    phase = picture.phase_of(job)
    case = Case(picture, job, phase)
    if phase is Phase.FAILED:
        return _failed(case)
    if phase is Phase.RESTARTING or (phase is Phase.RENDEZVOUS and any(pod.exit_code for pod in case.pods)):
        cause = _cause(case) or Cause("restart", picture.reason_of(job) or "a pod is down")
        return _finding(case, "warning", f"{job.key.name} restarts by itself: {cause.words}", cause)
    if phase in RUNNING and (held := _held(case)) is not None:
        return _finding(case, "error", f"{job.key.name} stands still: {held.words}", held, offer_of(picture, job))
    return None


def _failed(case: Case) -> Finding:
    cause = _cause(case) or Cause("job-failed", case.picture.reason_of(case.job) or "failed")
    again = restored_as(case.picture, case.job)
    if again is not None:
        return _finding(case, "info", f"{case.job.key.name} failed: {cause.words}; {again.key.name} goes on from it", cause)
    return _finding(case, "error", f"{case.job.key.name} failed: {cause.words}", cause, offer_of(case.picture, case.job))


def _held(case: Case) -> Cause | None:
    """Why a job whose pods run makes no step: one of them is on a node that does not answer."""
    silent = any(pod.node and (node := case.picture.nodes.get(pod.node)) and node.ready is False for pod in case.pods)
    return nodes.cause(case) if silent else None


def _cause(case: Case) -> Cause | None:
    return next((found for family in FAMILIES if (found := family(case)) is not None), None)


def _finding(case: Case, severity: str, message: str, cause: Cause, offer: str = "") -> Finding:
    key = case.job.key
    remedy = f"{offer}: restore --job {key.name} --namespace {key.namespace}" if offer else ""
    return Finding(cause.id, severity, message, f"{key.kind} {key.namespace}/{key.name}", cause.evidence, remedy)
