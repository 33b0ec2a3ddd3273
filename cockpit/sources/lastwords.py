"""How ranks ended: the last lines of a pod that failed or was restarted, through the API, once for each end."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec.structs import replace

from cockpit.errors import CockpitError, Invalid, NotFound
from cockpit.model import Job, JobKey, LastWords, Phase, Pod, PodKey
from cockpit.snapshot import Snapshot
from cockpit.sources.progress import CONTAINERS
from cockpit.sources.steplines import finite, whole
from cockpit.store import Delete, Failed, Store, Synced, Upsert

POLL_SECONDS = 1.0
JOBS_READ, PODS_READ, AT_A_TIME = 32, 4, 8
"""Of each job the pods that ended first: the cause is on one of them, what the others say follows from it."""
LINES, BYTES, LINE_CHARS, REASON_CHARS = 200, 256 << 10, 1 << 14, 300
ENDINGS = frozenset({"stopped", "failed"})
ROOT = re.compile(r"^Root Cause \(first observed failure\):")
RANK = re.compile(r"^\s*rank\s*:\s*(\d{1,9})\b")
EXIT = re.compile(r"^\s*exitcode\s*:\s*(-?\d{1,9})\b")
RAISED = re.compile(r"^(?:\[rank\d+\]:\s*)?(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt): \S|^error: \S")
TORCHRUN = re.compile(r"ChildFailedError|SignalException")
End = tuple[PodKey, float | None, int]


def to_last_words(job: JobKey, pod: PodKey, lines: Iterable[str]) -> LastWords:
    """The last lines of a pod's log -> LastWords: torchrun's root cause, the program's own last event, the last error that was raised."""
    said, rooted = LastWords(pod, job), False
    for line in lines:
        text = line[:LINE_CHARS].rstrip()
        if text.startswith("{"):
            said = _reported(said, text)
        elif ROOT.match(text):
            rooted = True
        elif rooted and (rank := RANK.match(text)):
            said = replace(said, rank=int(rank[1]))
        elif rooted and (code := EXIT.match(text)):
            said, rooted = replace(said, exit_code=int(code[1])), False
        elif RAISED.match(text) and not TORCHRUN.search(text):
            said = replace(said, error=text.removeprefix("error: ")[:REASON_CHARS])
    return said


def _reported(said: LastWords, text: str) -> LastWords:
    """One JSON line of a rank: a step, or how the training ended by its own account."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        return said
    if not isinstance(report, dict):
        return said
    step = whole(report.get("step"))
    said = replace(said, step=max(step, said.step or 0)) if step is not None else said
    if report.get("event") not in ENDINGS:
        return said
    reason = report.get("reason")
    return replace(
        said,
        event=str(report["event"]),
        code=whole(report.get("exit_code")),
        checkpoint=whole(report.get("checkpoint")),
        reason=reason[:REASON_CHARS] if isinstance(reason, str) else "",
        at=finite(report.get("time")),
    )


class Ends:
    """Reads each end once; it knows jobs and pods from the store, so both must be filled or watched too."""

    name = "lastwords"

    def __init__(self) -> None:
        self._read: dict[End, JobKey] = {}

    def list(self, kube: Any, store: Store) -> None:
        """How the pods that have ended badly ended."""
        self._poll(kube, store)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """A look at the picture every second, a request only for an end that is new."""
        seen = -1
        while not stop.is_set():
            began, version = time.monotonic(), store.snapshot().version
            if version != seen:
                self._poll(kube, store)
                seen = store.snapshot().version
            stop.wait(max(0.1, POLL_SECONDS - (time.monotonic() - began)))

    def _poll(self, kube: Any, store: Store) -> None:
        picture = store.snapshot()
        due = list(self._due(picture))
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix=self.name) as pool:
            errors = [error for error in pool.map(lambda pair: self._ask(kube, store, *pair), due) if error is not None]
        gone = tuple(row.pod for row in picture.lastwords.values() if row.job not in picture.jobs) if picture.believed("jobs") else ()
        if gone:
            self._read = {end: job for end, job in self._read.items() if job in picture.jobs}
            store.apply(Delete(self.name, "lastwords", gone))
        store.apply(Failed(self.name, errors[0]) if errors and len(errors) == len(due) else Synced(self.name))

    def _due(self, picture: Snapshot) -> Iterator[tuple[Job, Pod]]:
        """Of the newest jobs that have a pod which ended badly, those that ended first and are not read yet."""
        jobs = sorted(picture.jobs.values(), key=lambda job: job.created or 0.0, reverse=True)
        troubled = [(job, ended) for job in jobs if (ended := ends(picture, job))]
        for job, ended in troubled[:JOBS_READ]:
            yield from ((job, pod) for pod in ended[:PODS_READ] if end_of(pod) not in self._read)

    def _ask(self, kube: Any, store: Store, job: Job, pod: Pod) -> CockpitError | None:
        path = f"/api/v1/namespaces/{pod.key.namespace}/pods/{pod.key.name}/log"
        asked = {"container": CONTAINERS[job.key.kind], "tailLines": str(LINES)}
        asked |= {"previous": "true"} if pod.state == "Running" else {}
        try:
            body: bytes = kube.read(path, params=asked, limit_bytes=BYTES)
        except (Invalid, NotFound):
            self._read[end_of(pod)] = job.key
            return None
        except CockpitError as error:
            return error
        self._read[end_of(pod)] = job.key
        store.apply(Upsert(self.name, "lastwords", (to_last_words(job.key, pod.key, body.decode("utf-8", "replace").split("\n")),)))
        return None


def ends(picture: Snapshot, job: Job) -> list[Pod]:
    """The pods of a job's newest attempt that ended badly, or were restarted after they did, the first to end first."""
    if picture.phase_of(job) is Phase.SUCCEEDED:
        return []
    return sorted((pod for pod in picture.pods_of(job.key) if pod.exit_code), key=lambda pod: pod.ended or float("inf"))


def end_of(pod: Pod) -> End:
    """What tells one end of a pod from the next: a pod made anew has the name of the old one."""
    return (pod.key, pod.created, pod.restarts)


def source() -> Ends:
    """The last words of ranks."""
    return Ends()
