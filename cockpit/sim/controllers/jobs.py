"""batch/v1 Jobs, Indexed ones too: pods, retries up to backoffLimit, suspension, deadlines, completion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cockpit.sim.controllers.objects import (
    Object,
    annotations_of,
    condition_of,
    is_deleting,
    is_owned_by,
    is_true,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.pods import is_finished, is_ready, phase_of, pod_from
from cockpit.sim.controllers.reconcilers import Key, Reconciler

INDEX = "batch.kubernetes.io/job-completion-index"
JOB_NAME = "batch.kubernetes.io/job-name"
FIRST_BACKOFF_SECONDS = 10.0


class Jobs(Reconciler):
    """Runs each Job to completion or to its backoff limit."""

    name = "job-controller"
    watches = ("jobs.batch", "pods")

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches its Job."""
        if event.resource == "jobs.batch":
            return super().keys(event)
        owners = event.object["metadata"].get("ownerReferences") or []
        return [(namespace_of(event.object), one["name"]) for one in owners if one["kind"] == "Job"]

    def reconcile(self, key: Key) -> float | None:
        """One Job: finish it, suspend it, or give it the pods it lacks."""
        job = self.cluster.find("jobs.batch", *key)
        if job is None or is_deleting(job):
            return None
        if is_finished_job(job):
            return self._expire(job)
        pods = [pod for pod in self.cluster.list("pods", key[0]) if is_owned_by(pod, job)]
        if job["spec"].get("suspend"):
            self._suspend(job, pods)
            return None
        self._start(job)
        job = self.cluster.get("jobs.batch", *key)
        verdict = verdict_on(job, pods, self.cluster.now())
        if verdict is not None:
            self._finish(job, pods, *verdict)
            return self._expire(self.cluster.get("jobs.batch", *key))
        again = self._fill(job, pods)
        self._count(job, [pod for pod in self.cluster.list("pods", key[0]) if is_owned_by(pod, job)])
        deadline = job["spec"].get("activeDeadlineSeconds")
        return again if deadline is None else min(again or 1.0, 1.0)

    def _start(self, job: Object) -> None:
        """startTime, and Suspended=False after a suspension."""
        held, now = status_of(job), self.cluster.now()
        wanted: Object = {} if held.get("startTime") else {"startTime": now}
        if is_true(job, "Suspended"):
            wanted["conditions"] = with_condition(held.get("conditions"), "Suspended", "False", "JobResumed", "Job resumed", now)
            wanted["startTime"] = now
            self.cluster.event(job, "Resumed", "Job resumed", component=self.name)
        self.set_status("jobs.batch", job, wanted)

    def _suspend(self, job: Object, pods: Sequence[Object]) -> None:
        for pod in pods:
            if not is_finished(pod) and not is_deleting(pod):
                self.cluster.delete("pods", namespace_of(pod), name_of(pod))
        if not is_true(job, "Suspended"):
            self.cluster.event(job, "Suspended", "Job suspended", component=self.name)
        now = self.cluster.now()
        conditions = with_condition(status_of(job).get("conditions"), "Suspended", "True", "JobSuspended", "Job suspended", now)
        self.set_status("jobs.batch", job, {"conditions": conditions, "active": 0, "ready": 0, "startTime": None})

    def _fill(self, job: Object, pods: Sequence[Object]) -> float | None:
        """Create the missing pods; after a failure only when its backoff has passed."""
        wait = backoff_left(pods, self.cluster.now(), self.options.pace)
        missing = missing_pods(job, pods)
        if wait > 0 and missing and any(phase_of(pod) == "Failed" for pod in pods):
            return wait
        for index in missing:
            pod = self.cluster.create("pods", job_pod(job, index))
            self.cluster.event(job, "SuccessfulCreate", f"Created pod: {name_of(pod)}", component=self.name)
        return None

    def _finish(self, job: Object, pods: Sequence[Object], kind: str, reason: str, message: str) -> None:
        for pod in pods:
            if not is_finished(pod) and not is_deleting(pod):
                self.cluster.delete("pods", namespace_of(pod), name_of(pod))
        now, held = self.cluster.now(), status_of(job).get("conditions")
        first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        conditions = with_condition(held, first, "True", reason, message, now, lastProbeTime=now)
        conditions = with_condition(conditions, kind, "True", reason, message, now, lastProbeTime=now)
        done: Object = {"completionTime": now} if kind == "Complete" else {}
        counts = counts_of(job, pods) | {"active": None, "ready": 0, "terminating": 0}
        self.set_status("jobs.batch", job, {**counts, **done, "conditions": conditions})
        said = ("Completed", "Job completed", "Normal") if kind == "Complete" else (reason, message, "Warning")
        self.cluster.event(job, said[0], said[1], type=said[2], component=self.name)

    def _count(self, job: Object, pods: Sequence[Object]) -> None:
        self.set_status("jobs.batch", job, counts_of(job, pods))

    def _expire(self, job: Object) -> float | None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        ended = next(one for one in status_of(job)["conditions"] if one["type"] in ("Complete", "Failed"))
        left = float(ttl) - seconds_since(ended["lastTransitionTime"], self.cluster.now())
        if left > 0:
            return left
        self.discard("jobs.batch", namespace_of(job), name_of(job))
        return None


def is_finished_job(job: Object) -> bool:
    """Whether the Job is Complete or Failed."""
    return is_true(job, "Complete") or is_true(job, "Failed")


def index_of(pod: Object) -> int | None:
    """The completion index of a pod of an Indexed Job."""
    value = annotations_of(pod).get(INDEX)
    return None if value is None else int(value)


def is_indexed(job: Object) -> bool:
    """Whether completionMode is Indexed."""
    return job["spec"].get("completionMode") == "Indexed"


def completions_of(job: Object) -> int:
    """How many successes the Job wants: completions, else its parallelism's single one."""
    return int(job["spec"].get("completions") or job["spec"].get("parallelism") or 1)


def succeeded_of(job: Object, pods: Sequence[Object]) -> list[Object]:
    """The pods that count as successes: one an index when Indexed."""
    done = [pod for pod in pods if phase_of(pod) == "Succeeded"]
    if not is_indexed(job):
        return done
    by_index = {index_of(pod): pod for pod in done}
    return [pod for index, pod in by_index.items() if index is not None and index < completions_of(job)]


def verdict_on(job: Object, pods: Sequence[Object], now: str) -> tuple[str, str, str] | None:
    """(condition, reason, message) when the Job is over, else None."""
    spec = job["spec"]
    if len(succeeded_of(job, pods)) >= completions_of(job):
        return "Complete", "CompletionsReached", "Reached expected number of completions"
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and seconds_since(status_of(job).get("startTime"), now) >= float(deadline):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    limit = int(spec.get("backoffLimit", 6))
    if failures_of(pods) > limit:
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    return None


def failures_of(pods: Sequence[Object]) -> int:
    """Failed pods, and restarts of containers that the kubelet restarts in place."""
    failed = sum(1 for pod in pods if phase_of(pod) == "Failed")
    restarting = (pod for pod in pods if pod["spec"].get("restartPolicy") == "OnFailure" and not is_finished(pod))
    return failed + sum(int(one.get("restartCount", 0)) for pod in restarting for one in status_of(pod).get("containerStatuses") or [])


def backoff_left(pods: Sequence[Object], now: str, pace: float) -> float:
    """Seconds until a retry is due: 10 s doubled with every failure, at most 6 min, scaled by pace."""
    ends = [one["lastTransitionTime"] for pod in pods if phase_of(pod) == "Failed" for one in [condition_of(pod, "Ready")] if one]
    if not ends:
        return 0.0
    wait = min(FIRST_BACKOFF_SECONDS * 2 ** (failures_of(pods) - 1), 360.0) * pace
    return wait - seconds_since(max(ends), now)


def missing_pods(job: Object, pods: Sequence[Object]) -> list[int | None]:
    """The indexes to create pods for (None for a pod of no index), within parallelism and what is still to be done."""
    alive = [pod for pod in pods if not is_finished(pod)]
    done = succeeded_of(job, pods)
    left = min(int(job["spec"].get("parallelism", 1)), completions_of(job) - len(done)) - len(alive)
    if not is_indexed(job):
        return [None] * max(0, left)
    taken = {index_of(pod) for pod in [*alive, *done]}
    untaken: list[int | None] = [index for index in range(completions_of(job)) if index not in taken]
    return untaken[: max(0, left)]


def counts_of(job: Object, pods: Sequence[Object]) -> Object:
    """The status counts of a Job; None removes a zero."""
    active = [pod for pod in pods if not is_finished(pod) and not is_deleting(pod)]
    done = succeeded_of(job, pods)
    counts: Object = {
        "active": len(active) or None,
        "ready": sum(1 for pod in active if is_ready(pod)),
        "terminating": sum(1 for pod in pods if is_deleting(pod) and not is_finished(pod)),
        "succeeded": len(done) or None,
        "failed": sum(1 for pod in pods if phase_of(pod) == "Failed") or None,
        "uncountedTerminatedPods": {},
    }
    if is_indexed(job):
        counts["completedIndexes"] = index_ranges(sorted(index for pod in done if (index := index_of(pod)) is not None)) or None
    return counts


def index_ranges(indexes: Sequence[int]) -> str:
    """Sorted indexes as Kubernetes writes them: "0-2,5"."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def job_pod(job: Object, index: int | None) -> Object:
    """A pod of a Job, with the labels, and for an index the annotation, hostname and environment of that index."""
    pod = pod_from(job["spec"]["template"], job, None, f"{name_of(job)}-" if index is None else f"{name_of(job)}-{index}-")
    uid = job["metadata"]["uid"]
    labels = pod["metadata"].setdefault("labels", {})
    labels |= {JOB_NAME: name_of(job), "job-name": name_of(job), "batch.kubernetes.io/controller-uid": uid, "controller-uid": uid}
    if index is None:
        return pod
    labels[INDEX] = str(index)
    pod["metadata"].setdefault("annotations", {})[INDEX] = str(index)
    pod["spec"]["hostname"] = f"{name_of(job)}-{index}"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]:
        container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return pod
