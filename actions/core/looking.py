"""Looking at places of checkpoints: what is whole, torn or in progress there, as facts for the picture.

Claims are read by a pod (readers.py), buckets from here; both run training/inventory.py, so one implementation judges. What its lines say is hostile
text: it is taken apart here and made inert where it is shown.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from actions.core import Clients
from actions.core.places import place_of
from actions.core.readers import pod_of, run_in_pod, setting_of
from cockpit.errors import BadInput, CockpitError, Conflict, Refused
from cockpit.model import Checkpoint, CheckpointKey, CheckpointStore, Job, JobKey, StoreKey
from cockpit.snapshot import Snapshot
from cockpit.store import Fact, Synced, Upsert

SOURCE = "checkpoints"
IMAGE = "python:3.12-slim"
"""For a reader when no job says which image it runs: any Python does."""
DEPTHS = ("sizes", "sampled", "full")
DEADLINE_SECONDS = {"sizes": 300, "sampled": 900, "full": 7200}
ENTRY = re.compile(r"step_\d{8,15}|\.step_\d{8,15}\.tmp-[\w-]{1,80}")
STATES = ("whole", "torn", "in progress")
STRATEGIES = {"ddp": "ddp", "fsdp": "fsdp", "zero": "deepspeed", "amx": "amx"}
LONGEST = 2000


@dataclass(frozen=True)
class Look:
    """One place to look at, and the job that tells how its pods are made."""

    key: StoreKey
    job: JobKey | None = None


def looks_of(jobs: Iterable[Job], key_of: Any) -> list[Look]:
    """The places of these jobs, each once; the newest job speaks for it."""
    newest = sorted((job for job in jobs if job.store), key=lambda job: job.created or 0.0)
    return list({key_of(job): Look(key_of(job), job.key) for job in newest}.values())


def look_at(clients: Clients, snapshot: Snapshot, looks: Iterable[Look], depth: str, stop: threading.Event) -> Iterator[Fact]:
    """Facts of these places; one that cannot be read is a CheckpointStore that says why, and what is known of it by logs stays."""
    groups: dict[tuple[str, str], list[Look]] = {}
    for look in looks:
        try:
            groups.setdefault((look.key.namespace, place_of(look.key.where).claim), []).append(look)
        except BadInput as error:
            yield _unread([look], error.message)
    for (namespace, claim), found in groups.items():
        try:
            lines = _lines(clients, snapshot, namespace, claim, found, depth, stop)
            yield from _facts(snapshot, found, lines, depth)
        except CockpitError as error:
            yield _unread(found, f"{error.message}; {error.hint}" if error.hint else error.message)


def _unread(looks: Iterable[Look], why: str) -> Fact:
    return Upsert(SOURCE, "stores", tuple(CheckpointStore(look.key, time.time(), why=why) for look in looks))


def _lines(
    clients: Clients, snapshot: Snapshot, namespace: str, claim: str, looks: list[Look], depth: str, stop: threading.Event
) -> list[Mapping[str, Any]]:
    words = ["--verify", depth]
    if not claim:
        return list(parsed(clients.buckets.run("inventory", [look.key.where for look in looks], words)))
    setting = reader_setting(clients, snapshot, namespace, claim, looks[-1].job)
    places = [place_of(look.key.where).directory for look in looks]
    body = pod_of(namespace, claim, [*places, *words], setting, DEADLINE_SECONDS[depth], writes=False)
    return list(parsed(run_in_pod(clients.kube, body, stop)))


def reader_setting(clients: Clients, snapshot: Snapshot, namespace: str, claim: str, job: JobKey | None) -> Any:
    """How a reader is made; Refused-like words when none may be made."""
    if clients.readonly:
        raise Refused("--readonly: no pod is made to look into the volume", "what is shown is what the logs said")
    if not clients.kube.may("create", "", "pods", namespace):
        raise Refused(f"pods may not be created in {namespace}: nothing can look into the volume", "what is shown is what the logs said")
    row = next((one for one in snapshot.volumeclaims.values() if (one.key.namespace, one.key.name) == (namespace, claim)), None)
    alone = row is not None and "ReadWriteMany" not in row.access_modes and "ReadOnlyMany" not in row.access_modes
    nodes = snapshot.nodes_of(job) if job and alone else ()
    key = job or JobKey(namespace, "", "")
    return setting_of(clients.kube, namespace, key.kind, key.name, IMAGE, nodes[0] if nodes else "")


def remove(clients: Clients, snapshot: Snapshot, namespace: str, body: Mapping[str, Any]) -> None:
    """Delete entries of a place under its lock; Conflict when one of them has become the last whole one since it was looked at."""
    place, job = place_of(body["checkpoints"]), JobKey(*body["job"]) if body.get("job") else None
    words = [word for entry in body["entries"] for word in ("--remove", entry)]
    if place.claim:
        setting = reader_setting(clients, snapshot, namespace, place.claim, job)
        made = pod_of(namespace, place.claim, [place.directory, *words], setting, DEADLINE_SECONDS["sampled"], writes=True)
        lines = list(parsed(run_in_pod(clients.kube, made, threading.Event())))
    else:
        lines = list(parsed(clients.buckets.run("inventory", [place.where], words)))
    spared = [line for line in lines if not line.get("removed") and "last whole" in str(line.get("why"))]
    if spared:
        raise Conflict(f"{str(spared[0].get('entry'))[:100]} is now the last whole checkpoint of {place.where}: it stays", "look again, then prune")


def parsed(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """The lines of training/inventory.py among those that were printed; `place` is a number."""
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("place"), int):
            yield found


def _facts(snapshot: Snapshot, looks: list[Look], lines: list[Mapping[str, Any]], depth: str) -> Iterator[Fact]:
    for number, look in enumerate(looks):
        mine = [line for line in lines if line["place"] == number]
        heads = [line for line in mine if "writing" in line]
        why = next((str(line["error"])[:LONGEST] for line in heads if line.get("error")), "" if heads else "the reader did not answer for it")
        if why:
            yield _unread([look], why)
            continue
        rows = tuple(row for line in mine if (row := to_checkpoint(line, look, depth)) is not None)
        rows = tuple(_with_loss(snapshot, row) for row in rows)
        writing = heads[0]["writing"] if isinstance(heads[0]["writing"], bool) else None
        yield Upsert(SOURCE, "checkpoints", rows)
        yield Upsert(SOURCE, "stores", (CheckpointStore(look.key, time.time(), depth, writing),))
        yield Synced(SOURCE, "checkpoints", frozenset(row.key for row in rows), within=_within(look.key))


def _within(store: StoreKey) -> Any:
    return lambda key: key.store == store


def _with_loss(snapshot: Snapshot, row: Checkpoint) -> Checkpoint:
    """The loss of its step, as far as a log told it."""
    known = snapshot.checkpoints.get(row.key)
    told = [known.loss] if known else []
    told += [one.loss for job in (row.job,) if job and (one := snapshot.progress.get(job)) and one.step == row.step]
    loss = next((one for one in (row.loss, *told) if one is not None), None)
    return replace(row, loss=loss, job=known.job if known and known.job else row.job)


def to_checkpoint(line: Mapping[str, Any], look: Look, depth: str) -> Checkpoint | None:
    """A line of training/inventory.py -> Checkpoint; None for a line that is none."""
    entry, step, state = line.get("entry"), _whole(line.get("step")), line.get("state")
    if not isinstance(entry, str) or not ENTRY.fullmatch(entry) or step is None or state not in STATES:
        return None
    why = line.get("why")
    return Checkpoint(
        key=CheckpointKey(look.key, entry),
        step=step,
        state=state,
        why=why[:LONGEST] if isinstance(why, str) else "",
        at=_number(line.get("time")),
        size_bytes=_whole(line.get("size_bytes")),
        world_size=_whole(line.get("world_size")),
        strategy=STRATEGIES.get(str(line.get("strategy")), ""),
        loss=_number(line.get("loss")),
        verified=depth,
        job=look.job,
        sequence=_whole(line.get("sequence")),
        stage=_whole(line.get("stage")),
        model=str(line.get("model") or "")[:LONGEST],
        global_batch=_whole(line.get("global_batch")),
        seed=line["seed"] if isinstance(line.get("seed"), int) and not isinstance(line.get("seed"), bool) else None,
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 else None
