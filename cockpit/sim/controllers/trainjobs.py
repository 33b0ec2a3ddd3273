"""The trainer's TrainJob controller: one JobSet a job, and a status that only knows Suspended, Complete and Failed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cockpit.sim.controllers.objects import (
    Object,
    condition_of,
    is_deleting,
    is_true,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.controllers.trainjob_rendering import jobset_of
from cockpit.sim.controllers.trainjob_rules import TrainJobRules, find_runtime

RESOURCE = "trainjobs.trainer.kubeflow.org"
JOBSETS = "jobsets.jobset.x-k8s.io"
RUNTIMES = "clustertrainingruntimes.trainer.kubeflow.org"
MANAGER = "trainer.kubeflow.org/trainjob-controller"
SHIPPED = Path(__file__).with_name("runtimes.yaml")


class TrainJobs(Reconciler):
    """Runs trainer.kubeflow.org/v1alpha1 TrainJobs."""

    name = "trainjob-controller"
    watches = (RESOURCE, JOBSETS)

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        cluster.admit(RESOURCE, TrainJobRules(cluster).refuse)
        ship_runtimes(cluster, options.trainer)

    def reconcile(self, key: Key) -> float | None:
        """One job: make its JobSet, pass suspension on, copy its end."""
        trainjob = self.cluster.find(RESOURCE, *key)
        if trainjob is None or is_deleting(trainjob) or trainjob["spec"].get("managedBy", MANAGER) != MANAGER:
            return None
        if is_true(trainjob, "Complete") or is_true(trainjob, "Failed"):
            return None
        runtime = find_runtime(self.cluster, trainjob)
        if runtime is None:
            self._unsupported(trainjob)
            return None
        self._apply(trainjob, jobset_of(trainjob, runtime))
        jobset = self.cluster.get(JOBSETS, *key)
        self._say_suspended(trainjob)
        trainjob = self.cluster.get(RESOURCE, *key)
        self._copy_status(trainjob, jobset)
        return self._deadline(self.cluster.get(RESOURCE, *key), jobset)

    def _apply(self, trainjob: Object, wanted: Object) -> None:
        """Create the JobSet, or bring it up to date while it is or was suspended."""
        held = self.cluster.find(JOBSETS, namespace_of(trainjob), name_of(trainjob))
        if held is None:
            self.cluster.create(JOBSETS, wanted)
            return
        if held["spec"].get("suspend") and held["spec"] != wanted["spec"]:
            patch = {"spec": {"suspend": wanted["spec"]["suspend"], "replicatedJobs": wanted["spec"]["replicatedJobs"]}}
            self.cluster.patch(JOBSETS, namespace_of(trainjob), name_of(trainjob), patch)
        elif bool(held["spec"].get("suspend")) != wanted["spec"]["suspend"]:
            self.cluster.patch(JOBSETS, namespace_of(trainjob), name_of(trainjob), {"spec": {"suspend": wanted["spec"]["suspend"]}})

    def _say_suspended(self, trainjob: Object) -> None:
        suspended = bool(trainjob["spec"].get("suspend"))
        if suspended == is_true(trainjob, "Suspended"):
            return
        said = ("True", "Suspended", "TrainJob is suspended") if suspended else ("False", "Resumed", "TrainJob is resumed")
        self._condition(trainjob, "Suspended", *said)

    def _copy_status(self, trainjob: Object, jobset: Object) -> None:
        """jobsStatus counts child Jobs; Complete and Failed are the JobSet's own words."""
        fields = ("name", "ready", "succeeded", "failed", "active", "suspended")
        counts = [{field: one[field] for field in fields} for one in status_of(jobset).get("replicatedJobsStatus") or []]
        self.set_status(RESOURCE, trainjob, {"jobsStatus": counts})
        for theirs, mine in (("Completed", "Complete"), ("Failed", "Failed")):
            condition = condition_of(jobset, theirs)
            if condition and condition["status"] == "True":
                trainjob = self.cluster.get(RESOURCE, namespace_of(trainjob), name_of(trainjob))
                self._condition(trainjob, mine, "True", condition["reason"], condition["message"])

    def _deadline(self, trainjob: Object, jobset: Object) -> float | None:
        limit = trainjob["spec"].get("activeDeadlineSeconds")
        if limit is None or trainjob["spec"].get("suspend") or is_true(trainjob, "Complete") or is_true(trainjob, "Failed"):
            return None
        resumed = condition_of(trainjob, "Suspended")
        since = resumed["lastTransitionTime"] if resumed else trainjob["metadata"]["creationTimestamp"]
        left = float(limit) - seconds_since(since, self.cluster.now())
        if left > 0:
            return left
        self._condition(trainjob, "Failed", "True", "DeadlineExceeded", "TrainJob exceeded its active deadline")
        self.discard(JOBSETS, namespace_of(jobset), name_of(jobset))
        return None

    def _unsupported(self, trainjob: Object) -> None:
        message = f'Referenced TrainingRuntime "{trainjob["spec"]["runtimeRef"]["name"]}" not supported'
        self._condition(trainjob, "Failed", "True", "TrainingRuntimeNotSupported", message)
        self.cluster.event(trainjob, "TrainJobResourcesCreationFailed", message, type="Warning", component=self.name)

    def _condition(self, trainjob: Object, kind: str, status: str, reason: str, message: str) -> None:
        conditions = with_condition(status_of(trainjob).get("conditions"), kind, status, reason, message, self.cluster.now())
        self.set_status(RESOURCE, trainjob, {"conditions": conditions})

    def keys(self, event: Any) -> Iterable[Key]:
        """A JobSet has the name of its TrainJob."""
        return super().keys(event)


def ship_runtimes(cluster: Any, trainer: str) -> None:
    """Install the runtimes that come with the trainer, in the shape of its version."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for runtime in yaml.load_all(SHIPPED.read_text(encoding="utf-8"), loader):
        if trainer == "2.1" and "torch" in runtime["spec"]["mlPolicy"]:
            runtime["spec"]["mlPolicy"]["torch"] = {"numProcPerNode": "auto"}
        if cluster.find(RUNTIMES, None, runtime["metadata"]["name"]) is None:
            cluster.create(RUNTIMES, runtime)
