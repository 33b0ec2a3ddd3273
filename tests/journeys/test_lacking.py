"""Clusters that lack things: no CRDs, no permission, no kubeconfig. Each pane says what it misses; nothing is an empty table that looks true."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.screens import Screen, open_cockpit
from tests.journeys.worlds import World, eventually, world_at

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("lacking"), "--scenario", "empty") as one:
        yield one


def allow(world: World, user: str, *rules: tuple[str, str]) -> None:
    """Let a user list and watch these (group, resource) in the whole cluster, and nothing else."""
    told = [{"apiGroups": [group], "resources": [resource], "verbs": ["get", "list", "watch"]} for group, resource in rules]
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": told}
    world.ask("POST", f"{rbac}/clusterroles", role, expect=201)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "name": user}],
    }
    world.ask("POST", f"{rbac}/clusterrolebindings", binding, expect=201)


def said_by(screen: Screen, pane: str) -> str:
    """The words of a pane, its lines joined."""
    return " ".join(" ".join(line.strip(" │") for line in screen.pane(pane)).split())


async def test_what_a_user_may_not_see_is_said_where_it_would_stand(world: World) -> None:
    allow(world, "guest", ("", "nodes"))
    async with open_cockpit(world, impersonate="guest") as screen:
        await screen.sees(lambda: screen.row("cluster", "c7g.2xlarge"))
        await screen.sees(lambda: "may not list jobs" in said_by(screen, "jobs") and "forbidden" in said_by(screen, "jobs"))
        await screen.sees(lambda: "may not list nodepools" in "".join(screen.pane("nodepools")).lower())
        await screen.sees(lambda: "○ forbidden: efa" in screen.lines()[0])
        await screen.press("c")
        await screen.sees("kubectl cordon")
        await screen.press("y")
        await screen.sees("forbidden")
        assert screen.app.is_running
    said = world.cockpit("--as", "guest", "--action", "jobs", "-o", "json")
    assert said.code == 3 and said.json["error"]["code"] == "forbidden", (said.code, said.out)
    said = world.cockpit("--as", "guest", "--action", "nodes", "-o", "json")
    assert said.code == 0 and len(said.json["result"]) == 2, said.err


async def test_without_a_kubeconfig_the_practice_cluster_is_offered_and_opens(world: World) -> None:
    async with open_cockpit(None) as screen:
        await screen.sees(lambda: "kubeconfig" in screen.text() and "ractice" in screen.text())
        await screen.press("p")
        await screen.sees(lambda: screen.row("cluster", "c7g.2xlarge"))
        await screen.sees("SIMULATED")


async def test_a_cluster_without_custom_resources_says_what_is_missing_and_gets_better(world: World) -> None:
    removed = world.ask("GET", CRDS)["items"]
    for crd in removed:
        world.ask("DELETE", f"{CRDS}/{crd['metadata']['name']}")
    eventually(lambda: not world.ask("GET", CRDS)["items"], "the CRDs are gone")
    async with open_cockpit(world) as screen:
        await screen.sees(lambda: screen.row("cluster", "c7g.2xlarge"))
        await screen.sees(lambda: "neither PyTorchJob nor TrainJob is served" in said_by(screen, "jobs"))
        await screen.sees(lambda: "or choose another cluster" in said_by(screen, "jobs"), 5)
        await screen.sees(lambda: "○" in "".join(screen.pane("nodepools")))
        await screen.sees(lambda: "no DCGM exporter" in "".join(screen.pane("gpus")) and "no EFA exporter" in "".join(screen.pane("efa")))
        await screen.press("l")
        await screen.sees("Launch: this cluster serves neither")
        assert "all quiet" in screen.lines()[1] and screen.app.is_running
    said = world.cockpit("--action", "jobs", "-o", "json")
    assert (said.json["result"] == [] and "not served" in " ".join(said.json["warnings"]).lower()) or said.code == 1, said.out
    said = world.cockpit("--action", "launch", "-o", "json")
    assert said.code in (1, 4) and "neither PyTorchJob nor TrainJob" in said.json["error"]["message"]
    said = world.cockpit("--action", "nodes", "-o", "json")
    assert said.code == 0 and len(said.json["result"]) == 2
