"""Objects to rows: each `to_x` from objects as the API writes them, and from objects that hold null wherever they can."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.instance_types import instance_type, instance_types
from cockpit.model import Condition, PodKey, QueueKey
from cockpit.sources import events, nodeclaims, nodeclasses, nodepools, nodes, priorities, queues, raw, served, volumeclaims
from tests.sources.objects import meta, read


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


# -- karpenter and kueue -----------------------------------------------------------------------------------------------------------------


def test_a_nodeclass() -> None:
    status = {"conditions": [{"type": "SubnetsReady", "status": "False", "reason": "SubnetsNotFound"}, {"type": "Ready", "status": "False"}, None]}
    found = nodeclasses.to_nodeclass(read(nodeclasses.RawNodeClass, {"metadata": meta("gpu", ""), "status": status}))
    assert (found.name, found.ready, [one.reason for one in found.conditions]) == ("gpu", False, ["SubnetsNotFound", ""])
    assert nodeclasses.to_nodeclass(read(nodeclasses.RawNodeClass, {"metadata": None, "status": None})).ready is None


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
        ([condition("Launched", "True"), condition("Registered", "True"), condition("Initialized", "Unknown", "NodeNotReady", "Not ready")],
         "Initialized: NodeNotReady"),
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
    new = {"metadata": meta("e2"), "involvedObject": about, "reason": "FailedScheduling", "eventTime": "1970-01-01T00:00:05.5Z", "count": None,
           "lastTimestamp": None,
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


def test_volume_claims() -> None:
    raw = {
        "metadata": {"name": "fsx-pvc", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteMany", None], "storageClassName": "fsx"},
        "status": {"phase": "Bound", "capacity": {"storage": "1200Gi"}},
    }
    found = volumeclaims.to_volumeclaim(read(volumeclaims.RawVolumeClaim, raw))
    assert (found.key, found.access_modes, found.phase, found.capacity_bytes) == (("default", "fsx-pvc"), ("ReadWriteMany",), "Bound", 1200 << 30)
    bare = volumeclaims.to_volumeclaim(read(volumeclaims.RawVolumeClaim, {}))
    assert (bare.access_modes, bare.capacity_bytes) == ((), None)


def test_a_workload_that_was_left_out_and_a_priority_class() -> None:
    held = queues.to_workload(read(queues.RawWorkload, {"metadata": {"name": "w"}, "spec": {"active": False, "priority": 7}}))
    assert (held.active, held.priority) == (False, 7)
    assert queues.to_workload(read(queues.RawWorkload, {"metadata": {"name": "w"}, "spec": {}})).active is True
    raw = {"metadata": {"name": "high", "resourceVersion": "3"}, "value": 1000, "globalDefault": None}
    one = priorities.to_priority(read(priorities.RawPriorityClass, raw), queue=True)
    assert (one.key, one.name, one.value, one.default) == ((True, "high"), "high", 1000, False)
