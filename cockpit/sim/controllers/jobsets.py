"""JobSet: the Jobs of a set start, fail, restart and end together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cockpit.sim.controllers.jobs import is_finished_job
from cockpit.sim.controllers.jobset_shapes import PREFIX, child_job, child_jobs, headless_service
from cockpit.sim.controllers.objects import (
    Object,
    is_deleting,
    is_owned_by,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.reconcilers import Key, Reconciler

RESOURCE = "jobsets.jobset.x-k8s.io"


class JobSets(Reconciler):
    """Runs jobset.x-k8s.io/v1alpha2 JobSets."""

    name = "jobset-controller"
    watches = (RESOURCE, "jobs.batch")

    def keys(self, event: Any) -> Iterable[Key]:
        """A Job touches its JobSet."""
        if event.resource == RESOURCE:
            return super().keys(event)
        name = labels_of(event.object).get(f"{PREFIX}jobset-name")
        return [(namespace_of(event.object), name)] if name else []

    def reconcile(self, key: Key) -> float | None:
        """One set: finished, suspended, to be restarted, or to be given its Jobs."""
        jobset = self.cluster.find(RESOURCE, *key)
        if jobset is None or is_deleting(jobset):
            return None
        if status_of(jobset).get("terminalState"):
            return self._expire(jobset)
        jobs = [job for job in self.cluster.list("jobs.batch", key[0]) if is_owned_by(job, jobset)]
        attempt = str(status_of(jobset).get("restarts") or 0)
        current = [job for job in jobs if labels_of(job).get(f"{PREFIX}restart-attempt") == attempt and not is_deleting(job)]
        for old in jobs:
            if old not in current and not is_deleting(old):
                self.cluster.delete("jobs.batch", key[0], name_of(old))
        self.set_status(RESOURCE, jobset, {"replicatedJobsStatus": replicated_status(jobset, current), "restarts": int(attempt)})
        jobset = self.cluster.get(RESOURCE, *key)
        if self._decide(jobset, current):
            return self._expire(self.cluster.get(RESOURCE, *key))
        if any(old not in current for old in jobs):
            return 0.1
        self._create_missing(jobset, current)
        self._suspend_or_resume(self.cluster.get(RESOURCE, *key), current)
        return None

    def _decide(self, jobset: Object, jobs: Sequence[Object]) -> bool:
        """Fail, restart or complete the set as its Jobs ask for; whether it ended or restarts."""
        failed = [job for job in jobs if is_true(job, "Failed")]
        if failed:
            self._fail(jobset, failed[0])
            return True
        if is_complete(jobset, jobs):
            self._end(jobset, "Completed", "AllJobsCompleted", "jobset completed successfully")
            return True
        return False

    def _fail(self, jobset: Object, first: Object) -> None:
        """A failed Job restarts the set until maxRestarts is used up."""
        policy = jobset["spec"].get("failurePolicy")
        restarts = int(status_of(jobset).get("restarts") or 0)
        cause = f"(first failed job: {name_of(first)})"
        if policy is None:
            self._end(jobset, "Failed", "FailedJobs", f"jobset failed due to one or more job failures {cause}")
        elif restarts >= int(policy.get("maxRestarts") or 0):
            self._end(jobset, "Failed", "ReachedMaxRestarts", f"jobset failed due to reaching max number of restarts {cause}")
        else:
            message = f"restarting jobset, attempt {restarts + 1} {cause}"
            self.cluster.event(jobset, "RestartJobSetFailurePolicyAction", message, type="Warning", component=self.name)
            self.set_status(RESOURCE, jobset, {"restarts": restarts + 1, "restartsCountTowardsMax": restarts + 1})

    def _end(self, jobset: Object, kind: str, reason: str, message: str) -> None:
        conditions = with_condition(status_of(jobset).get("conditions"), kind, "True", reason, message, self.cluster.now())
        self.set_status(RESOURCE, jobset, {"conditions": conditions, "terminalState": kind})
        self.cluster.event(jobset, reason, message, type="Normal" if kind == "Completed" else "Warning", component=self.name)
        for job in self.cluster.list("jobs.batch", namespace_of(jobset), {f"{PREFIX}jobset-name": name_of(jobset)}):
            if not is_finished_job(job) and not is_deleting(job):
                self.cluster.delete("jobs.batch", namespace_of(job), name_of(job))

    def _create_missing(self, jobset: Object, jobs: Sequence[Object]) -> None:
        """The headless Service, then every Job whose dependencies are met."""
        network = jobset["spec"].get("network") or {}
        subdomain = network.get("subdomain") or name_of(jobset)
        if network.get("enableDNSHostnames", True) and self.cluster.find("services", namespace_of(jobset), subdomain) is None:
            self.cluster.create("services", headless_service(jobset, subdomain))
        have = {name_of(job) for job in jobs}
        for replicated, index in child_jobs(jobset):
            job = child_job(jobset, replicated, index)
            if name_of(job) not in have and dependencies_met(jobset, replicated, jobs):
                self.cluster.create("jobs.batch", job)

    def _suspend_or_resume(self, jobset: Object, jobs: Sequence[Object]) -> None:
        """Pass spec.suspend on to the Jobs, with their pod templates when they resume."""
        suspended = bool(jobset["spec"].get("suspend"))
        for job in jobs:
            if is_finished_job(job) or bool(job["spec"].get("suspend")) == suspended:
                continue
            patch: Object = {"suspend": suspended}
            if not suspended:
                patch["template"] = self._template_of(jobset, job)
            self.cluster.patch("jobs.batch", namespace_of(job), name_of(job), {"spec": patch})
        was = is_true(jobset, "Suspended")
        if suspended == was:
            return
        said = ("True", "SuspendedJobs", "jobset is suspended") if suspended else ("False", "ResumeJobs", "jobset is resumed")
        conditions = with_condition(status_of(jobset).get("conditions"), "Suspended", *said, self.cluster.now())
        self.set_status(RESOURCE, jobset, {"conditions": conditions})
        self.cluster.event(jobset, said[1], said[2], component=self.name)

    def _template_of(self, jobset: Object, job: Object) -> Object:
        """What Kueue or a user may have changed while the set was suspended: where its pods may go."""
        wanted = next(child_job(jobset, one, index) for one, index in child_jobs(jobset) if name_of(child_job(jobset, one, index)) == name_of(job))
        template = wanted["spec"]["template"]
        spec = {key: template["spec"].get(key) for key in ("nodeSelector", "tolerations", "affinity", "schedulingGates")}
        return {"metadata": template["metadata"], "spec": {key: value for key, value in spec.items() if value}}

    def _expire(self, jobset: Object) -> float | None:
        ttl = jobset["spec"].get("ttlSecondsAfterFinished")
        if ttl is None or not status_of(jobset).get("terminalState"):
            return None
        ended = next(one for one in status_of(jobset)["conditions"] if one["type"] in ("Completed", "Failed"))
        left = float(ttl) - seconds_since(ended["lastTransitionTime"], self.cluster.now())
        if left <= 0:
            self.discard(RESOURCE, namespace_of(jobset), name_of(jobset))
        return left if left > 0 else None


def is_complete(jobset: Object, jobs: Sequence[Object]) -> bool:
    """Whether the success policy holds: all targeted Jobs complete, or any when it says so."""
    policy = jobset["spec"].get("successPolicy") or {}
    targets = policy.get("targetReplicatedJobs") or []
    wanted = [f"{name_of(jobset)}-{one['name']}-{index}" for one, index in child_jobs(jobset) if not targets or one["name"] in targets]
    done = {name_of(job) for job in jobs if is_true(job, "Complete")}
    if policy.get("operator") == "Any":
        return any(name in done for name in wanted)
    return bool(wanted) and all(name in done for name in wanted)


def _of(jobs: Iterable[Object], replicated: str) -> list[Object]:
    return [job for job in jobs if labels_of(job).get(f"{PREFIX}replicatedjob-name") == replicated]


def is_ready_job(job: Object) -> bool:
    """Whether all pods of a Job are ready or have succeeded."""
    status, spec = status_of(job), job["spec"]
    wanted = min(int(spec.get("parallelism") or 1), int(spec.get("completions") or spec.get("parallelism") or 1))
    return int(status.get("ready") or 0) + int(status.get("succeeded") or 0) >= wanted


def dependencies_met(jobset: Object, replicated: Object, jobs: Sequence[Object]) -> bool:
    """Whether dependsOn of a replicated job holds."""
    for dependency in replicated.get("dependsOn") or []:
        wanted = next(int(one.get("replicas", 1)) for one in jobset["spec"]["replicatedJobs"] if one["name"] == dependency["name"])
        found = _of(jobs, dependency["name"])
        met = [job for job in found if is_true(job, "Complete") or (dependency["status"] == "Ready" and is_ready_job(job))]
        if len(met) < wanted:
            return False
    return True


def replicated_status(jobset: Object, jobs: Sequence[Object]) -> list[Object]:
    """Counts of child Jobs by replicated job: never pods."""
    counts = []
    for replicated in jobset["spec"].get("replicatedJobs") or []:
        mine = _of(jobs, replicated["name"])
        open_jobs = [job for job in mine if not is_finished_job(job)]
        running = [job for job in open_jobs if not job["spec"].get("suspend")]
        counts.append(
            {
                "name": replicated["name"],
                "ready": sum(1 for job in running if is_ready_job(job)),
                "succeeded": sum(1 for job in mine if is_true(job, "Complete")),
                "failed": sum(1 for job in mine if is_true(job, "Failed")),
                "active": sum(1 for job in running if status_of(job).get("active")),
                "suspended": len(open_jobs) - len(running),
            }
        )
    return counts
