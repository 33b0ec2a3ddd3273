"""Nodes and what runs on them: silence, taints, device plugins, DaemonSets, Deployments, Services, namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import World, node, pod

from cockpit.sim.kubelet.devices import GPU, Devices, gpu_uuid
from cockpit.sim.kubelet.plugin_configs import registered_without
from cockpit.sim.scenarios import apply, load
from cockpit.sim.store import ApiError

GPU_NODE = "ip-10-0-24-118.ap-northeast-2.compute.internal"


async def small(world: World) -> None:
    world.start()
    await apply(load("small"), world.cluster)
    await world.until(lambda: world.condition("pytorchjobs.kubeflow.org", "default", "llama-pretrain", "Running").get("status") == "True")


def taints(world: World, name: str) -> set[tuple[str, str]]:
    return {(one["key"], one["effect"]) for one in world.cluster.get("nodes", None, name)["spec"].get("taints") or []}


async def test_a_silent_node_is_unknown_tainted_and_emptied(world: World) -> None:
    await small(world)
    now = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    hasty = pod("hasty", tolerations=[now, {"operator": "Exists", "effect": "NoSchedule"}], nodeSelector={"kubernetes.io/hostname": GPU_NODE})
    world.cluster.create("pods", hasty)
    await world.until(lambda: world.cluster.get("pods", "default", "hasty")["status"]["phase"] == "Running")
    spec = {"fault": "node-notready", "target": {"node": GPU_NODE}}
    fault = {"apiVersion": "sim.cockpit.dev/v1alpha1", "kind": "Fault", "metadata": {"name": "down"}, "spec": spec}
    world.cluster.create("faults.sim.cockpit.dev", fault)
    ready = await world.until(lambda: _ready(world, "Unknown"))
    assert (ready["reason"], ready["message"]) == ("NodeStatusUnknown", "Kubelet stopped posting node status.")
    await world.until(lambda: ("node.kubernetes.io/unreachable", "NoExecute") in taints(world, GPU_NODE))
    await world.until(lambda: world.cluster.find("pods", "default", "hasty") is None)
    assert world.cluster.get("pods", "default", "llama-pretrain-master-0")["metadata"].get("deletionTimestamp") is None
    daemons = [one for one in world.cluster.list("pods", "monitoring") if one["spec"].get("nodeName") == GPU_NODE]
    assert len(daemons) == 2
    world.cluster.delete("faults.sim.cockpit.dev", None, "down")
    await world.until(lambda: _ready(world, "True"))
    await world.until(lambda: taints(world, GPU_NODE) == {("nvidia.com/gpu", "NoSchedule")})


def _ready(world: World, status: str) -> dict[str, Any] | None:
    condition = world.condition("nodes", None, GPU_NODE, "Ready")
    return condition if condition["status"] == status else None


async def test_cordon_taints_and_keeps_new_pods_away(world: World) -> None:
    world.start()
    for name in ("default", "kube-node-lease"):
        world.cluster.create("namespaces", {"metadata": {"name": name}})
    world.cluster.create("nodes", node("n1", {"cockpit.dev/simulated": "true"}))
    world.cluster.patch("nodes", None, "n1", {"spec": {"unschedulable": True}})
    await world.until(lambda: ("node.kubernetes.io/unschedulable", "NoSchedule") in taints(world, "n1"))
    world.cluster.create("pods", pod("late"))
    said = await world.until(lambda: [one for one in world.events("late") if one[0] == "FailedScheduling"])
    assert said[-1][1].startswith("0/1 nodes are available: 1 node(s) were unschedulable.")
    world.cluster.patch("nodes", None, "n1", {"spec": {"unschedulable": None}})
    await world.until(lambda: world.cluster.get("pods", "default", "late")["spec"].get("nodeName") == "n1")


async def test_devices_go_with_their_plugin(world: World) -> None:
    await small(world)
    await world.until(lambda: len([one for one in _plugins(world) if one["status"]["phase"] == "Running"]) == 4)
    world.running = False
    world.cluster.patch("daemonsets.apps", "kube-system", "nvidia-device-plugin", {"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}})
    await world.until(lambda: world.cluster.get("nodes", None, GPU_NODE)["status"]["allocatable"]["nvidia.com/gpu"] == "0")
    assert world.cluster.get("nodes", None, GPU_NODE)["status"]["capacity"]["nvidia.com/gpu"] == "8"


async def test_a_gpu_that_the_plugins_configuration_excludes_is_not_offered_once_the_plugin_restarts(world: World) -> None:
    await small(world)
    await world.until(lambda: len([one for one in _plugins(world) if one["status"]["phase"] == "Running"]) == 4)
    config = {"version": "v1", "deviceFilter": {"exclude": {"uuids": [gpu_uuid(GPU_NODE, 3)]}}}
    world.cluster.patch("configmaps", "kube-system", "nvidia-device-plugin-configs", {"data": {"without-3": json.dumps(config)}})
    world.cluster.patch("nodes", None, GPU_NODE, {"metadata": {"labels": {"nvidia.com/device-plugin.config": "without-3"}}})
    await world.cluster.settled()
    assert _offered(world) == "8", "the plugin reads its configuration when it starts"
    old = next(one for one in _plugins(world) if one["spec"].get("nodeName") == GPU_NODE)
    world.cluster.delete("pods", "kube-system", old["metadata"]["name"])
    await world.until(lambda: _offered(world) == "7")
    assert world.cluster.get("nodes", None, GPU_NODE)["status"]["capacity"]["nvidia.com/gpu"] == "7"
    without = registered_without(world.cluster, world.cluster.get("nodes", None, GPU_NODE))
    held, asks = Devices(), pod("asks", requests={GPU: "7"})
    asks["metadata"]["uid"], asks["spec"]["nodeName"] = "u", GPU_NODE
    held.assign(asks, {GPU: "7"}, without)
    assert without == {3} and sorted(held.held(GPU_NODE, GPU)) == [0, 1, 2, 4, 5, 6, 7]


def _offered(world: World) -> str:
    return str(world.cluster.get("nodes", None, GPU_NODE)["status"]["allocatable"]["nvidia.com/gpu"])


def _plugins(world: World) -> list[dict[str, Any]]:
    return [one for one in world.cluster.list("pods", "kube-system") if one["metadata"]["name"].startswith("nvidia-device-plugin")]


async def test_daemonset_counts_and_survives_a_noschedule_taint(world: World) -> None:
    await small(world)
    await world.until(lambda: world.cluster.get("daemonsets.apps", "kube-system", "kube-proxy")["status"].get("numberReady") == 6)
    held = world.cluster.get("nodes", None, GPU_NODE)["spec"]["taints"]
    world.cluster.patch("nodes", None, GPU_NODE, {"spec": {"taints": [*held, {"key": "x", "effect": "NoSchedule"}]}})
    await world.cluster.settled()
    status = world.cluster.get("daemonsets.apps", "monitoring", "dcgm-exporter")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (4, 4)


async def test_a_deployment_scales_rolls_and_is_served(world: World) -> None:
    await small(world)
    container = {"name": "web", "image": "nginx:1", "ports": [{"name": "http", "containerPort": 80}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    world.cluster.create("deployments.apps", {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    ports = [{"port": 80, "targetPort": "http"}]
    world.cluster.create("services", {"metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": {"app": "web"}, "ports": ports}})
    await world.until(lambda: world.cluster.get("deployments.apps", "default", "web")["status"].get("readyReplicas") == 2)
    endpoints = await world.until(lambda: _addresses(world, 2))
    assert endpoints["ports"] == [{"port": 80, "protocol": "TCP"}]
    old = {one["metadata"]["name"] for one in world.cluster.list("pods", "default", {"app": "web"})}
    changed = [{"name": "web", "image": "nginx:2", "ports": container["ports"]}]
    world.cluster.patch("deployments.apps", "default", "web", {"spec": {"replicas": 3, "template": {"spec": {"containers": changed}}}})
    await world.until(lambda: len(_web(world)) == 3 and not {one["metadata"]["name"] for one in _web(world)} & old)
    assert world.condition("deployments.apps", "default", "web", "Available")["status"] == "True"
    world.cluster.delete("deployments.apps", "default", "web")
    await world.until(lambda: not _web(world))


def _web(world: World) -> list[dict[str, Any]]:
    return world.cluster.list("pods", "default", {"app": "web"})


def _addresses(world: World, count: int) -> dict[str, Any] | None:
    subsets = world.cluster.get("endpoints", "default", "web").get("subsets") or [{}]
    return subsets[0] if len(subsets[0].get("addresses") or []) == count else None


async def test_a_namespace_gets_its_account_and_goes_with_all_it_holds(world: World) -> None:
    await small(world)
    world.cluster.create("namespaces", {"metadata": {"name": "team"}})
    await world.until(lambda: world.cluster.find("serviceaccounts", "team", "default") is not None)
    one = pod("inside", nodeSelector={"eks.amazonaws.com/nodegroup": "system"})
    one["metadata"]["namespace"] = "team"
    world.cluster.create("pods", one)
    await world.until(lambda: world.cluster.get("pods", "team", "inside")["status"]["phase"] == "Running")
    world.cluster.delete("namespaces", None, "team")
    await world.until(lambda: world.cluster.find("namespaces", None, "team") is None)
    assert world.cluster.find("pods", "team", "inside") is None


async def test_gated_pods_say_so(world: World) -> None:
    await small(world)
    world.cluster.create("pods", pod("gated", schedulingGates=[{"name": "kueue.x-k8s.io/admission"}]))
    await world.until(lambda: world.condition("pods", "default", "gated", "PodScheduled").get("reason") == "SchedulingGated")


async def test_what_is_no_quantity_is_refused(world: World) -> None:
    await small(world)
    with pytest.raises(ApiError, match="quantities must match the regular expression") as refused:
        world.cluster.create("pods", pod("broken", requests={"cpu": "lots"}))
    assert refused.value.code == 400
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x", requests={"memory": "1Q"})["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    with pytest.raises(ApiError, match="quantities must match"):
        world.cluster.create("daemonsets.apps", {"metadata": {"name": "broken", "namespace": "default"}, "spec": spec})
