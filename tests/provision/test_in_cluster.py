"""Node pools and queues, planned from what is served and what is there."""

from __future__ import annotations

import pytest

from actions.core.provisioning import Params, within
from actions.core.provisioning.presets import PRESETS, known_offers, reaches, room
from actions.provision import ACTION, follow, plan
from cockpit.errors import BadInput, CockpitError, Forbidden, NotServed, Refused
from cockpit.model import Condition, NodeClass, NodePool, PoolName, Served
from cockpit.store import Store, Upsert
from tests.provision.pictures import KUEUE, SERVED, bodies, planned

# -- node pools ------------------------------------------------------------------------------------------------------------------------------


def test_a_pool_shows_types_prices_efa_and_what_its_limits_reach() -> None:
    found = planned(Params("nodepool", preset="gpu-efa", gpus=20, zones=("us-east-1a",)))
    assert found.notes == ("p5.48xlarge: 8 x h100, 32 EFA, $55.04/h, spot $20.5/h; 2 nodes = 16 of 20 GPUs",)
    pool = bodies(found)["NodePool"]["spec"]
    assert pool["limits"]["nvidia.com/gpu"] == 20
    assert pool["limits"]["cpu"] == 2 * 192, "CPUs never bind before GPUs"
    zone, types = (next(one for one in pool["template"]["spec"]["requirements"] if one["key"].endswith(end)) for end in ("/zone", "/instance-type"))
    assert (zone["values"], types["values"]) == (["us-east-1a"], ["p5.48xlarge"])
    klass = bodies(found)["EC2NodeClass"]["spec"]
    assert klass["role"] == "eksctl-KarpenterNodeRole-train-one"
    assert "placementGroupSelector" not in klass
    assert any("security group" in warning for warning in found.warnings)


def test_a_pool_that_is_so_is_left_and_another_shows_what_changes() -> None:
    params = Params("nodepool", gpus=8)
    made = {change.target.path(): change.body for change in planned(params).changes}
    assert planned(params, made).already == "nodepool/gpu is there and is so"
    (changed,) = planned(Params("nodepool", gpus=16), made).changes
    assert (changed.summary.split()[0], changed.inverse, bool(changed.before)) == ("change", None, True)


def test_a_limit_below_one_node_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match=r"--gpus 4 is less than one node: the smallest, .*, has 8"):
        planned(Params("nodepool", gpus=4))


def test_without_aws_the_table_is_used_and_said() -> None:
    found = planned(Params("nodepool", preset="cpu-amx", cpus=192), said={"offers": Forbidden("no ec2 for you")})
    assert "no ec2 for you" in found.warnings[0]
    assert any(note.startswith("c7i.48xlarge: 192 CPUs, 1 EFA, $8.568/h; 1 node = 192 CPUs") for note in found.notes)
    assert bodies(found)["NodePool"]["spec"]["template"]["spec"]["taints"][0]["key"] == "intel.com/amx"


@pytest.mark.parametrize(
    ("params", "error", "about"),
    [
        (Params("nodepool", instance_types=("c5.large",)), BadInput, "c5.large: no type of the preset gpu"),
        (Params("nodepool", zones=("us-east-1f",)), Refused, "offered in us-east-1f"),
        (Params("nodepool", group="pg"), Refused, "placementGroupSelector"),
        (Params("nodepool", reservation="cr-9"), BadInput, "no active reservation"),
    ],
)
def test_what_cannot_be_bought(params: Params, error: type[CockpitError], about: str) -> None:
    with pytest.raises(error, match=about):
        planned(params)


def test_what_may_not_be_written_is_said_in_the_plan() -> None:
    with pytest.raises(Forbidden, match=r"ec2nodeclasses\.karpenter\.k8s\.aws"):
        planned(Params("nodepool"), forbidden=("ec2nodeclasses",))
    store = Store()
    with pytest.raises(Refused, match="not looked at yet"):
        plan(store.snapshot(), Params("nodepool"))


def test_waiting_says_which_condition_holds() -> None:
    store = Store()
    assert follow(store.snapshot(), Params("nodepool")).line == "nodepool/gpu: not seen yet"
    held = (Condition("SubnetsReady", "False", "SubnetsNotFound", "no subnets"), Condition("Ready", "False"), Condition("AMIsReady", "True"))
    pool = NodePool(PoolName("gpu"), "1", False, (Condition("NodeClassReady", "False", "NodeClassNotReady"),))
    store.apply(Upsert("nodepools", "nodepools", (pool,)), Upsert("nodeclasses", "nodeclasses", (NodeClass("gpu", "1", False, held),)))
    found = follow(store.snapshot(), Params("nodepool"))
    assert (found.done, found.line) == (False, "nodepool/gpu: waits for SubnetsReady: SubnetsNotFound no subnets; NodeClassReady: NodeClassNotReady")
    store.apply(Upsert("nodepools", "nodepools", (NodePool(PoolName("gpu"), "2", True),)))
    assert follow(store.snapshot(), Params("nodepool")).done


def test_every_preset_reaches_its_default_limit_with_its_own_table() -> None:
    for preset in PRESETS.values():
        reached = reaches(preset, known_offers(preset), 192 if preset.counts == "cpu" else 16)
        cpus, memory = room(reached)
        assert all(one.cpus <= cpus and one.nodes * one.offer.memory_bytes <= memory for one in reached)


# -- queues ----------------------------------------------------------------------------------------------------------------------------------


def test_a_queue_takes_the_limits_and_taints_of_its_pool() -> None:
    pool = NodePool(PoolName("efa"), "1", limits={"nvidia.com/gpu": 64.0, "cpu": 1536.0}, taints=("nvidia.com/gpu=present:NoSchedule",))
    found = bodies(planned(Params("queue", nodepool="efa", queue="team", cohort="all", namespace="ml"), pools=(pool,)))
    flavor = found["ResourceFlavor"]["spec"]
    assert flavor["nodeLabels"] == {"karpenter.sh/nodepool": "efa"}
    assert flavor["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    queue = found["ClusterQueue"]["spec"]
    assert (queue["namespaceSelector"], queue["cohortName"]) == ({}, "all")
    (group,) = queue["resourceGroups"]
    amounts = {one["name"]: one["nominalQuota"] for one in group["flavors"][0]["resources"]}
    assert list(amounts) == group["coveredResources"]
    assert (amounts["nvidia.com/gpu"], amounts["cpu"]) == (64, 1536)
    assert found["LocalQueue"]["metadata"] == {"name": "team", "namespace": "ml"}


def test_a_queue_for_kueue_that_says_cohort() -> None:
    old = Served(KUEUE, "kueue.x-k8s.io", "v1beta1", "ClusterQueue", False, {"spec.cohort": "string"})
    found = bodies(planned(Params("queue", gpus=8, cohort="all"), served=(old,)))
    assert found["ClusterQueue"]["apiVersion"] == "kueue.x-k8s.io/v1beta1"
    assert found["ClusterQueue"]["spec"]["cohort"] == "all"
    assert "cohortName" not in found["ClusterQueue"]["spec"]


@pytest.mark.parametrize(
    ("params", "served", "error"),
    [(Params("queue"), SERVED, BadInput), (Params("queue", gpus=8), (), NotServed), (Params("queue", nodepool="no", gpus=1), SERVED, BadInput)],
)
def test_a_queue_that_cannot_be(params: Params, served: tuple[Served, ...], error: type[CockpitError]) -> None:
    with pytest.raises(error):
        planned(params, served=served)


def test_within() -> None:
    assert within({"a": [1, {"b": "2"}]}, {"a": [1, {"b": "2", "c": 3}], "d": 4})
    assert within({"cpu": 1000}, {"cpu": "1000"})
    assert not within({"a": [1]}, {"a": [1, 2]})
    assert not within({"a": None}, {})


def test_the_action_says_which_targets_there_are() -> None:
    (target, *_) = ACTION.describe()["params"]
    assert target["choices"] == ["vpc", "cluster", "addons", "nodepool", "queue", "fsx", "placement-group", "teardown"]
