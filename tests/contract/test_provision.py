"""What `provision` would make in a cluster, judged by its API server: nothing is kept, and an API without Karpenter or Kueue says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cockpit import cli
from cockpit.errors import NotFound, NotServed
from tests.contract.conftest import Place

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
CASES = {
    "nodepool": (("--preset", "gpu-efa", "--zones", "zone-1"), ("nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws")),
    "queue": (("--gpus", "8"), ("clusterqueues.kueue.x-k8s.io", "localqueues.kueue.x-k8s.io", "resourceflavors.kueue.x-k8s.io")),
    "addons": (("--addon", "efa-exporter,loki"), ()),
}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AWS to ask, and a state of its own."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))


def read(place: Place, path: str) -> Any:
    try:
        return place.kube.request("GET", path)
    except (NotFound, NotServed):
        return None


@pytest.mark.parametrize("target", CASES)
def test_a_dry_run_is_judged_and_kept_nowhere(place: Place, alone: None, capfd: pytest.CaptureFixture[str], target: str) -> None:
    words, kinds = CASES[target]
    name = f"dry-{place.mark}"
    more = {"nodepool": ("--nodepool", name, "--name", name), "queue": ("--queue", name), "addons": ()}[target]
    argv = ["--action", "provision", "--target", target, *words, *more, "--kubeconfig", place.path, "-n", place.namespace, "--dry-run", "-o", "json"]
    code = cli.main(argv)
    said = json.loads(capfd.readouterr().out)
    missing = [kind for kind in kinds if kind not in place.kube.served(refresh=True)]
    if missing:
        assert (code, said["error"]["code"]) == (1, "not-served")
        assert said["error"]["hint"].startswith("provision --target")
        return
    assert code == 0, said["error"]
    assert (said["dry_run"], said["journal_id"]) == (True, None)
    made = [change["object"] for change in said["changes"] if change["via"] == "kube"]
    assert made or target == "addons"
    for change in said["changes"]:
        if change["via"] == "kube" and change["before"] is None:
            body = change["after"]
            space = f"/namespaces/{body['metadata']['namespace']}" if body["metadata"].get("namespace") else ""
            root = f"/apis/{body['apiVersion']}" if "/" in body["apiVersion"] else f"/api/{body['apiVersion']}"
            plural = change["object"]["resource"].partition(".")[0]
            assert read(place, f"{root}{space}/{plural}/{body['metadata']['name']}") is None
    if target == "addons":
        assert any(change["command"].startswith("helm upgrade --install loki ") for change in said["changes"])
