"""lint on a live API: what it mends passes the server's strict dry run on each Trainer, and the server's own refusals are told with line and path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.journeys.worlds import World, world_at

FILES = sorted((Path(__file__).parents[1] / "actions/lint_files").glob("*.yaml"))
PLURALS = {
    "TrainJob": "/apis/trainer.kubeflow.org/v1alpha1/namespaces/{}/trainjobs",
    "PyTorchJob": "/apis/kubeflow.org/v1/namespaces/{}/pytorchjobs",
    "ResourceFlavor": "/apis/kueue.x-k8s.io/v1beta2/resourceflavors",
    "ClusterQueue": "/apis/kueue.x-k8s.io/v1beta2/clusterqueues",
    "LocalQueue": "/apis/kueue.x-k8s.io/v1beta2/namespaces/{}/localqueues",
    "NodePool": "/apis/karpenter.sh/v1/nodepools",
    "EC2NodeClass": "/apis/karpenter.k8s.aws/v1/ec2nodeclasses",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
}


@pytest.fixture(scope="module", params=["2.3", "2.1"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("lint"), "--scenario", "empty", "--trainer", request.param) as found:
        found.ask("DELETE", "/api/v1/namespaces/default/persistentvolumeclaims/fsx-pvc")  # one of the files makes its own, of another class
        yield found


def judge(world: World, body: dict[str, Any], expect: int | None = None) -> Any:
    """What the API says to a strict dry run, asked by us and not by lint."""
    named = f"/{body['metadata']['name']}"
    path = PLURALS[body["kind"]].format(body["metadata"].get("namespace", "default"))
    taken = any(one["metadata"]["name"] == named[1:] for one in world.ask("GET", path)["items"])
    query = "?dryRun=All&fieldValidation=Strict&fieldManager=test"
    if taken:
        return world.ask("PATCH", f"{path}{named}{query}&force=true", json.dumps(body).encode(), "application/apply-patch+yaml", expect)
    return world.ask("POST", path + query, body, expect=expect)


def test_what_is_mended_passes_a_strict_dry_run(world: World) -> None:
    for path in FILES:
        mended = world.folder / path.name
        said = world.cockpit("--action", "lint", "-f", str(path), "--fix", "--output-file", str(mended), "-o", "json")
        assert said.code in (0, 5), said.err
        for body in yaml.safe_load_all(mended.read_text()):
            judge(world, body)
        again = world.cockpit("--action", "lint", "-f", str(mended), "-o", "json").json["result"]
        assert not {one["id"] for one in again} & {"unknown-field", "server-refused", "not-served"}, again


def test_the_server_refuses_what_no_rule_knows_and_lint_says_where(world: World) -> None:
    path = world.folder / "odd.yaml"
    body = (
        "apiVersion: kueue.x-k8s.io/v1beta2\nkind: ClusterQueue\nmetadata:\n  name: odd\nspec:\n  namespaceSelector: {}\n"
        "  queueingStrateg: StrictFIFO\n  resourceGroups:\n  - coveredResources: [cpu]\n    flavors:\n    - name: nowhere\n"
        "      resources: [{name: cpu, nominalQuota: 1}]\n---\napiVersion: x.io/v1\nkind: Widget\nmetadata: {name: w}\n"
    )
    path.write_text(body)
    said = world.cockpit("--action", "lint", "-f", str(path), "-o", "json")
    found = {(one["id"], one["path"], one["line_number"]) for one in said.json["result"]}
    assert said.code == 5
    assert [one["id"] for one in said.json["findings"]] == [one["id"] for one in said.json["result"]]
    assert found == {
        ("unknown-field", "spec.queueingStrateg", 7),
        ("queue-unknown-flavor", "spec.resourceGroups[0].flavors[0]", 11),
        ("unknown-kind", "kind", 15),
        ("not-served", "kind", 15),
    }
    assert world.ask("GET", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues").get("items") is not None


def test_names_that_are_not_there_have_the_nearest_one(world: World) -> None:
    path = world.folder / "names.yaml"
    path.write_text(
        "apiVersion: trainer.kubeflow.org/v1alpha1\nkind: TrainJob\nmetadata:\n  name: t\n  labels: {kueue.x-k8s.io/queue-name: nope}\n"
        "spec:\n  runtimeRef: {name: torch-distribute}\n  trainer: {numNodes: 1}\n"
    )
    said = world.cockpit("--action", "lint", "-f", str(path), "-o", "json")
    told = {one["id"]: one for one in said.json["result"]}
    assert told["trainjob-runtime"]["line_number"] == 7
    assert told["trainjob-runtime"]["mended"] == "did you mean torch-distributed?"
    assert "job-unknown-queue" in told
    assert "server-refused" not in told, "the webhook says only what the rule has said"


def test_stdout_is_the_manifest_and_stderr_the_findings(world: World) -> None:
    path = next(one for one in FILES if one.stem == "fsx")
    said = world.cockpit("--action", "lint", "-f", str(path), "--fix")
    assert said.code == 0
    assert [one["kind"] for one in yaml.safe_load_all(said.out)] == ["PersistentVolume", "PersistentVolumeClaim"]
    assert "pvc-storage-class" in said.err
    piped = world.run("-m", "cockpit", "--kubeconfig", world.kubeconfig, "--action", "lint", "-f", "-", stdin=said.out)
    assert (piped.code, piped.out) == (0, "")


def test_without_a_cluster_it_judges_alone_and_with_one_named_it_does_not_pretend(world: World, tmp_path: Path) -> None:
    path = str(next(one for one in FILES if one.stem == "fsx"))
    alone = world.run("-m", "cockpit", "--action", "lint", "-f", path, "-o", "json")
    assert (alone.code, alone.json["cluster"]) == (5, None)
    gone = tmp_path / "kubeconfig"
    gone.write_text(Path(world.kubeconfig).read_text().replace(world.facts["server"], "https://127.0.0.1:1"))
    said = world.run("-m", "cockpit", "--kubeconfig", str(gone), "--action", "lint", "-f", path, "-o", "json")
    assert (said.code, said.json["error"]["code"]) == (3, "unreachable")
    (tmp_path / ".kube").mkdir()
    gone.rename(tmp_path / ".kube/config")
    world.settings["HOME"], before = str(tmp_path), world.settings["HOME"]
    try:
        said = world.run("-m", "cockpit", "--action", "lint", "-f", path, "-o", "json")
    finally:
        world.settings["HOME"] = before
    assert said.code == 5
    assert "going without a cluster" in said.json["warnings"][0]
