"""How far the running jobs are: the tail of each first rank's log, through the API, every two seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cockpit.errors import CockpitError, Invalid, NotFound
from cockpit.model import Checkpoint, CheckpointKey, Job, JobKey, Pod
from cockpit.snapshot import Snapshot, store_of
from cockpit.sources.steplines import Steps
from cockpit.store import Delete, Failed, Store, Synced, Upsert

POLL_SECONDS = 2.0
JOBS_READ = 32
AT_A_TIME = 8
FIRST_LINES, LATER_LINES = 2000, 500
COMMIT_SECONDS = 60.0
"""A manifest is stamped before its commit is told: so much earlier, at most, it is of the same checkpoint."""
HEAD_BYTES, TAIL_BYTES = 64 << 10, 4 << 20
CONTAINERS = {"PyTorchJob": "pytorch", "TrainJob": "node"}
RANK_REPLICAS = ("", "master", "worker", "node", "launcher")


@dataclass
class Reading:
    """A job's log so far; `pod` is the one it is read from, `over` says that its last lines are read."""

    pod: str = ""
    steps: Steps = field(default_factory=Steps)
    asked_at: float = 0.0
    over: bool = False
    told: dict[CheckpointKey, tuple[float | None, str, float | None]] = field(default_factory=dict)


class Logs:
    """Reads jobs' logs; it knows jobs and pods from the store, so both must be filled or watched too."""

    name = "progress"

    def __init__(self) -> None:
        self._readings: dict[JobKey, Reading] = {}

    def list(self, kube: Any, store: Store) -> None:
        """Every running job's progress once."""
        self._poll(kube, store)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """A poll every two seconds."""
        while not stop.is_set():
            began = time.monotonic()
            self._poll(kube, store)
            stop.wait(max(0.1, POLL_SECONDS - (time.monotonic() - began)))

    def _poll(self, kube: Any, store: Store) -> None:
        picture = store.snapshot()
        wanted = [(job, pod) for job in self._due(picture) if (pod := first_rank(picture.pods_of(job.key))) is not None]
        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix=self.name) as pool:
            errors = list(pool.map(lambda pair: self._read(kube, store, *pair), wanted))
        self._forget(store, picture)
        failed = [error for error in errors if error is not None]
        if failed and len(failed) == len(errors):
            store.apply(Failed(self.name, failed[0]))
        else:
            store.apply(Synced(self.name))

    def _due(self, picture: Snapshot) -> Iterable[Job]:
        """The newest running jobs, and the newest of those that have ended and whose last lines are not read yet."""
        jobs = sorted(picture.jobs.values(), key=lambda job: job.created or 0.0, reverse=True)
        running = {job.key: job for job in jobs if job.finished is None and not picture.phase_of(job).over}
        read = {key for key, reading in self._readings.items() if reading.over}
        ended = [job for job in jobs if job.key not in running and job.key not in read]
        return [*ended[:JOBS_READ], *list(running.values())[:JOBS_READ]]

    def _read(self, kube: Any, store: Store, job: Job, pod: Pod) -> CockpitError | None:
        if pod.phase == "Pending" or pod.state in ("ContainerCreating", "PodInitializing"):
            return None
        reading = self._readings.setdefault(job.key, Reading())
        if reading.pod != pod.key.name:
            reading.pod, reading.asked_at = pod.key.name, 0.0
            reading.steps.last_stamp, reading.steps.rank = "", None
        over, began = job.finished is not None, time.time()
        try:
            self._learn(kube, job, pod, reading)
        except (Invalid, NotFound):
            reading.over = over
            return None
        except CockpitError as error:
            return error
        reading.asked_at, reading.over = began, over
        row = reading.steps.progress(job.key)
        if row is not None and row != store.snapshot().progress.get(job.key):
            store.apply(Upsert(self.name, "progress", (row,)))
        self._tell(store, job, reading)
        return None

    def _tell(self, store: Store, job: Job, reading: Reading) -> None:
        """The checkpoints that are new in the log since it was read last; one that was looked at meanwhile is not unsaid."""
        found = reading.steps.checkpoints(store_of(job), job.key)
        fresh = tuple(one for one in found if reading.told.get(one.key) != (one.at, one.state, one.loss))
        reading.told = {one.key: (one.at, one.state, one.loss) for one in found}
        known = store.snapshot().checkpoints
        rows = tuple(one for one in fresh if not _later(known.get(one.key), one))
        if rows:
            store.apply(Upsert(self.name, "checkpoints", rows))

    def _learn(self, kube: Any, job: Job, pod: Pod, reading: Reading) -> None:
        path = f"/api/v1/namespaces/{pod.key.namespace}/pods/{pod.key.name}/log"
        asked = {"container": CONTAINERS[job.key.kind], "timestamps": "true"}
        if reading.asked_at:
            asked |= {"tailLines": str(LATER_LINES), "sinceSeconds": str(int(time.time() - reading.asked_at) + 3)}
        else:
            if reading.steps.loss_first is None:
                for line in _log(kube, path, asked | {"limitBytes": str(HEAD_BYTES)}, HEAD_BYTES):
                    reading.steps.head(line)
            asked |= {"tailLines": str(FIRST_LINES)}
        for line in _log(kube, path, asked, TAIL_BYTES):
            reading.steps.feed(line)

    def _forget(self, store: Store, picture: Snapshot) -> None:
        """Jobs that are gone take their progress with them."""
        for key in [key for key in self._readings if key not in picture.jobs]:
            del self._readings[key]
        gone = tuple(key for key in picture.progress if key not in picture.jobs) if picture.believed("jobs") else ()
        if gone:
            store.apply(Delete(self.name, "progress", gone))
            said = tuple(one.key for one in picture.checkpoints.values() if one.job in gone and not one.verified)
            if said:
                store.apply(Delete(self.name, "checkpoints", said))


def _later(known: Checkpoint | None, told: Checkpoint) -> bool:
    """True when what is known was looked at, and is of the same commit or a later one."""
    return known is not None and known.state not in ("said", "failed") and (known.at or 0.0) >= (told.at or 0.0) - COMMIT_SECONDS


def first_rank(pods: Iterable[Pod]) -> Pod | None:
    """The pod whose log speaks for the job; initializers do not."""
    return next((pod for pod in pods if pod.replica in RANK_REPLICAS), None)


def _log(kube: Any, path: str, params: dict[str, str], limit_bytes: int) -> list[str]:
    """A piece of a log: whatever bytes it holds become lines of text."""
    try:
        body: bytes = kube.read(path, params=params, limit_bytes=limit_bytes)
    except Invalid:
        body = kube.read(path, params={name: value for name, value in params.items() if name != "container"}, limit_bytes=limit_bytes)
    return body.decode("utf-8", "replace").split("\n")


def source() -> Logs:
    """Every running job's steps and losses."""
    return Logs()
