"""Logs of one pod, or of all ranks of a job merged by time."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, param
from actions.core.log_follow import Follow, Mark, Pair, log_path
from actions.core.log_lines import PIECE_BYTES, Line, Speaker, last, lines, may_be_of, merged, record, speaker, text_of
from actions.core.log_peers import Peers
from actions.core.lookups import closest, one_job
from cockpit.errors import BadInput, Invalid, NotFound
from cockpit.model import Job, Pod
from cockpit.snapshot import Snapshot

SPANS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Params:
    """Whose log, from when, how much of it, and which lines."""

    job: str = param("job whose ranks are merged by time", "", picks="jobs")
    pod: str = param("one pod instead of a job", "", picks="pods")
    follow: bool = param("stay, across restarts, until the job or pod has ended", False)
    tail: int | None = param("only the last lines, counted after --grep and the merge", None, minimum=0)
    since: str = param("only what is younger: 10s, 5m, 1h, 2d", "")
    grep: str = param("only lines in which this regular expression is found", "")
    previous: bool = param("the container before the last restart", False)
    timestamps: bool = param("show the time of each line", False)
    rank: int | None = param("only what this rank says, as far as its pod or its lines tell", None, minimum=0)
    container: str = param("container of the pod; by default the one that trains", "")
    kind: str = param("kind of the job, where two kinds have the name", "", choices=("PyTorchJob", "TrainJob"))
    namespace: str = param("namespace; all of them when empty", "", picks="namespaces")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Mapping[str, Any]]:
    """One record a line, oldest first: time, namespace, pod, rank, who, line. A `note` says what could not be read."""
    since = span_seconds(params.since)
    wanted = _wanted(params)
    job = _job(snapshot, params)
    speakers = _speakers(snapshot, params, job)
    query = {"previous": "true"} if params.previous else {}
    if since is not None:
        query["sinceSeconds"] = str(max(1, round(since)))
    history = _History(clients.kube, speakers, query, params, stop)
    pairs: Iterable[Pair] = filter(wanted, history.pairs())
    for who, line in last(pairs, params.tail):
        yield record(who, line)
    yield from ({"note": note, "line": note} for note in history.notes)
    if params.follow and not stop.is_set():
        peers = Peers(clients.kube, job, speakers, params.container)
        young = {"sinceSeconds": query["sinceSeconds"]} if since is not None else {}
        follow = Follow(clients.kube, young, peers.look, stop, history.marks)
        yield from (record(who, line) for who, line in filter(wanted, follow.pairs()))


@dataclass
class _History:
    """What has been said so far, one open stream a pod, and how far each was read."""

    kube: Any
    speakers: list[Speaker]
    query: Mapping[str, str]
    params: Params
    stop: threading.Event

    def __post_init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.notes: list[str] = []

    def pairs(self) -> Iterator[Pair]:
        """All lines by time."""
        return merged([(who, self._lines(who)) for who in self.speakers])

    def _lines(self, who: Speaker) -> Iterator[Line]:
        query = {"timestamps": "true", **self.query} | ({"container": who.container} if who.container else {})
        if self.params.tail is not None and not self.params.grep and self.params.rank is None:
            query["tailLines"] = str(self.params.tail)
        mark = self.marks.setdefault(who.pod, Mark())
        try:
            for line in lines(self.kube.lines(log_path(who), params=query, stop=self.stop, piece_bytes=PIECE_BYTES)):
                mark.passes(line)
                yield line
        except (Invalid, NotFound) as problem:
            self.notes.append(f"{who.pod}: {problem.message}")


def _job(snapshot: Snapshot, params: Params) -> Job | None:
    if bool(params.job) == bool(params.pod):
        raise BadInput("logs needs --job or --pod, and not both", "cockpit --action jobs lists the jobs")
    return one_job(snapshot, params.job, params.namespace, params.kind) if params.job else None


def _pods(snapshot: Snapshot, params: Params, job: Job | None) -> list[Pod]:
    if job is not None:
        return snapshot.pods_of(job.key)
    found = [pod for key, pod in snapshot.pods.items() if key.name == params.pod and (not params.namespace or key.namespace == params.namespace)]
    if not found:
        names = {key.name for key in snapshot.pods if not params.namespace or key.namespace == params.namespace}
        raise BadInput(f"no pod {params.pod!r}", closest(params.pod, names, "pods"))
    if len(found) > 1:
        spaces = Counter(pod.key.namespace for pod in found)
        raise BadInput(f"{len(found)} pods are named {params.pod!r}", f"name one namespace: {', '.join(sorted(spaces))}")
    return found


def _speakers(snapshot: Snapshot, params: Params, job: Job | None) -> list[Speaker]:
    found = [speaker(snapshot, pod, params.container) for pod in _pods(snapshot, params, job)]
    ranks = job.ranks_wanted if job else None
    if params.rank is not None and ranks is not None and params.rank >= ranks:
        raise BadInput(f"--rank {params.rank}: the job has {ranks} ranks", f"0 to {ranks - 1}")
    return found


def _wanted(params: Params) -> Callable[[Pair], bool]:
    """Whether a line is asked for: its text by --grep, its speaker by --rank."""
    try:
        pattern = re.compile(params.grep) if params.grep else None
    except re.error as problem:
        hint = "a literal . or ( is written \\. or \\("
        raise BadInput(f"--grep {params.grep!r} is no regular expression: {problem}", hint) from problem

    def wanted(pair: Pair) -> bool:
        who, line = pair
        if pattern is not None and not pattern.search(line.text):
            return False
        return params.rank is None or may_be_of(who, line, params.rank)

    return wanted


def span_seconds(text: str) -> float | None:
    """`90`, `10s`, `5m`, `1h`, `1h30m` or `2d` in seconds; None for nothing, BadInput for anything else."""
    if not text:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        raise BadInput(f"--since {text!r}", "it takes 10s, 5m, 1h or 2d")
    return sum(float(amount) * SPANS[unit or "s"] for amount, unit in parts)


def line(found: Mapping[str, Any], params: Params) -> str:
    """A record as a person reads it."""
    return text_of(found, params.timestamps)


ACTION = Action(
    name="logs",
    title="Logs",
    key="L",
    params=Params,
    panes=("jobs",),
    needs=("jobs", "pods"),
    can_lack=("jobs",),
    records=records,
    streams=True,
    line=line,
    fills={"job": "job", "pod": "pod"},
    doc="Shows the log of a pod, or of all ranks of a job merged by time; --grep filters before --tail counts.",
)
