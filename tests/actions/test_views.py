"""Views write what is known and null for what is not."""

from __future__ import annotations

import threading
from typing import Any

from actions.core import Clients, load, parse
from cockpit.model import (
    ClaimName,
    Condition,
    DeviceKey,
    EfaDevice,
    Gpu,
    NodeClaim,
    NodeName,
    PodKey,
    Progress,
    Queue,
    QueueKey,
    Quota,
    Workload,
)
from cockpit.snapshot import Snapshot
from tests.actions.pictures import JOB, job, node, picture, pod, pool, price


def shown(name: str, snapshot: Snapshot, **given: Any) -> list[dict[str, Any]]:
    action = load(name)
    assert action.records is not None
    keys = {column.key for column in action.columns}
    found = [dict(record) for record in action.records(Clients(), snapshot, parse(action.params, given), threading.Event())]
    assert all(keys <= set(record) for record in found)
    return found


def test_nodes_read_nodes_alone_unless_asked_for_more() -> None:
    action = load("nodes")
    assert action.needs_of(parse(action.params, {})) == ("nodes",)
    assert action.needs_of(parse(action.params, {"used": True, "prices": True})) == ("nodes", "pods", "prices")
    rows = shown("nodes", picture(nodes=[node("b"), node("a", None)], pods=[pod("p", "b")], prices=[price()]))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert (rows[1]["gpu_used"], rows[1]["jobs"], rows[1]["dollars_per_hour"], rows[0]["gpu_allocatable"]) == (None, None, None, None)
    joined = shown("nodes", picture(nodes=[node("b")], pods=[pod("p", "b")], prices=[price()]), used=True, prices=True)
    assert (joined[0]["gpu_used"], joined[0]["jobs"], joined[0]["dollars_per_hour"]) == (8, ["t5"], 55.04)


def test_the_health_of_a_node_is_the_worst_that_is_known() -> None:
    sick = (Condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error"),)
    nodes = [node("a"), node("b", ready=None), node("c", ready=False), node("d", problems=sick, cordoned=True), node("e", cordoned=True)]
    assert [row["health"] for row in shown("nodes", picture(nodes=nodes))] == ["ok", "unknown", "not ready", "NvidiaXID79Error", "cordoned"]


def test_a_nodepool_shows_its_claims_and_costs_nothing_it_does_not_know() -> None:
    claim = NodeClaim(ClaimName("gpu-x"), "1", "gpu", waits_for="capacity")
    (row,) = shown("nodepools", picture(nodepools=[pool(used=8)], nodeclaims=[claim], nodes=[node("n1")], prices=[price()]))
    assert (row["gpu_used"], row["gpu_limit"], row["waiting"], row["waits_for"], row["dollars_per_hour"]) == (8, 64, 1, "capacity", 55.04)
    (blind,) = shown("nodepools", picture(nodepools=[pool()], nodes=[node("n1")]))
    assert blind["dollars_per_hour"] is None


def test_jobs_show_phase_ranks_and_progress() -> None:
    rows = shown("jobs", picture(jobs=[job(steps_wanted=50)], pods=[pod("t5-worker-0")], progress=[Progress(JOB, 7, loss=2.5)]))
    assert [(row["phase"], row["ranks_up"], row["ranks"], row["step"], row["steps"], row["loss"]) for row in rows] == [("training", 2, 4, 7, 50, 2.5)]
    over = picture(jobs=[job(conditions=(Condition("Succeeded", "True"),))])
    assert shown("jobs", over, active=True) == []
    assert shown("jobs", over, namespace="other") == []
    assert len(shown("jobs", over, job="t5")) == 1


def test_a_gpu_knows_its_job_and_a_reading_that_is_absent_is_null() -> None:
    gpus = [
        Gpu(DeviceKey(NodeName("n1"), "0"), 0, pod=PodKey("default", "t5-worker-0"), utilisation_percent=0.0),
        Gpu(DeviceKey(NodeName("n2"), "0"), 0),
    ]
    snapshot = picture(gpus=gpus, pods=[pod("t5-worker-0")])
    busy, free = shown("gpus", snapshot)
    assert (busy["job"], busy["utilisation_percent"], busy["power_watts"]) == ("t5", 0.0, None)
    assert (free["job"], free["utilisation_percent"]) == (None, None)
    assert [row["node"] for row in shown("gpus", snapshot, job="t5")] == ["n1"]
    assert [row["node"] for row in shown("gpus", snapshot, node="n2")] == ["n2"]


def test_an_efa_device_shows_its_share_of_the_line() -> None:
    device = EfaDevice(DeviceKey(NodeName("n1"), "rdmap0"), tx_bits_per_second=25e9, line_bits_per_second=100e9)
    (row,) = shown("efa", picture(efa=[device]))
    assert (row["tx_share_ratio"], row["rx_share_ratio"], row["retransmit_ratio"]) == (0.25, None, None)


def test_a_queue_shows_quota_and_why_its_workloads_wait() -> None:
    quotas = (Quota("gpu", "nvidia.com/gpu", 64.0, 16.0), Quota("gpu", "cpu", 100.0, 1.0))
    queues = [Queue(QueueKey("", "all"), "1", quotas=quotas, pending=1), Queue(QueueKey("default", "train"), "1", cluster_queue="all")]
    waiting = Workload(PodKey("default", "w"), "1", queue="train", cluster_queue="all", message="8 more needed", position=3)
    top, local = shown("queues", picture(queues=queues, workloads=[waiting]))
    assert (top["kind"], top["gpu_used"], top["gpu_nominal"]) == ("ClusterQueue", 16.0, 64.0)
    assert local["waiting"] == [{"namespace": "default", "workload": "w", "position": 3, "reason": None, "message": "8 more needed"}]
    assert (local["gpu_nominal"], local["pending"]) == (64.0, None)
