"""Karpenter on an in-process cluster: from an unschedulable pod to a node and back to nothing."""

from __future__ import annotations

from typing import Any

from conftest import World, pod

from cockpit.sim.scenarios import apply, load

CLAIMS = "nodeclaims.karpenter.sh"
GPU = "nvidia.com/gpu"


def gpu_pod(name: str, count: int = 1, **spec: Any) -> dict[str, Any]:
    """A pod for the pool `gpu`."""
    return pod(name, requests={"cpu": "2", GPU: count}, nodeSelector={"karpenter.sh/nodepool": "gpu"}, **spec)


async def empty(world: World) -> None:
    """Scenario empty, running."""
    world.start()
    await apply(load("empty"), world.cluster)


def claims(world: World) -> list[dict[str, Any]]:
    return world.cluster.list(CLAIMS)


def fault(name: str, kind: str, **target: Any) -> dict[str, Any]:
    """A Fault object."""
    return {
        "apiVersion": "sim.cockpit.dev/v1alpha1",
        "kind": "Fault",
        "metadata": {"name": name},
        "spec": {"fault": kind, "target": target},
    }


async def test_a_pending_pod_gets_the_cheapest_node_and_runs_on_it(world: World) -> None:
    await empty(world)
    world.cluster.create("pods", gpu_pod("train"))
    await world.until(lambda: world.cluster.get("pods", "default", "train")["status"]["phase"] == "Running")
    (claim,) = claims(world)
    await world.until(lambda: world.condition(CLAIMS, None, claim["metadata"]["name"], "Initialized")["status"] == "True")
    claim = world.cluster.get(CLAIMS, None, claim["metadata"]["name"])
    assert claim["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g6e.xlarge"
    node = world.cluster.get("nodes", None, claim["status"]["nodeName"])
    assert node["spec"]["providerID"] == claim["status"]["providerID"]
    assert node["metadata"]["labels"]["karpenter.sh/initialized"] == "true"
    assert node["status"]["allocatable"][GPU] == "1"
    assert [one["key"] for one in node["spec"]["taints"]] == [GPU]
    said = dict(world.events("train"))
    assert said["Nominated"] == f"Pod should schedule on: nodeclaim/{claim['metadata']['name']}"
    failed = [text for reason, text in world.events("train") if reason == "FailedScheduling"]
    assert any(text.startswith("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. no new") for text in failed)
    pool = await world.until(lambda: [one for one in world.cluster.list("nodepools.karpenter.sh") if one["status"].get("nodes") == 1])
    assert pool[0]["metadata"]["name"] == "gpu"


async def test_pods_share_a_claim_and_anti_affinity_splits_them(world: World) -> None:
    await empty(world)
    for index in range(4):
        world.cluster.create("pods", gpu_pod(f"shared-{index}"))
    await world.until(lambda: all(one["status"]["phase"] == "Running" for one in world.cluster.list("pods", "default")))
    assert [one["metadata"]["labels"]["node.kubernetes.io/instance-type"] for one in claims(world)] == ["g6e.12xlarge"]
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "apart"}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    for index in range(2):
        world.cluster.create("pods", gpu_pod(f"apart-{index}", labels={"app": "apart"}, affinity=apart))
    await world.until(lambda: all(one["status"]["phase"] == "Running" for one in world.cluster.list("pods", "default")))
    assert len({one["spec"]["nodeName"] for one in world.cluster.list("pods", "default", {"app": "apart"})}) == 2


async def test_a_claim_waits_for_its_devices(world: World) -> None:
    await empty(world)
    world.running = False
    world.cluster.create("pods", gpu_pod("train"))
    name = (await world.until(lambda: claims(world)))[0]["metadata"]["name"]
    waiting = await world.until(lambda: _reason_is(world, name, "ResourceNotRegistered"))
    assert waiting["status"] == "Unknown"
    assert waiting["message"] == 'Resource "nvidia.com/gpu" was requested but not registered'
    ready = world.condition(CLAIMS, None, name, "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("Unknown", "ReconcilingDependents", "Initialized=Unknown")


def _reason_is(world: World, name: str, reason: str) -> dict[str, Any] | None:
    condition = world.condition(CLAIMS, None, name, "Initialized")
    return condition if condition.get("reason") == reason else None


async def test_no_capacity_is_said_on_the_claim_and_another_offering_is_tried(world: World) -> None:
    await empty(world)
    world.cluster.create("faults.sim.cockpit.dev", fault("ice", "insufficient-capacity", instanceType="g6e.xlarge"))
    world.cluster.create("pods", gpu_pod("train"))
    await world.until(lambda: world.cluster.get("pods", "default", "train")["status"]["phase"] == "Running")
    assert claims(world)[0]["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g6e.12xlarge"
    world.cluster.create("faults.sim.cockpit.dev", fault("ice-all", "insufficient-capacity"))
    world.cluster.create("pods", gpu_pod("eight", 8))
    said = await world.until(lambda: [one for one in world.cluster.list("events") if one["reason"] == "InsufficientCapacityError"])
    assert said[0]["involvedObject"]["kind"] == "NodeClaim"
    assert "InsufficientInstanceCapacity" in said[0]["message"]
    assert "g6e.48xlarge" in said[0]["message"]
    reasons = await world.until(lambda: [text for reason, text in world.events("eight") if "required offering" in text])
    assert 'incompatible with nodepool "gpu"' in reasons[0]
    assert "no instance type which met the scheduling requirements and had enough resources, had a required offering" in reasons[0]


async def test_limits_are_named(world: World) -> None:
    await empty(world)
    world.cluster.patch("nodepools.karpenter.sh", None, "gpu", {"spec": {"limits": {"cpu": "2", GPU: None}}})
    world.cluster.create("pods", gpu_pod("train"))
    said = await world.until(lambda: [text for reason, text in world.events("train") if text.startswith("Failed to schedule pod, ")])
    assert "all available instance types exceed limits for nodepool (NodePool=gpu)" in said[0]
    assert not claims(world)


async def test_an_empty_node_goes_after_its_time_unless_it_is_protected(world: World) -> None:
    await empty(world)
    world.cluster.patch("nodepools.karpenter.sh", None, "gpu", {"spec": {"disruption": {"consolidateAfter": "10s"}}})
    world.cluster.create("pods", gpu_pod("train"))
    await world.until(lambda: world.cluster.get("pods", "default", "train")["status"]["phase"] == "Running")
    name = claims(world)[0]["metadata"]["name"]
    node = world.cluster.get(CLAIMS, None, name)["status"]["nodeName"]
    world.cluster.patch("nodes", None, node, {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}}})
    world.cluster.delete("pods", "default", "train")
    await world.until(lambda: [one for one in world.events(node) if one[0] == "DisruptionBlocked"])
    assert world.condition(CLAIMS, None, name, "Consolidatable")["status"] == "True"
    world.cluster.patch("nodes", None, node, {"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": None}}})
    world.cluster.patch(CLAIMS, None, name, {"metadata": {"annotations": {"touched": "1"}}})
    await world.until(lambda: not claims(world) and world.cluster.find("nodes", None, node) is None)
    assert ("DisruptionTerminating", "Disrupting Node: Empty") in world.events(node)
    assert not [one for one in world.cluster.list("pods") if one["spec"].get("nodeName") == node]


async def test_deleting_a_node_drains_it_and_respects_budgets(world: World) -> None:
    await empty(world)
    world.cluster.create("pods", gpu_pod("train", labels={"app": "guarded"}))
    await world.until(lambda: world.cluster.get("pods", "default", "train")["status"]["phase"] == "Running")
    budget = {
        "metadata": {"name": "guard", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
    }
    world.cluster.create("poddisruptionbudgets.policy", budget)
    await world.until(lambda: world.cluster.get("poddisruptionbudgets.policy", "default", "guard")["status"].get("currentHealthy") == 1)
    node = world.cluster.get("pods", "default", "train")["spec"]["nodeName"]
    world.cluster.delete("nodes", None, node)
    said = await world.until(lambda: [text for reason, text in world.events(node) if reason == "FailedDraining"])
    assert said[0] == "Failed to drain node, 1 pods are waiting to be evicted"
    assert world.cluster.find("pods", "default", "train") is not None
    world.cluster.delete("poddisruptionbudgets.policy", "default", "guard")
    await world.until(lambda: world.cluster.find("nodes", None, node) is None and not claims(world))
    assert world.cluster.find("pods", "default", "train") is None


async def test_an_interrupted_spot_node_is_drained_and_replaced_elsewhere(world: World) -> None:
    world.start()
    await apply(load("small"), world.cluster)
    job = lambda: world.condition("pytorchjobs.kubeflow.org", "default", "llama-pretrain", "Running").get("status") == "True"  # noqa: E731
    await world.until(job)
    spot = {"karpenter.sh/nodepool": "gpu-efa", "topology.kubernetes.io/zone": "ap-northeast-2c"}
    world.cluster.create("pods", pod("rank", requests={GPU: 8}, nodeSelector=spot))
    await world.until(lambda: world.cluster.get("pods", "default", "rank")["status"]["phase"] == "Running")
    node = world.cluster.get("pods", "default", "rank")["spec"]["nodeName"]
    notice = world.cluster.create("faults.sim.cockpit.dev", fault("spot", "spot-interruption", node=node))
    world.cluster.patch("faults.sim.cockpit.dev", None, notice["metadata"]["name"], {"status": {"phase": "Active", "node": node}}, "status")
    await world.until(lambda: world.cluster.find("nodes", None, node) is None)
    assert world.cluster.find("pods", "default", "rank") is None
    assert ("TerminatingOnInterruption", "Interruption triggered termination for the Node") in world.events(node)
