"""What diagnosis finds of jobs, as the screen says it: a caution, a cell of the row, a line of the job's room, and when to look again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.diagnosis import finding_of, offer_of
from cockpit.model import Finding, Job
from cockpit.snapshot import store_of
from cockpit.store import Changes
from cockpit.tui.cells import Part, Tone
from cockpit.tui.views import Scene

FRESH_SECONDS = 300.0
"""How long after a job's end events, nodes and GPUs may still tell why; its own log and checkpoints may at any time."""
SEVERITIES = {"error": (3, Tone.BAD), "warning": (2, Tone.WARN), "info": (1, Tone.MUTED)}
SURROUNDINGS = frozenset({"events", "nodes", "gpus"})


def caution(scene: Scene, job: Job) -> tuple[int, str] | None:
    """(severity, sentence) of a job in trouble; what can be mended by a key, which it names, is said before all else."""
    finding = finding_of(scene.snapshot, job)
    if finding is None:
        return None
    offer = offered(scene, job, finding)
    severity = SEVERITIES[finding.severity][0]
    return (severity + 1, f"{finding.message}; {offer}") if offer else (severity, finding.message)


def offered(scene: Scene, job: Job, finding: Finding) -> str:
    """`checkpoint 40 is whole: R restores`; empty when there is nothing to go back to."""
    offer = offer_of(scene.snapshot, job) if finding.remedy else ""
    return f"{offer}: {scene.restore_key} restores" if offer and scene.restore_key else offer


def cause_part(finding: Finding, job: Job) -> Part:
    """The cause alone, for a row that names the job and its phase already."""
    head, _, cause = finding.message.partition(": ")
    return cause if head.startswith(job.key.name) and cause else finding.message, SEVERITIES[finding.severity][1]


def lines(scene: Scene, job: Job) -> list[tuple[Part, ...]]:
    """What the job's room says above its ranks: the cause, and what can be gone back to."""
    finding = finding_of(scene.snapshot, job)
    if finding is None:
        why = scene.snapshot.reason_of(job)
        return [((why, Tone.WARN),)] if why else []
    offer = offered(scene, job, finding)
    return [(cause_part(finding, job),), *([((f"→ {offer}", Tone.INFO),)] if offer else [])]


def troubled_by(scene: Scene, changes: Changes, troubled: Iterable[Any]) -> set[Any]:
    """Jobs whose finding these changes may make, mend or explain: of the troubled ones, and those on nodes that do not answer."""
    picture, empty = scene.snapshot, frozenset[Any]()
    found = {job for node in changes.get("nodes", empty) if (row := picture.nodes.get(node)) and row.ready is False for job in picture.jobs_on(node)}
    around, others = bool(changes.keys() & SURROUNDINGS), bool(changes.get("jobs"))
    words, stores = changes.get("lastwords_by_job", empty), changes.get("checkpoints_by_store", empty)
    for key in troubled:
        job = picture.jobs.get(key)
        fresh = job is not None and (job.finished is None or scene.now - job.finished < FRESH_SECONDS)
        if job is not None and (others or key in words or store_of(job) in stores or (around and fresh)):
            found.add(key)
    return found
