"""What can be gone back to: the last checkpoint of a job, as far as it is known, and whether another job already goes on from it."""

from __future__ import annotations

from cockpit.model import Checkpoint, Job
from cockpit.snapshot import Snapshot

GOOD = frozenset({"whole", "said"})


def last_good(picture: Snapshot, job: Job) -> Checkpoint | None:
    """The checkpoint committed last of those that are whole, or that its log said were saved."""
    found = [one for one in picture.checkpoints_of(job) if one.state in GOOD]
    return max(found, key=lambda one: (one.at or 0.0, one.step), default=None)


def offer_of(picture: Snapshot, job: Job) -> str:
    """`checkpoint 40 is whole`, `checkpoint 40 was saved` while only the log tells; empty when there is none, or another job goes on from it."""
    best = last_good(picture, job)
    if best is None or restored_as(picture, job) is not None:
        return ""
    return f"checkpoint {best.step} {'is whole' if best.state == 'whole' else 'was saved'}"


def restored_as(picture: Snapshot, job: Job) -> Job | None:
    """The newest job that goes on from this one."""
    key = job.key
    found = [one for one in picture.jobs.values() if one.restored_from == key.name and one.key.namespace == key.namespace and one.key != key]
    return max(found, key=lambda one: one.created or 0.0, default=None)
