"""Where checkpoints are kept: `pvc:CLAIM/PATH` on a shared volume of the namespace, or `s3://BUCKET/PREFIX`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from actions.core.lookups import closest
from cockpit.errors import BadInput, Refused
from cockpit.model import Job, StoreKey, VolumeClaim
from cockpit.snapshot import Snapshot, store_of

MOUNT = "/checkpoints"
CLAIM = re.compile(r"pvc:([a-z0-9][-.a-z0-9]*)(?:/([\w.+=@/-]*))?")
BUCKET = re.compile(r"s3://([a-z0-9][-.a-z0-9]{1,61}[a-z0-9])(?:/([\w.+=@/-]*))?")
SHARED = "ReadWriteMany"
LOOKS_RIGHT = re.compile(r"fsx|lustre|efs|checkpoint|shared|training|nfs", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """One place of checkpoints, settled; `claim` is empty for a bucket and for nowhere."""

    where: str = ""
    claim: str = ""
    path: str = ""
    warning: str = ""

    @property
    def directory(self) -> str:
        """What the training programs take as --checkpoint-dir."""
        return f"{MOUNT}/{self.path}".rstrip("/") if self.claim else self.where

    def key(self, namespace: str) -> StoreKey:
        """Its key in the picture."""
        return StoreKey(namespace if self.claim else "", self.where)


NOWHERE = Place()


def place_of(where: str) -> Place:
    """A place as it is written on a job; BadInput for anything that is none."""
    if (found := CLAIM.fullmatch(where)) is not None:
        path = _inside(where, found[2] or "")
        return Place(f"pvc:{found[1]}" + (f"/{path}" if path else ""), found[1], path)
    if (found := BUCKET.fullmatch(where)) is not None:
        path = _inside(where, found[2] or "")
        return Place(f"s3://{found[1]}" + (f"/{path}" if path else ""), "", path)
    raise BadInput(f"--checkpoints {where!r} is no place for checkpoints", "pvc:CLAIM[/PATH], s3://BUCKET/PREFIX or none")


def _inside(where: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise BadInput(f"--checkpoints {where!r} leads out of its volume", "a path without . and ..")
    return "/".join(parts)


def settled(snapshot: Snapshot, asked: str, namespace: str, name: str, nodes: int) -> Place:
    """Where a job of that name saves: the place it is told, else the namespace's shared claim; in a folder of its own name unless told one."""
    if asked == "none":
        return NOWHERE
    if not asked:
        claim = _usual(snapshot, namespace)
        if claim is None:
            return Place(warning=_nowhere(snapshot, namespace))
        return place_of(f"pvc:{claim.key.name}/{name}")
    place = place_of(asked)
    if not place.path:
        place = place_of(f"{place.where}/{name}")
    if place.claim:
        _check_claim(snapshot, place.claim, namespace, nodes)
    return place


def _usual(snapshot: Snapshot, namespace: str) -> VolumeClaim | None:
    """The claim of a namespace that every node can mount: of several, one whose name says what it is for."""
    shared = [one for one in _claims(snapshot, namespace) if SHARED in one.access_modes and not one.deleting and one.phase != "Lost"]
    likely = [one for one in shared if LOOKS_RIGHT.search(f"{one.key.name} {one.storage_class}")]
    return next(iter(likely), shared[0] if len(shared) == 1 else None)


def _claims(snapshot: Snapshot, namespace: str) -> list[VolumeClaim]:
    return sorted((one for one in snapshot.volumeclaims.values() if one.key.namespace == namespace), key=lambda one: one.key)


def _nowhere(snapshot: Snapshot, namespace: str) -> str:
    if snapshot.forbidden("volumeclaims"):
        return "no checkpoint will be saved: PersistentVolumeClaims may not be listed; --checkpoints pvc:CLAIM or s3://BUCKET/PREFIX says where"
    if not snapshot.believed("volumeclaims"):
        return "no checkpoint will be saved: PersistentVolumeClaims are not read yet"
    return f"no checkpoint will be saved: {namespace} has no {SHARED} claim; --checkpoints pvc:CLAIM or s3://BUCKET/PREFIX says where"


def _check_claim(snapshot: Snapshot, name: str, namespace: str, nodes: int) -> None:
    claims = {one.key.name: one for one in _claims(snapshot, namespace)}
    if name not in claims:
        if snapshot.sees("volumeclaims", namespace):
            raise BadInput(f"no PersistentVolumeClaim {name!r} in {namespace}", closest(name, claims, "claims"))
        return
    modes = claims[name].access_modes
    if nodes > 1 and SHARED not in modes:
        raise Refused(f"claim {name} is {', '.join(modes) or 'of no access mode'}: {nodes} nodes cannot write to it", f"a {SHARED} claim, or s3://")


def writer_to(snapshot: Snapshot, key: StoreKey) -> Job | None:
    """The job that is not over and keeps its checkpoints there; one place takes one writer."""
    return next((job for job in snapshot.jobs.values() if job.store and store_of(job) == key and not snapshot.phase_of(job).over), None)
