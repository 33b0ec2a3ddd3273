"""The pods whose logs are followed, looked up anew: a job's pods are replaced when it restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actions.core.log_lines import TRAINS, Speaker
from cockpit.errors import NotFound, Unreachable
from cockpit.model import Job, JobKey

SELECTORS = {"PyTorchJob": "training.kubeflow.org/job-name", "TrainJob": "jobset.sigs.k8s.io/jobset-name"}
PATHS = {"PyTorchJob": "/apis/kubeflow.org/v1", "TrainJob": "/apis/trainer.kubeflow.org/v1alpha1"}
INDEXES = ("training.kubeflow.org/replica-index", "batch.kubernetes.io/job-completion-index")
ENDS = ("Succeeded", "Complete", "Failed")


class Peers:
    """Who may still speak: the pods of a job as the API lists them now, or one pod."""

    def __init__(self, kube: Any, job: Job | None, first: list[Speaker], container: str = "") -> None:
        self.kube, self.job = kube, job.key if job else None
        self.ranks_per_pod = job.ranks_per_pod if job else None
        self.container = container or (TRAINS.get(job.key.kind, "") if job else "")
        self.known = list(first)

    def look(self) -> tuple[list[Speaker], bool]:
        """The pods there are, and True when no more will come. While the API does not answer, those last seen."""
        if self.job is None:
            return self.known, True
        try:
            over = self._over(self.job)
            self.known = self._pods(self.job)
        except Unreachable:
            return self.known, False
        return self.known, over

    def _pods(self, job: JobKey) -> list[Speaker]:
        selector = f"{SELECTORS[job.kind]}={job.name}"
        found = self.kube.request("GET", f"/api/v1/namespaces/{job.namespace}/pods", params={"labelSelector": selector})
        pods = [pod["metadata"] for pod in found.get("items") or [] if (pod.get("spec") or {}).get("nodeName")]
        masters = any(_role(pod) == "master" for pod in pods)
        return [self._speaker(job, pod, masters) for pod in pods]

    def _speaker(self, job: JobKey, pod: Mapping[str, Any], masters: bool) -> Speaker:
        labels = pod.get("labels") or {}
        index = next((labels[name] for name in INDEXES if name in labels), None)
        place = None if index is None or not str(index).isdigit() else int(index) + (1 if _role(pod) == "worker" and masters else 0)
        first = None if place is None or self.ranks_per_pod is None else place * self.ranks_per_pod
        return Speaker(job.namespace, pod["name"], self.container, first, self.ranks_per_pod)

    def _over(self, job: JobKey) -> bool:
        plural = job.kind.lower() + "s"
        try:
            found = self.kube.request("GET", f"{PATHS[job.kind]}/namespaces/{job.namespace}/{plural}/{job.name}")
        except NotFound:
            return True
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(one.get("type") in ENDS and one.get("status") == "True" for one in conditions)


def _role(pod: Mapping[str, Any]) -> str:
    return str((pod.get("labels") or {}).get("training.kubeflow.org/replica-type", ""))
