"""Kueue on an in-process cluster: suspended at creation, admitted while quota lasts, explained while it does not."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import World, node
from test_job_journeys import PYTORCH, TRAIN, furnish, pytorchjob, trainjob, types

from cockpit.sim.controllers import Options
from cockpit.sim.scenarios.creation import put, queue_objects

WORKLOADS = "workloads.kueue.x-k8s.io"
QUEUE = "kueue.x-k8s.io/queue-name"
VISIBLE = "/apis/visibility.kueue.x-k8s.io/v1beta2"


def queued(job: dict[str, Any], queue: str = "user") -> dict[str, Any]:
    job["metadata"]["labels"] = {QUEUE: queue}
    return job


def open_queue(world: World, cpu: str = "2", **more: Any) -> None:
    entry = {"name": "user", "flavor": "spot", "namespaces": ["default"], "quotas": {"cpu": cpu}, **more}
    for one in queue_objects(entry):
        put(world.cluster, one)


def workload_of(world: World, job: str) -> dict[str, Any]:
    return next(one for one in world.cluster.list(WORKLOADS) if one["metadata"]["ownerReferences"][0]["name"] == job)


def reserved(world: World, job: str) -> dict[str, Any]:
    conditions = workload_of(world, job)["status"]["conditions"]
    return next(one for one in conditions if one["type"] == "QuotaReserved")


async def test_quota_is_used_and_given_back_in_order(world: World) -> None:
    furnish(world)
    open_queue(world)
    world.cluster.create(PYTORCH, queued(pytorchjob("first")))
    await world.until(lambda: types(world, PYTORCH, "first")[-1] == ("Running", "True"))
    second = world.cluster.create(PYTORCH, queued(pytorchjob("second")))
    assert second["spec"]["runPolicy"]["suspend"] is True
    waiting = await world.until(lambda: reserved(world, "second"))
    assert (waiting["status"], waiting["reason"]) == ("False", "WaitingForQuota")
    assert waiting["message"] == (
        "couldn't assign flavors to pod set master: insufficient unused quota for cpu in flavor spot, 1 more needed"
    )
    workload = workload_of(world, "second")
    assert workload["metadata"]["labels"]["kueue.x-k8s.io/job-uid"] == second["metadata"]["uid"]
    assert workload["metadata"]["name"].startswith("pytorchjob-second-")
    queue = await world.until(lambda: _queue_with(world, 1, 1))
    assert queue["status"]["flavorsUsage"] == [{"name": "spot", "resources": [{"name": "cpu", "total": "2", "borrowed": "0"}]}]
    local = world.cluster.get("localqueues.kueue.x-k8s.io", "default", "user")
    assert (local["status"]["pendingWorkloads"], local["status"]["admittedWorkloads"]) == (1, 1)
    (shown,) = _visible(world, "clusterqueues/user/pendingworkloads")
    assert (shown["positionInClusterQueue"], shown["positionInLocalQueue"], shown["localQueueName"]) == (0, 0, "user")
    assert _visible(world, "namespaces/default/localqueues/user/pendingworkloads") == [shown]
    world.finish("default", "first-master-0")
    await world.until(lambda: types(world, PYTORCH, "second")[-1] == ("Running", "True"))
    assert {one["type"]: one["status"] for one in workload_of(world, "first")["status"]["conditions"]}["Finished"] == "True"
    assert ("Started", "Admitted by clusterQueue user") in world.events("second")


def _queue_with(world: World, pending: int, admitted: int) -> dict[str, Any] | None:
    queue = world.cluster.get("clusterqueues.kueue.x-k8s.io", None, "user")
    counts = (queue["status"]["pendingWorkloads"], queue["status"]["admittedWorkloads"])
    return queue if counts == (pending, admitted) else None


def _visible(world: World, path: str) -> list[dict[str, Any]]:
    answer = next(one.answer for one in world.cluster.virtuals if one.prefix == VISIBLE)
    return list(answer(path, {})["items"])


async def test_best_effort_passes_a_large_job_and_strict_does_not(world: World) -> None:
    furnish(world)
    open_queue(world, strategy="StrictFIFO")
    world.cluster.create(PYTORCH, queued(pytorchjob("large", workers=7)))
    too_large = await world.until(lambda: reserved(world, "large"))
    assert too_large["reason"] == "ExceedsMaxQuota"
    assert "current podset request (7) > maximum capacity (2)" in too_large["message"]
    world.cluster.create(PYTORCH, queued(pytorchjob("small", workers=0)))
    await world.until(lambda: _queue_with(world, 2, 0))
    assert not workload_of(world, "small").get("status", {}).get("conditions")
    world.cluster.patch("clusterqueues.kueue.x-k8s.io", None, "user", {"spec": {"queueingStrategy": "BestEffortFIFO"}})
    await world.until(lambda: types(world, PYTORCH, "small")[-1] == ("Running", "True"))


@pytest.mark.parametrize("trainer", ["2.1", "2.3"])
async def test_a_trainjob_gets_its_flavors_labels(trainer: str) -> None:
    world = World(Options(trainer=trainer, pace=0.02, seed=7))
    furnish(world)
    world.cluster.create("nodes", node("n3", {"pool": "spot"}))
    open_queue(world, cpu="8", nodeLabels={"pool": "spot"})
    world.cluster.create(TRAIN, queued(trainjob()))
    pods = await world.until(lambda: [one for one in world.cluster.list("pods", "default") if one["status"]["phase"] == "Running"])
    assert {one["spec"]["nodeName"] for one in pods} == {"n3"}
    field = "podTemplateOverrides" if trainer == "2.1" else "runtimePatches"
    assert world.cluster.get(TRAIN, "default", "train")["spec"][field]
    assert types(world, TRAIN, "train") == [("Suspended", "False")]
    await world.stop()


async def test_a_queue_that_is_not_there_is_named(world: World) -> None:
    furnish(world)
    world.cluster.create(PYTORCH, queued(pytorchjob("lost"), "nowhere"))
    said = await world.until(lambda: reserved(world, "lost"))
    assert (said["reason"], said["message"]) == ("Misconfigured", "LocalQueue nowhere doesn't exist")


async def test_a_deactivated_workload_stops_its_job(world: World) -> None:
    furnish(world)
    open_queue(world)
    world.cluster.create(PYTORCH, queued(pytorchjob("job")))
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Running", "True"))
    name = workload_of(world, "job")["metadata"]["name"]
    world.cluster.patch(WORKLOADS, "default", name, {"spec": {"active": False}})
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Suspended", "True"))
    assert world.condition(WORKLOADS, "default", name, "Evicted")["reason"] == "Deactivated"
    world.cluster.patch(WORKLOADS, "default", name, {"spec": {"active": True}})
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Running", "True"))


async def test_a_stopped_queue_holds(world: World) -> None:
    furnish(world)
    open_queue(world)
    world.cluster.patch("clusterqueues.kueue.x-k8s.io", None, "user", {"spec": {"stopPolicy": "Hold"}})
    world.cluster.create(PYTORCH, queued(pytorchjob("job")))
    said = await world.until(lambda: reserved(world, "job"))
    assert (said["reason"], said["message"]) == ("Suspended", "ClusterQueue user is inactive")
    assert world.condition("clusterqueues.kueue.x-k8s.io", None, "user", "Active")["reason"] == "Stopped"
