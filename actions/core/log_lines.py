"""Log lines as records: when, which pod, which rank, what was said; and their merge by time. Nothing here talks to anybody."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from heapq import merge
from typing import Any, NamedTuple

from cockpit.model import Job, Pod
from cockpit.snapshot import Snapshot

PIECE_BYTES = 1 << 16
"""A longer line comes in pieces, each but the last marked as cut."""
CUT = "…[cut]"
TRAINS = {"PyTorchJob": "pytorch", "TrainJob": "node"}
"""The container of a job's pod that trains."""
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")
_RANK = re.compile(r'^(?:\[rank(\d+)\]|\{[^{}]{0,200}?"rank": ?(\d+)[,}])')


class Line(NamedTuple):
    """One line: nanoseconds since the epoch (0 when it has no time), its time as written, its text."""

    at: int
    time: str
    text: str


@dataclass(frozen=True)
class Speaker:
    """A pod whose log is read, and the ranks that speak in it: `first` of `count`, None when they are not known."""

    namespace: str
    pod: str
    container: str = ""
    first: int | None = None
    count: int | None = None

    @property
    def label(self) -> str:
        """`rank/pod`, `first-last/pod` where one pod holds several ranks, or the pod alone."""
        if self.first is None:
            return self.pod
        last = self.first + (self.count or 1) - 1
        return f"{self.first}/{self.pod}" if last == self.first else f"{self.first}-{last}/{self.pod}"


def speaker(snapshot: Snapshot, pod: Pod, container: str = "") -> Speaker:
    """Who speaks in a pod: with a static rendezvous its ranks follow from its index."""
    job: Job | None = snapshot.jobs.get(pod.job) if pod.job else None
    container = container or (TRAINS.get(pod.job.kind, "") if pod.job else "")
    per_pod = job.ranks_per_pod if job else None
    place = node_rank(pod, snapshot.pods_of(pod.job)) if pod.job else None
    first = None if place is None or per_pod is None else place * per_pod
    return Speaker(pod.key.namespace, pod.key.name, container, first, per_pod)


def node_rank(pod: Pod, peers: Iterable[Pod]) -> int | None:
    """A pod's place among the pods of its job: the master first, then the workers by index."""
    if pod.replica == "master":
        return 0
    if pod.index is None:
        return None
    return pod.index + (1 if pod.replica == "worker" and any(peer.replica == "master" for peer in peers) else 0)


def parsed(raw: bytes, before: Line | None = None) -> Line:
    """A raw line `<RFC 3339 time> text`; the rest of a line that was cut has no time of its own and takes that of the piece before."""
    found = _STAMP.match(raw) if before is None or not before.text.endswith(CUT) else None
    if found is None:
        return Line(before.at if before else 0, before.time if before else "", raw.decode("utf-8", "replace"))
    second, fraction, zone = found.groups()
    at = _epoch(second + zone) * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))
    return Line(at, found.group().decode().strip(), raw[found.end() :].decode("utf-8", "replace").rstrip("\r"))


@lru_cache(maxsize=64)
def _epoch(second: bytes) -> int:
    return int(datetime.fromisoformat(second.decode()).timestamp())


def lines(raw: Iterable[bytes]) -> Iterator[Line]:
    """Raw lines, parsed in order."""
    before: Line | None = None
    for one in raw:
        before = parsed(one, before)
        yield before


def rank_of(who: Speaker, line: Line) -> int | None:
    """The rank a line names, else the pod's only one, else None."""
    named = _RANK.match(line.text)
    if named:
        return int(named.group(1) or named.group(2))
    return who.first if who.count == 1 else None


def may_be_of(who: Speaker, line: Line, rank: int) -> bool:
    """True unless the line, or the pod it comes from, is known to be of other ranks."""
    known = rank_of(who, line)
    if known is not None:
        return known == rank
    return who.first is None or who.first <= rank < who.first + (who.count or 1)


def record(who: Speaker, line: Line) -> dict[str, Any]:
    """The record of a line; `rank` is null where one pod holds several ranks and the line names none."""
    rank = rank_of(who, line)
    return {"time": line.time or None, "namespace": who.namespace, "pod": who.pod, "rank": rank, "who": who.label, "line": line.text}


def merged(streams: Iterable[tuple[Speaker, Iterable[Line]]]) -> Iterator[tuple[Speaker, Line]]:
    """All lines by time; each stream is in order, so only one line of each is held."""
    return merge(*(_said(who, found) for who, found in streams), key=lambda pair: pair[1].at)


def _said(who: Speaker, found: Iterable[Line]) -> Iterator[tuple[Speaker, Line]]:
    return ((who, line) for line in found)


def last(pairs: Iterable[tuple[Speaker, Line]], count: int | None) -> Iterable[tuple[Speaker, Line]]:
    """The last `count`, or all as they come."""
    return pairs if count is None else deque(pairs, maxlen=count)


def text_of(found: Mapping[str, Any], timestamps: bool) -> str:
    """A record as a person reads it: `[rank/pod] line`."""
    stamp = f"{found['time']} " if timestamps and found["time"] else ""
    who = f"{found['rank']}/{found['pod']}" if found["rank"] is not None else found["who"]
    return f"{stamp}[{who}] {found['line']}"
