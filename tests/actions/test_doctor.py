"""The doctor: with a cluster, without one, and with one that forbids."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from actions.core import Clients, load, parse
from cockpit.errors import ActionFailed, Forbidden, NoKubeconfig, Unreachable
from cockpit.programs import install_line
from cockpit.snapshot import Snapshot
from tests.actions.pictures import FakeKube

DOCTOR = load("doctor")


class Machine:
    """A shell on a machine that has some programs."""

    def __init__(self, **said: str | Exception) -> None:
        self.said = said

    def which(self, name: str) -> str | None:
        return f"/bin/{name}" if name in self.said else None

    def run(self, argv: tuple[str, ...], timeout_seconds: float | None = None) -> str:
        said = self.said[argv[0]]
        if isinstance(said, Exception):
            raise said
        return said


class Served:
    def __init__(self, *versions: str) -> None:
        self.versions, self.version = versions, versions[0]


def cluster(known: dict[str, Any], allowed: bool = True, error: Exception | None = None, **answers: Any) -> Any:
    def answer(method: str, path: str) -> dict[str, Any]:
        found = answers.get(path.rpartition("/")[2], {"items": []})
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def version() -> dict[str, str]:
        if error is not None:
            raise error
        return {"gitVersion": "v1.34.1"}

    kube: Any = FakeKube(answer)
    kube.server, kube.credentials_told, kube.version = "https://x", "a bearer token", version
    kube.served, kube.crd, kube.may = lambda refresh=False: known, lambda name: None, lambda *words, **more: allowed
    return kube


def rows(clients: Clients, **given: Any) -> dict[str, dict[str, Any]]:
    assert DOCTOR.records is not None
    found = DOCTOR.records(clients, Snapshot(), parse(DOCTOR.params, given), threading.Event())
    return {one["name"]: dict(one) for one in found}


def verdict(found: dict[str, dict[str, Any]]) -> str:
    assert DOCTOR.verdict is not None
    return DOCTOR.verdict(list(found.values()))


def test_programs_tell_their_version_or_how_they_are_installed() -> None:
    found = rows(Clients(shell=Machine(kubectl="clientVersion:\n  gitVersion: v1.34.0\n", helm=ActionFailed("broken"))), only="installed")
    assert (found["kubectl"]["state"], found["kubectl"]["detail"]) == ("ok", "1.34.0")
    assert (found["helm"]["state"], found["helm"]["detail"]) == ("unknown", "broken")
    assert (found["terraform"]["state"], found["terraform"]["remedy"]) == ("missing", install_line("terraform"))
    assert "vpc" in found["terraform"]["disables"]


def test_without_a_cluster_it_says_so_and_tells_the_rest() -> None:
    found = rows(Clients(shell=Machine(), unconnected=NoKubeconfig("there is no kubeconfig", "aws eks update-kubeconfig")))
    assert found["kubeconfig"]["remedy"] == "aws eks update-kubeconfig" and "torch" in found and "list nodes" not in found
    assert "no kubeconfig" in verdict(found)


def test_an_api_that_does_not_answer_is_asked_nothing_more() -> None:
    found = rows(Clients(kube=cluster({}, error=Unreachable("timed out")), shell=Machine()))
    assert found["API server"]["state"] == "missing" and "PyTorchJob" not in found and "timed out" in verdict(found)


def test_what_is_served_runs_and_is_allowed() -> None:
    kube = cluster(
        {"pytorchjobs.kubeflow.org": Served("v1"), "workloads.kueue.x-k8s.io": Served("v1beta2", "v1beta1")},
        daemonsets={"items": [{"metadata": {"name": "dcgm-exporter"}, "status": {"desiredNumberScheduled": 4, "numberReady": 3}}]},
    )
    found = rows(Clients(kube=kube, shell=Machine()))
    assert found["Kueue"]["detail"] == "v1beta2, v1beta1" and found["TrainJob"]["disables"] == "launch --kind TrainJob"
    assert found["dcgm-exporter"]["detail"] == "dcgm-exporter, 3/4 ready" and found["Loki"]["state"] == "missing"
    assert found["create pytorchjobs.kubeflow.org"]["state"] == "ok" and "create trainjobs.trainer.kubeflow.org" not in found
    assert verdict(found) == ""


def test_a_cluster_that_takes_no_job_or_forbids_is_told() -> None:
    found = rows(Clients(kube=cluster({}, allowed=False, daemonsets=Forbidden("no")), shell=Machine()))
    assert found["create pods"]["state"] == "denied" and found["create pods"]["disables"] == "debug, nettest, checkpoints"
    assert found["daemonsets"]["state"] == "unknown"
    assert "training job" in verdict(found)


@pytest.mark.parametrize("only", ["installed", "permission", "practice cluster"])
def test_one_part_alone(only: str) -> None:
    found = rows(Clients(kube=cluster({}), shell=Machine()), only=only)
    assert {one["kind"] for one in found.values()} == {only}
