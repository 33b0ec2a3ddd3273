"""Pods to rows: the state word, the rank, what is asked for, and why it waits."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.model import JobKey
from cockpit.sources import pods
from tests.sources.objects import meta, read


def pod(status: Any = None, spec: Any = None, **metadata: Any) -> Any:
    return pods.to_pod(read(pods.RawPod, {"metadata": meta(**metadata), "spec": spec or {}, "status": status or {}}))


def running(**more: Any) -> dict[str, Any]:
    return {"name": "main", "ready": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, **more}


def ended(code: int, reason: str | None = "Error", **more: Any) -> dict[str, Any]:
    return {"name": "main", "ready": False, "state": {"terminated": {"exitCode": code, "reason": reason, **more}}}


def waiting(reason: str | None, message: str = "") -> dict[str, Any]:
    return {"name": "main", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Running", "containerStatuses": [running()]}, "Running"),
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}, "SchedulingGated"),
        ({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}, "ContainerCreating"),
        ({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}, "ImagePullBackOff"),
        ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}, "Completed"),
        ({"phase": "Failed", "containerStatuses": [ended(137, "OOMKilled")]}, "OOMKilled"),
        ({"phase": "Failed", "containerStatuses": [ended(1, None)]}, "ExitCode:1"),
        ({"phase": "Failed", "containerStatuses": [ended(137, None, signal=9)]}, "Signal:9"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Failed", "reason": "UnexpectedAdmissionError"}, "UnexpectedAdmissionError"),
        (
            {"phase": "Pending", "initContainerStatuses": [{"name": "a", "state": {"running": {}}}, {"name": "b", "state": {"waiting": {}}}]},
            "Init:0/2",
        ),
        ({"phase": "Pending", "initContainerStatuses": [ended(0), {"name": "b", "state": {"waiting": {"reason": "PodInitializing"}}}]}, "Init:1/2"),
        ({"phase": "Pending", "initContainerStatuses": [waiting("ImagePullBackOff")]}, "Init:ImagePullBackOff"),
        ({"phase": "Failed", "initContainerStatuses": [ended(2, None)]}, "Init:ExitCode:2"),
        ({"phase": "Failed", "initContainerStatuses": [ended(2, "Error")]}, "Init:Error"),
        (
            {"phase": "Running", "containerStatuses": [ended(0, "Completed"), running()], "conditions": [{"type": "Ready", "status": "True"}]},
            "Running",
        ),
        ({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running()]}, "NotReady"),
        ({}, "Unknown"),
    ],
)
def test_the_state_word_is_kubectls(status: dict[str, Any], state: str) -> None:
    assert pod(status).state == state


def test_a_started_sidecar_does_not_keep_a_pod_initialising() -> None:
    spec = {"initContainers": [{"name": "side", "restartPolicy": "Always"}], "containers": [{"name": "main"}]}
    status = {
        "phase": "Running",
        "initContainerStatuses": [{"name": "side", "started": True, "state": {"running": {}}}],
        "containerStatuses": [running()],
    }
    assert pod(status, spec).state == "Running"


def test_a_pod_that_is_being_deleted() -> None:
    assert pod({"phase": "Running", "containerStatuses": [running()]}, deletionTimestamp="2026-01-01T00:00:00Z").state == "Terminating"
    assert pod({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}, deletionTimestamp="2026-01-01T00:00:00Z").state == "Completed"
    assert pod({"phase": "Running", "reason": "NodeLost"}, deletionTimestamp="2026-01-01T00:00:00Z").state == "Unknown"


def test_resources_are_counted_as_the_scheduler_does() -> None:
    ask = {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"nvidia.com/gpu": "4", "vpc.amazonaws.com/efa": 16}}
    spec = {
        "containers": [{"name": "a", "resources": ask}, {"name": "b", "resources": ask}],
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
            {"name": "i", "resources": {"requests": {"cpu": "9"}}},
        ],
    }
    found = pod({}, spec)
    assert (found.gpus, found.efa, found.cpu, found.memory_bytes) == (8, 32, 10.0, 8 << 30)


def test_the_rank_of_a_pytorchjobs_pod() -> None:
    labels = {
        "training.kubeflow.org/job-name": "t5",
        "training.kubeflow.org/operator-name": "pytorchjob-controller",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "3",
    }
    found = pod(labels=labels, ownerReferences=[{"kind": "PyTorchJob", "name": "t5", "controller": True}])
    assert (found.job, found.replica, found.index, found.owner) == (JobKey("ml", "PyTorchJob", "t5"), "worker", 3, "PyTorchJob/t5")
    assert pod(labels=labels | {"training.kubeflow.org/operator-name": "tfjob-controller"}).job is None


def test_the_rank_of_a_trainjobs_pod() -> None:
    labels = {
        "jobset.sigs.k8s.io/jobset-name": "llama",
        "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "jobset.sigs.k8s.io/restart-attempt": "2",
        "batch.kubernetes.io/job-completion-index": "5",
    }
    found = pod(labels=labels)
    assert (found.job, found.replica, found.index, found.restart_attempt) == (JobKey("ml", "TrainJob", "llama"), "node", 5, 2)
    assert pod(labels=labels, name="other").job is found.job


def test_why_a_pod_waits_or_died() -> None:
    unscheduled = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes: Insufficient nvidia.com/gpu"}],
    }
    assert pod(unscheduled).message == "0/4 nodes: Insufficient nvidia.com/gpu"
    assert (
        pod({"containerStatuses": [waiting("ImagePullBackOff", "Back-off pulling image x")]}).message == "ImagePullBackOff: Back-off pulling image x"
    )
    assert pod({"containerStatuses": [waiting("ContainerCreating")]}).message == ""
    assert pod({"containerStatuses": [ended(137, "OOMKilled")]}).message == "OOMKilled: exit code 137"
    assert pod({"containerStatuses": [ended(1, "Error", message="Traceback ...")]}).message == "Error: Traceback ..."
    crashed = waiting("CrashLoopBackOff", "back-off 10s") | {"lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    assert pod({"containerStatuses": [crashed]}).message == "CrashLoopBackOff: back-off 10s (last: Error)"
    assert pod({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory"}).message == "Evicted: The node was low on memory"
    assert pod({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}).message == ""


def test_exit_codes_restarts_and_readiness() -> None:
    assert pod({"containerStatuses": [ended(0), ended(3)]}).exit_code == 3
    assert pod({"containerStatuses": [ended(0)]}).exit_code == 0
    assert pod({"containerStatuses": [running()]}).exit_code is None
    again = running(restartCount=2, lastState={"terminated": {"exitCode": 137}})
    found = pod({"containerStatuses": [again], "conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.1.2.3", "nominatedNodeName": "n9"})
    assert (found.restarts, found.exit_code, found.ready, found.ip, found.nominated) == (2, 137, True, "10.1.2.3", "n9")
    assert found.started == 1767225600.0
