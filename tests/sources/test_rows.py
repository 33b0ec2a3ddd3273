"""Objects to rows: each `to_x` from objects as the API writes them, and from objects that hold null wherever they can."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cockpit.instance_types import instance_type, instance_types
from cockpit.model import Condition, JobKey, PodKey, QueueKey
from cockpit.sources import events, jobs, nodeclaims, nodepools, nodes, pods, queues, raw, served
from cockpit.sources.jobtemplates import strategy_of


def read(kind: type, value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def meta(name: str = "x", namespace: str = "ml", **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "7", **more}


def pod(status: Any = None, spec: Any = None, **metadata: Any) -> Any:
    return pods.to_pod(read(pods.RawPod, {"metadata": meta(**metadata), "spec": spec or {}, "status": status or {}}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", 0.25),
        ("4", 4.0),
        ("1.5", 1.5),
        ("4Gi", 4 * 2**30),
        ("100M", 1e8),
        ("2Ki", 2048),
        ("1e3", 1000.0),
        (8, 8.0),
        (None, None),
        ("", None),
        ("x", None),
    ],
)
def test_quantities(text: Any, value: float | None) -> None:
    assert raw.quantity(text) == value


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e999", None, "lots"])
def test_counts_are_whole_numbers_or_unknown(bad: Any) -> None:
    assert raw.count(bad) is None


def test_times() -> None:
    assert raw.seconds("1970-01-01T00:01:00Z") == 60.0
    assert raw.seconds("1970-01-01T00:00:00.250000Z") == 0.25
    assert [raw.seconds(text) for text in (None, "", "yesterday", "9999-99-99T00:00:00Z")] == [None] * 4


# -- nodes -------------------------------------------------------------------------------------------------------------------------------

NODE = {
    "metadata": {
        "name": "ip-10-0-1-5",
        "resourceVersion": "12",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {
            "node.kubernetes.io/instance-type": "p5.48xlarge",
            "topology.kubernetes.io/zone": "us-east-1a",
            "topology.kubernetes.io/region": "us-east-1",
            "karpenter.sh/nodepool": "gpu",
            "karpenter.sh/capacity-type": "spot",
            "karpenter.k8s.aws/instance-gpu-name": "h100",
            "topology.k8s.aws/network-node-layer-1": "nn-1",
            "topology.k8s.aws/network-node-layer-2": "nn-2",
            "cockpit.dev/simulated": "true",
        },
        "annotations": {"cockpit.dev/cordon-reason": "XID 79"},
    },
    "spec": {
        "unschedulable": True,
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}],
    },
    "status": {
        "capacity": {"nvidia.com/gpu": "8", "cpu": "192"},
        "allocatable": {"nvidia.com/gpu": "7", "vpc.amazonaws.com/efa": "32", "cpu": "191500m", "memory": "2000Gi"},
        "addresses": [{"type": "Hostname", "address": "h"}, {"type": "InternalIP", "address": "10.0.1.5"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def to_node(status: Any) -> Any:
    return nodes.to_node(read(nodes.RawNode, {"metadata": {"name": "n"}, "status": status}))


def test_a_gpu_node() -> None:
    found = nodes.to_node(read(nodes.RawNode, NODE))
    assert (found.name, found.instance_type, found.zone, found.region, found.pool) == ("ip-10-0-1-5", "p5.48xlarge", "us-east-1a", "us-east-1", "gpu")
    assert (found.gpu_capacity, found.gpu_allocatable, found.efa_allocatable, found.cpu_allocatable) == (8, 7, 32, 191.5)
    assert (found.memory_allocatable_bytes, found.capacity_type, found.gpu_model, found.internal_ip) == (2000 << 30, "spot", "h100", "10.0.1.5")
    assert (found.cordoned, found.cordon_reason, found.ready, found.problems) == (True, "XID 79", True, ())
    assert found.taints == ("nvidia.com/gpu=present:NoSchedule", "a:NoExecute")
    assert (found.topology, found.created, found.simulated) == (("nn-1", "nn-2"), 1767225600.0, True)


def test_a_node_without_gpus_has_unknown_and_not_zero() -> None:
    found = to_node({"capacity": {"cpu": "2"}})
    assert (found.gpu_capacity, found.gpu_allocatable, found.efa_allocatable, found.ready) == (None, None, None, None)


@pytest.mark.parametrize(
    ("type_", "status", "bad"),
    [
        ("Ready", "True", False),
        ("Ready", "False", True),
        ("Ready", "Unknown", True),
        ("AcceleratedHardwareReady", "False", True),
        ("AcceleratedHardwareReady", "True", False),
        ("AcceleratedHardwareReady", "Unknown", False),
        ("ContainerRuntimeReady", "False", True),
        ("MemoryPressure", "True", True),
        ("MemoryPressure", "False", False),
        ("NetworkUnavailable", "True", True),
        ("NetworkUnavailable", "False", False),
        ("GPUProblem", "True", True),
        ("KernelDeadlock", "False", False),
        ("KubeletUnhealthy", "True", True),
        ("SysLogsXIDError", "True", True),
        ("EtcdIsVoter", "True", False),
    ],
)
def test_conditions_of_both_polarities(type_: str, status: str, bad: bool) -> None:
    found = to_node({"conditions": [{"type": type_, "status": status, "reason": "R", "message": "m", "lastTransitionTime": "1970-01-01T00:00:01Z"}]})
    assert found.problems == ((Condition(type_, status, "R", "m", 1.0),) if bad else ())


# -- pods --------------------------------------------------------------------------------------------------------------------------------


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


# -- jobs --------------------------------------------------------------------------------------------------------------------------------


def template(command: list[str], gpus: int = 0, **env: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    container = {
        "name": "pytorch",
        "command": command,
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {"limits": limits},
    }
    return {"spec": {"containers": [{"name": "sidecar"}, container]}}


def pytorchjob(spec: dict[str, Any], status: Any = None, **metadata: Any) -> Any:
    return jobs.to_pytorchjob(read(jobs.RawPyTorchJob, {"metadata": meta("t5", **metadata), "spec": spec, "status": status}))


def replicas(workers: int, **kind: Any) -> dict[str, Any]:
    return {"Master": {"replicas": 1, "template": template(**kind)}, "Worker": {"replicas": workers, "template": template(**kind)}}


def test_a_pytorchjob() -> None:
    spec = {
        "pytorchReplicaSpecs": replicas(3, command=["torchrun", "-m", "training.fsdp"], gpus=8),
        "nprocPerNode": "8",
        "runPolicy": {"suspend": True},
    }
    status = {
        "conditions": [
            {"type": "Created", "status": "True"},
            {"type": "Failed", "status": "True", "reason": "PyTorchJobFailed", "lastTransitionTime": "1970-01-01T00:00:09Z"},
        ],
        "startTime": "1970-01-01T00:00:05Z",
    }
    labels = {"kueue.x-k8s.io/queue-name": "user-queue", "app.kubernetes.io/managed-by": "cockpit"}
    found = pytorchjob(spec, status, labels=labels, annotations={"cockpit.dev/steps": "500"})
    assert (found.key, found.pods_wanted, found.ranks_per_pod, found.ranks_wanted, found.gpus_per_pod) == (
        JobKey("ml", "PyTorchJob", "t5"),
        4,
        8,
        32,
        8,
    )
    assert (found.strategy, found.suspended, found.queue, found.steps_wanted, found.managed) == ("fsdp", True, "user-queue", 500, True)
    assert (found.started, found.finished, found.uid) == (5.0, 9.0, "uid-t5")
    assert found.condition("Failed").reason == "PyTorchJobFailed"


@pytest.mark.parametrize(
    ("nproc", "kind", "ranks"),
    [
        ("4", {"command": ["torchrun", "--nproc_per_node=2"], "gpus": 8}, 4),
        ("auto", {"command": ["torchrun", "--nproc_per_node=2"], "gpus": 8}, 2),
        (None, {"command": ["sh", "-c", "torchrun --nproc-per-node 3 x.py"]}, 3),
        (None, {"command": ["torchrun", "x.py"], "PET_NPROC_PER_NODE": "6"}, 6),
        ("gpu", {"command": ["torchrun", "x.py"], "gpus": 8}, 8),
        ("auto", {"command": ["torchrun", "x.py"]}, None),
        (None, {"command": ["torchrun", "--nproc_per_node=auto"]}, None),
    ],
)
def test_ranks_per_pod(nproc: str | None, kind: dict[str, Any], ranks: int | None) -> None:
    assert pytorchjob({"pytorchReplicaSpecs": replicas(1, **kind), "nprocPerNode": nproc}).ranks_per_pod == ranks


@pytest.mark.parametrize(
    ("line", "strategy"),
    [("torchrun -m training.ddp", "ddp"), ("torchrun train_fsdp.py", "fsdp"), ("deepspeed x.py", "deepspeed"), ("torchrun -m training.zero", "deepspeed"),
     ("torchrun -m training.amx", "amx"), ("torchrun x.py", "ddp"), ("python x.py", "")],
)  # fmt: skip
def test_strategies(line: str, strategy: str) -> None:
    assert strategy_of(line) == strategy


def trainjob(trainer: Any, **more: Any) -> Any:
    return read(jobs.RawTrainJob, {"metadata": meta("llama"), "spec": {"trainer": trainer, **more}, "status": {"conditions": None}})


def jobset(restarts: int) -> Any:
    node = {
        "name": "node",
        "replicas": 1,
        "template": {"spec": {"parallelism": 4, "template": template(["torchrun", "fsdp.py"], 8, PET_NPROC_PER_NODE="8")}},
    }
    owner = {"kind": "TrainJob", "name": "llama", "controller": True}
    return read(
        jobs.RawJobSet,
        {
            "metadata": meta("llama", ownerReferences=[owner], creationTimestamp="1970-01-01T00:00:03Z"),
            "spec": {"replicatedJobs": [{"name": "model-initializer"}, node]},
            "status": {"restarts": restarts},
        },
    )


def test_a_trainjob_learns_from_its_jobset_whichever_comes_first() -> None:
    for first in ("job", "jobset"):
        joined = jobs.TrainJobs()
        if first == "job":
            alone = joined.job(trainjob({}))
            assert (alone.pods_wanted, alone.ranks_per_pod, alone.restarts) == (None, None, 0)
            found = joined.jobset(jobset(2))
        else:
            assert joined.jobset(jobset(2)) is None
            found = joined.job(trainjob({}))
        assert (found.pods_wanted, found.ranks_per_pod, found.gpus_per_pod, found.restarts, found.strategy, found.started) == (
            4,
            8,
            8,
            2,
            "fsdp",
            3.0,
        )


def test_what_a_trainjob_says_itself_stands() -> None:
    joined = jobs.TrainJobs()
    joined.jobset(jobset(0))
    found = joined.job(trainjob({"numNodes": 2, "numProcPerNode": 4, "command": ["torchrun", "-m", "training.ddp"]}, suspend=True))
    assert (found.pods_wanted, found.ranks_per_pod, found.strategy, found.suspended) == (2, 4, "ddp", True)


def test_a_trainjob_that_is_gone_is_forgotten() -> None:
    joined = jobs.TrainJobs()
    joined.job(trainjob({}))
    joined.gone("ml", "llama")
    assert joined.jobset(jobset(1)) is None


# -- karpenter and kueue -----------------------------------------------------------------------------------------------------------------


def test_a_nodepool() -> None:
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge", "p4d.24xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
        {"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["a"]},
    ]
    spec = {
        "template": {"spec": {"requirements": requirements, "nodeClassRef": {"name": "gpu"}}},
        "limits": {"cpu": "1000", "nvidia.com/gpu": 32, "memory": "10Ti"},
        "weight": 5,
    }
    status = {"resources": {"cpu": "192", "nodes": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}
    found = nodepools.to_nodepool(read(nodepools.RawNodePool, {"metadata": meta("gpu", ""), "spec": spec, "status": status}))
    assert (found.name, found.ready, found.weight, found.node_class) == ("gpu", True, 5, "gpu")
    assert (found.limits, found.usage) == ({"cpu": 1000.0, "nvidia.com/gpu": 32.0, "memory": 10 * 2**40}, {"cpu": 192.0, "nodes": 1.0})
    assert (found.instance_types, found.zones, found.capacity_types) == (("p5.48xlarge", "p4d.24xlarge"), (), ("spot",))


def condition(type_: str, status: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("conditions", "waits"),
    [
        ([], "Launched"),
        ([condition("Launched", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation")], "Launched"),
        ([condition("Launched", "Unknown", "LaunchFailed", "no capacity in us-east-1a")], "Launched: LaunchFailed no capacity in us-east-1a"),
        ([condition("Launched", "True"), condition("Registered", "Unknown", "NodeNotFound", "Node not registered")], "Registered"),
        (
            [condition("Launched", "True"), condition("Registered", "True"),
             condition("Initialized", "Unknown", "ResourceNotRegistered", 'Resource "nvidia.com/gpu" was requested but not registered')],
            "Initialized: ResourceNotRegistered nvidia.com/gpu",
        ),
        ([condition("Launched", "True"), condition("Registered", "True"), condition("Initialized", "Unknown", "NodeNotReady", "Node status is NotReady")], "Initialized: NodeNotReady"),
        ([condition(step, "True") for step in ("Launched", "Registered", "Initialized")], ""),
    ],
)  # fmt: skip
def test_what_a_nodeclaim_waits_for(conditions: list[dict[str, str]], waits: str) -> None:
    labels = {"karpenter.sh/nodepool": "gpu", "node.kubernetes.io/instance-type": "p5.48xlarge"}
    spec = {
        "requirements": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1"]},
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
        ],
        "resources": {"requests": {"nvidia.com/gpu": "8"}},
    }
    found = nodeclaims.to_nodeclaim(
        read(
            nodeclaims.RawNodeClaim, {"metadata": meta("c1", "", labels=labels), "spec": spec, "status": {"conditions": conditions, "nodeName": "n1"}}
        )
    )
    assert found.waits_for == waits
    assert (found.pool, found.instance_type, found.zone, found.capacity_type, found.gpu_requested, found.node) == (
        "gpu",
        "p5.48xlarge",
        "z1",
        "",
        8,
        "n1",
    )


def test_a_cluster_queue_with_quota() -> None:
    spec = {
        "resourceGroups": [
            {"flavors": [{"name": "h100", "resources": [{"name": "nvidia.com/gpu", "nominalQuota": "32"}, {"name": "cpu", "nominalQuota": "1k"}]}]}
        ]
    }
    status = {
        "flavorsUsage": [{"name": "h100", "resources": [{"name": "nvidia.com/gpu", "total": "24"}]}],
        "pendingWorkloads": 3,
        "admittedWorkloads": 2,
        "conditions": [{"type": "Active", "status": "False", "reason": "FlavorNotFound", "message": "flavor h100 is missing"}],
    }
    found = queues.to_queue(read(queues.RawQueue, {"metadata": {"name": "team"}, "spec": spec, "status": status}))
    assert (found.key, found.pending, found.admitted, found.active, found.reason) == (QueueKey("", "team"), 3, 2, False, "flavor h100 is missing")
    assert [(quota.resource, quota.used, quota.nominal) for quota in found.quotas] == [("nvidia.com/gpu", 24.0, 32.0), ("cpu", 0.0, 1000.0)]


@pytest.mark.parametrize(
    ("conditions", "admitted", "finished", "reason"),
    [
        ([], False, False, ""),
        ([condition("QuotaReserved", "False", "Pending", "8 more needed")], False, False, "Pending"),
        (
            [condition("QuotaReserved", "True"), condition("Admitted", "False", "UnsatisfiedAdmissionChecks")],
            False,
            False,
            "UnsatisfiedAdmissionChecks",
        ),
        ([condition("QuotaReserved", "True"), condition("Admitted", "True", "Admitted")], True, False, ""),
        ([condition("Evicted", "True", "Preempted")], False, False, "Preempted"),
        ([condition("QuotaReserved", "True"), condition("Admitted", "True"), condition("Finished", "True", "Succeeded")], True, True, ""),
    ],
)
def test_a_workload(conditions: list[dict[str, str]], admitted: bool, finished: bool, reason: str) -> None:
    metadata = meta("w", ownerReferences=[{"kind": "PyTorchJob", "name": "t5", "uid": "u5", "controller": True}])
    found = queues.to_workload(read(queues.RawWorkload, {"metadata": metadata, "spec": {"queueName": "q"}, "status": {"conditions": conditions}}))
    assert (found.key, found.job_uid, found.queue, found.admitted, found.finished, found.reason) == (
        PodKey("ml", "w"),
        "u5",
        "q",
        admitted,
        finished,
        reason,
    )


# -- events, schemas, the table of types -------------------------------------------------------------------------------------------------


def test_events_of_the_old_and_the_new_recorder() -> None:
    about = {"kind": "Pod", "namespace": "ml", "name": "p"}
    old = {"metadata": meta("e1"), "involvedObject": about, "reason": "Pulled", "message": "m", "count": 4, "lastTimestamp": "1970-01-01T00:00:08Z",
           "firstTimestamp": "1970-01-01T00:00:01Z", "source": {"component": "kubelet"}, "type": "Normal"}  # fmt: skip
    new = {"metadata": meta("e2"), "involvedObject": about, "reason": "FailedScheduling", "eventTime": "1970-01-01T00:00:05.5Z", "count": None, "lastTimestamp": None,
           "reportingComponent": "karpenter", "type": "Warning", "series": {"count": 9, "lastObservedTime": "1970-01-01T00:00:09.5Z"}}  # fmt: skip
    first, second = (events.to_event(read(events.RawEvent, one)) for one in (old, new))
    assert (first.at, first.count, first.source, first.involved_name, first.type) == (8.0, 4, "kubelet", "p", "Normal")
    assert (second.at, second.count, second.source, second.type) == (9.5, 9, "karpenter", "Warning")


def test_the_fields_of_a_schema_tell_trainer_versions_apart() -> None:
    number = {"type": "integer"}
    trainer = {"type": "object", "properties": {"numProcPerNode": {"x-kubernetes-int-or-string": True}, "numNodes": number}}
    override = {
        "type": "array",
        "items": {"type": "object", "properties": {"targetJobs": {"type": "array", "items": {"type": "object", "properties": {"deep": number}}}}},
    }
    schema = {
        "properties": {"spec": {"type": "object", "properties": {"trainer": trainer, "podTemplateOverrides": override}}, "status": {"type": "object"}}
    }
    found = served.fields_of(schema)
    assert found["spec.podTemplateOverrides"] == "array"
    assert found["spec.trainer.numProcPerNode"] == "int-or-string"
    assert found["spec.podTemplateOverrides.targetJobs.deep"] == "integer"
    assert "spec.runtimePatches" not in found
    assert served.fields_of({}) == {}


def test_the_table_of_instance_types() -> None:
    p5 = instance_type("p5.48xlarge")
    assert p5 is not None
    assert (p5.gpus, p5.gpu_model, p5.efa, p5.dollars_per_hour, p5.gpu_memory_bytes) == (8, "h100", 32, 55.04, 81920 << 20)
    assert p5.efa_line_bits_per_second == 100e9
    assert instance_type("t2.nano") is None
    assert len(instance_types()) == 31
    assert all(one.memory_bytes > 0 and one.vcpu > 0 for one in instance_types().values())


# -- malformed ---------------------------------------------------------------------------------------------------------------------------

KINDS = [
    (nodes.RawNode, nodes.to_node),
    (pods.RawPod, pods.to_pod),
    (jobs.RawPyTorchJob, jobs.to_pytorchjob),
    (jobs.RawTrainJob, jobs.to_trainjob),
    (jobs.RawJobSet, jobs.to_below),
    (nodepools.RawNodePool, nodepools.to_nodepool),
    (nodeclaims.RawNodeClaim, nodeclaims.to_nodeclaim),
    (queues.RawQueue, queues.to_queue),
    (queues.RawWorkload, queues.to_workload),
    (events.RawEvent, events.to_event),
]


def filled(kind: Any, leaf: Any) -> Any:
    """A value of the struct in which every list has one null and every field at the bottom is `leaf`."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {one.encode_name: filled(one.type, leaf) for one in msgspec.structs.fields(kind)}
    arguments = [one for one in getattr(kind, "__args__", ()) if one is not type(None)]
    structs = [one for one in arguments if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    if structs:
        return filled(structs[0], leaf)
    lists = [one for one in arguments if getattr(one, "__origin__", None) is list]
    if lists:
        return [None, filled(lists[0].__args__[0], leaf)]
    if any(getattr(one, "__origin__", None) is dict for one in arguments):
        return {"nvidia.com/gpu": None, "": None}
    return leaf


@pytest.mark.parametrize(("kind", "to_row"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_null_anywhere_does_no_harm(kind: Any, to_row: Any) -> None:
    to_row(read(kind, {}))
    to_row(read(kind, {one.encode_name: None for one in msgspec.structs.fields(kind)}))
    to_row(read(kind, {"metadata": {}, "spec": {}, "status": {}}))
    to_row(read(kind, filled(kind, None)))
