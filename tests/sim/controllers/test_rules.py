"""Pure rules: Karpenter's decoder, PyTorchJob environment, TrainJob processes, Kueue quotas, disruption budgets, scenarios."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import World, pod

from cockpit.sim.controllers import Options, controllers
from cockpit.sim.controllers.changes import changed_pod, rate_of
from cockpit.sim.controllers.housekeeping import budget_status
from cockpit.sim.controllers.jobs import index_ranges
from cockpit.sim.controllers.karpenter_rules import filter_reason, suitable
from cockpit.sim.controllers.karpenter_state import duration_seconds
from cockpit.sim.controllers.kueue_quotas import Quota, assign
from cockpit.sim.controllers.pytorchjob_pods import environment, replica_pod
from cockpit.sim.controllers.trainjob_rendering import processes_per_node
from cockpit.sim.crds import crds
from cockpit.sim.instance_types import INSTANCE_TYPES, Offering, offerings, price_per_hour
from cockpit.sim.scenarios import ScenarioError, apply, load

TYPE, ZONE, CAPACITY = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "karpenter.sh/capacity-type"
GPU = "nvidia.com/gpu"


def need(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


@pytest.mark.parametrize(
    ("requirements", "gpus", "blocked", "said"),
    [
        ([need(TYPE, "x9.huge")], 1, (), "no instance type met all requirements"),
        ([], 9, (), "no instance type has enough resources"),
        ([need(ZONE, "mars")], 1, (), "no instance type has the required offering"),
        ([need(TYPE, "x9.huge")], 9, (), "no instance type met the scheduling requirements or had enough resources"),
        ([need(TYPE, "p5.48xlarge")], 8, ("p5.48xlarge",), "had enough resources, had a required offering"),
        ([need(TYPE, "g6e.xlarge")], 8, (), "and the required offering met the scheduling requirements"),
        ([need(TYPE, "g6e.xlarge")], 8, ("g6e.48xlarge", "p5.48xlarge"), "the required offering had the required resources"),
    ],
)
def test_the_decoder_says_what_is_missing(requirements: list[dict[str, Any]], gpus: int, blocked: tuple[str, ...], said: str) -> None:
    names = ["g6e.xlarge", "g6e.48xlarge", "p5.48xlarge"]
    requests = {"cpu": 1000, GPU: gpus * 1000}

    def is_blocked(one: Offering) -> bool:
        return one.instance_type in blocked

    assert not suitable(requirements, requests, {}, is_blocked, names)
    assert said in filter_reason(requirements, requests, {}, is_blocked, names)


def test_offerings_come_cheapest_first_and_spot_costs_less() -> None:
    prices = [one.price_per_hour for one in offerings()]
    assert prices == sorted(prices)
    assert price_per_hour("p5.48xlarge", "on-demand") == 55.04
    spot = price_per_hour("p5.48xlarge", "spot")
    assert spot is not None
    assert spot < 55.04
    assert price_per_hour("nothing.large", "spot") is None
    assert INSTANCE_TYPES["p5en.48xlarge"].efa_devices == 16


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "pytorch", "env": [{"name": "PET_NNODES", "value": "mine"}]}]}}
    roles = {"Master": {"replicas": 1, "template": template}, "Worker": {"replicas": 2, "template": template}}
    metadata = {"name": "j", "namespace": "d", "uid": "u"}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": metadata, "spec": {"pytorchReplicaSpecs": roles, **spec}}


def test_pytorchjob_environment() -> None:
    held = environment(job(nprocPerNode="4"), "Worker", 1)
    assert held == {
        "PYTHONUNBUFFERED": "1",
        "MASTER_PORT": "23456",
        "PET_MASTER_PORT": "23456",
        "MASTER_ADDR": "j-master-0",
        "PET_MASTER_ADDR": "j-master-0",
        "WORLD_SIZE": "12",
        "RANK": "2",
        "PET_NODE_RANK": "2",
        "PET_NPROC_PER_NODE": "4",
        "PET_NNODES": "3",
    }
    assert environment(job(), "Master", 0)["WORLD_SIZE"] == "3"
    assert "PET_NPROC_PER_NODE" not in environment(job(), "Master", 0)


def test_pytorchjob_elastic_environment() -> None:
    policy = {"minReplicas": 1, "maxReplicas": 4, "rdzvBackend": "c10d", "maxRestarts": 3, "rdzvConf": [{"key": "a", "value": "b"}]}
    elastic = job(elasticPolicy=policy)
    del elastic["spec"]["pytorchReplicaSpecs"]["Master"]
    held = environment(elastic, "Worker", 0)
    assert held["PET_RDZV_ENDPOINT"] == "j-worker-0:23456"
    assert (held["PET_NNODES"], held["PET_MAX_RESTARTS"], held["PET_RDZV_CONF"]) == ("1:4", "3", "a=b")
    assert "MASTER_ADDR" not in held


def test_a_replica_keeps_what_its_owner_set() -> None:
    made = replica_pod(job(), "Worker", 0)
    env = [(one["name"], one["value"]) for one in made["spec"]["containers"][0]["env"] if one["name"] == "PET_NNODES"]
    assert env == [("PET_NNODES", "mine")]
    assert made["metadata"]["labels"]["training.kubeflow.org/replica-index"] == "0"
    assert "training.kubeflow.org/job-role" not in made["metadata"]["labels"]
    assert made["spec"]["initContainers"][0]["name"] == "init-pytorch"


@pytest.mark.parametrize(
    ("asked", "resources", "number"),
    [
        (None, {"cpu": "6"}, "6"),
        ("auto", {"cpu": "6", GPU: 8}, "auto"),
        (2, {"cpu": "6"}, "2"),
        ("cpu", {"cpu": "4", GPU: 8}, "4"),
        (None, {}, "1"),
    ],
)
def test_processes_per_node(asked: Any, resources: dict[str, Any], number: str) -> None:
    trainjob = {"spec": {"trainer": {"numProcPerNode": asked}}}
    assert processes_per_node(trainjob, {"resources": {"requests": resources}}, {"torch": {}}) == number


def test_a_second_flavor_is_taken_when_the_first_is_full() -> None:
    flavors = [{"name": name, "resources": [{"name": "cpu", "nominalQuota": "4"}]} for name in ("od", "spot")]
    queue = {"metadata": {"name": "q"}, "spec": {"resourceGroups": [{"coveredResources": ["cpu"], "flavors": flavors}]}}
    podsets = [{"name": "main", "count": 2, "template": {"spec": pod("x", requests={"cpu": "1"})["spec"]}}]
    quotas = {("od", "cpu"): Quota(4000, 4000, 1000), ("spot", "cpu"): Quota(4000, 4000, 4000)}
    objects = {name: {"metadata": {"name": name}, "spec": {}} for name in ("od", "spot")}
    assert assign(podsets, queue, objects, quotas).flavors == {"main": {"cpu": "spot"}}
    quotas[("spot", "cpu")] = Quota(1000, 1000, 1000)
    refused = assign(podsets, queue, objects, quotas)
    assert refused.reason == "WaitingForQuota"
    assert "insufficient unused quota for cpu in flavor od, 1 more needed, insufficient quota for cpu in flavor spot" in refused.message


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"minAvailable": 2}, 1),
        ({"minAvailable": "50%"}, 1),
        ({"maxUnavailable": 1}, 1),
        ({"maxUnavailable": 0}, 0),
        ({"maxUnavailable": "100%"}, 3),
    ],
)
def test_disruptions_allowed(spec: dict[str, Any], allowed: int) -> None:
    assert budget_status(spec, 3, 3)["disruptionsAllowed"] == allowed


def test_small_words() -> None:
    assert index_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert (duration_seconds("1m30s"), duration_seconds("Never")) == (90.0, None)
    assert rate_of({"data": {"changesPerSecond": "x"}}) == 0.0
    with pytest.raises(ValueError, match="not a duration"):
        duration_seconds("soon")


def test_both_trainers_differ_where_they_should() -> None:
    specs = {}
    for version in ("2.1", "2.3"):
        crd = next(one for one in crds(version) if one["spec"]["names"]["kind"] == "TrainJob")
        specs[version] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    old, new = (specs[version]["spec"]["properties"] for version in ("2.1", "2.3"))
    assert {"podTemplateOverrides", "labels", "annotations"} <= set(old)
    assert not {"runtimePatches", "activeDeadlineSeconds"} & set(old)
    assert {"runtimePatches", "activeDeadlineSeconds"} <= set(new)
    assert not {"podTemplateOverrides", "labels"} & set(new)
    assert new["trainer"]["properties"]["numProcPerNode"]["type"] == "integer"
    assert old["trainer"]["properties"]["numProcPerNode"]["x-kubernetes-int-or-string"] is True
    assert "trainerStatus" in specs["2.3"]["status"]["properties"]
    with pytest.raises(ValueError, match=r"2\.0"):
        crds("2.0")


def test_an_unknown_scenario_is_named() -> None:
    with pytest.raises(ScenarioError, match="nowhere"):
        load("nowhere")


async def test_big_has_the_counts_and_sizes_it_was_asked_for() -> None:
    world = World(Options(static=True))
    (changes,) = controllers(world.cluster, world.options)
    await apply(load("big", nodes=60, pods=700, changes_per_second=5), world.cluster)
    nodes, pods = (world.cluster.shelf(resource).ordered() for resource in ("nodes", "pods"))
    assert (len(nodes), len(pods), len(world.cluster.list("nodeclaims.karpenter.sh"))) == (60, 700, 60)
    assert 8_500 < sum(len(one.body) for one in nodes) / 60 < 11_500
    assert 6_500 < sum(len(one.body) for one in pods) / 700 < 9_000
    for record in (*nodes, *pods):
        assert record.object["metadata"]["name"] == record.name
        assert record.object["metadata"]["labels"] == dict(record.labels)
    assert not re.search(rb"\xc2\xab|%\(", b"".join(one.body for one in (*nodes, *pods)))
    before = world.cluster.rv
    changes.change_one()  # type: ignore[attr-defined]
    assert world.cluster.rv == before + 1
    running = [one for one in world.cluster.list("pytorchjobs.kubeflow.org") if one["status"]["conditions"][-1]["type"] == "Running"]
    assert sum(1 + one["spec"]["pytorchReplicaSpecs"].get("Worker", {"replicas": 0})["replicas"] for one in running) == 55


def test_a_changed_pod_restarts_and_recovers() -> None:
    worse = changed_pod(b'{"ready":true,"restartCount":3}')
    assert worse == b'{"ready":false,"restartCount":4}'
    assert changed_pod(worse) == b'{"ready":true,"restartCount":4}'
