"""Pure decisions of the scheduler: which filter says no, in which words, and where a pod goes."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import node, pod

from cockpit.sim.controllers.objects import with_condition
from cockpit.sim.controllers.placement import NodeView, node_views, place
from cockpit.sim.controllers.pods import pod_requests
from cockpit.sim.controllers.quantities import thousandths, written

GPU = "nvidia.com/gpu"
ZONE = "topology.kubernetes.io/zone"


def views(*nodes: dict[str, Any], pods: list[dict[str, Any]] | None = None) -> list[NodeView]:
    return node_views(nodes, pods or [])


def test_the_message_is_the_schedulers_own() -> None:
    held = [pod("a", "n1", requests={GPU: 8})]
    gpu_nodes = [node(f"n{number}", nvidia_com__gpu="8") for number in (1, 2)]
    tainted = [node(f"t{number}", taints=[{"key": "x", "value": "y", "effect": "NoSchedule"}]) for number in range(4)]
    message = place(pod("b", requests={GPU: 16}), views(*gpu_nodes, *tainted, pods=held)).message
    assert message == (
        "0/6 nodes are available: 2 Insufficient nvidia.com/gpu, 4 node(s) had untolerated taint {x: y}. no new claims to deallocate, "
        "preemption: 0/6 nodes are available: 2 No preemption victims found for incoming pod, 4 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"nodeSelector": {"no": "where"}}, "node(s) didn't match Pod's node affinity/selector"),
        ({"requests": {"cpu": "9"}}, "Insufficient cpu"),
        ({"requests": {"cpu": "9", "memory": "64Gi"}}, "1 Insufficient cpu, 1 Insufficient memory"),
        ({"requests": {"vpc.amazonaws.com/efa": 1}}, "Insufficient vpc.amazonaws.com/efa"),
    ],
)
def test_each_filter_names_itself(spec: dict[str, Any], said: str) -> None:
    assert said in place(pod("a", **spec), views(node("n1"))).message


def test_without_nodes_it_says_so() -> None:
    assert place(pod("a"), []).message == "no nodes available to schedule pods"


def test_the_emptier_node_wins_and_finished_pods_do_not_count() -> None:
    done = pod("done", "n2", requests={"cpu": "8"}) | {"status": {"phase": "Succeeded"}}
    busy = pod("busy", "n1", requests={"cpu": "4"})
    assert place(pod("a"), views(node("n1"), node("n2"), pods=[busy, done])).node == "n2"


def affinity(kind: str, topology: str, **labels: str) -> dict[str, Any]:
    term = {"topologyKey": topology, "labelSelector": {"matchLabels": labels}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_pods_that_refuse_each_other_are_kept_apart_from_both_sides() -> None:
    apart = affinity("podAntiAffinity", "kubernetes.io/hostname", app="x")
    held = [pod("a", "n1", {"app": "x"}, affinity=apart)]
    nodes = [node("n1"), node("n2")]
    assert place(pod("b", labels={"app": "x"}, affinity=apart), views(*nodes, pods=held)).node == "n2"
    assert place(pod("c", labels={"app": "x"}), views(*nodes, pods=held)).node == "n2"
    full = views(nodes[0], pods=held)
    assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in place(pod("d", labels={"app": "x"}), full).message


def test_zone_affinity_follows_its_peers_and_lets_the_first_one_through() -> None:
    near = affinity("podAffinity", ZONE, job="j")
    nodes = [node("a1", {ZONE: "a"}), node("a2", {ZONE: "a"}), node("c1", {ZONE: "c"})]
    assert place(pod("p0", labels={"job": "j"}, affinity=near), views(*nodes)).node is not None
    held = [pod("p0", "c1", {"job": "j"}, requests={"cpu": "7"})]
    assert place(pod("p1", labels={"job": "j"}, affinity=near), views(*nodes, pods=held)).node == "c1"
    stranger = pod("p2", affinity=near)
    assert "3 node(s) didn't match pod affinity rules" in place(stranger, views(*nodes)).message


def test_init_containers_peak_and_sidecars_add_up() -> None:
    spec = {
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
            {"name": "once", "resources": {"requests": {"cpu": "5"}}},
        ],
        "containers": [{"name": "main", "resources": {"limits": {"cpu": "2"}}}],
    }
    assert pod_requests(spec) == {"cpu": 6000, "pods": 1000}


@pytest.mark.parametrize(
    ("text", "amount"), [("100m", 100), ("1.5Gi", 1_610_612_736_000), (8, 8000), ("2k", 2_000_000), ("1e3", 1_000_000)]
)
def test_quantities_are_exact(text: str | int, amount: int) -> None:
    assert thousandths(text) == amount


def test_quantities_are_written_as_kubernetes_does() -> None:
    assert [written("cpu", 150), written("cpu", 8000), written("memory", thousandths("240Mi"))] == ["150m", "8", "240Mi"]
    with pytest.raises(ValueError, match="not a quantity"):
        thousandths("lots")


def test_a_condition_keeps_its_time_until_its_status_moves() -> None:
    first = with_condition(None, "Ready", "False", "A", "", "t1")
    second = with_condition(first, "Ready", "False", "B", "", "t2")
    third = with_condition(second, "Ready", "True", "B", "", "t3")
    assert [one[0]["lastTransitionTime"] for one in (first, second, third)] == ["t1", "t1", "t3"]
    assert with_condition(third, "Ready", "True", "B", "", "t4") == third
