"""Our own sources and actions on any Kubernetes API: nodes and pods followed, CRD schemas read, a node cordoned, a job launched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.core import load
from actions.core.apply import apply
from actions.core.journal import Journal
from cockpit.errors import Forbidden, Invalid, NotFound, NotServed
from cockpit.model import JobKey, PodKey, State
from cockpit.session import Options, Session, open_session
from cockpit.sources.served import crd_schema, fields_of
from tests.contract.conftest import Place
from tests.servers import until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"


def crd(plural: str, kind: str, group: str, version: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A namespaced CustomResourceDefinition."""
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def install(place: Place, definition: dict[str, Any]) -> None:
    """Create a CRD and wait until it is served."""
    place.create(CRDS, definition)
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"

    def served() -> bool:
        try:
            place.kube.request("GET", path, params={"limit": "1"})
        except (NotServed, NotFound):
            return False
        return True

    until(served, 60.0)


def test_a_node_is_listed_as_it_is(session: Session, node: str) -> None:
    session.fill(["nodes"])
    found = session.store.snapshot().nodes[node]
    assert (found.gpu_allocatable, found.instance_type, found.zone) == (8, "p5.48xlarge", "zone-1")
    assert session.store.snapshot().health["nodes"].state is State.LIVE


def test_changes_of_a_node_and_a_pod_arrive(session: Session, place: Place, node: str) -> None:
    session.watch(["nodes", "pods"])
    until(lambda: session.store.snapshot().believed("nodes") and session.store.snapshot().believed("pods"), 90.0)
    place.pod("followed", "sleep 1000", schedulerName="nobody")
    key = PodKey(place.namespace, "followed")
    until(lambda: key in session.store.snapshot().pods, 30.0)
    assert session.store.snapshot().pods[key].state == "Pending"
    note = {"metadata": {"annotations": {"cockpit.dev/cordon-reason": "seen"}}}
    place.kube.request("PATCH", f"/api/v1/nodes/{node}", body=note, content_type=MERGE)
    until(lambda: session.store.snapshot().nodes[node].cordon_reason == "seen", 30.0)
    place.kube.request("DELETE", f"{place.collection('pods')}/followed", body={"gracePeriodSeconds": 0})
    until(lambda: key not in session.store.snapshot().pods, 60.0)


def test_a_strangers_sources_say_what_they_may_not(place: Place) -> None:
    options = Options(kubeconfig=place.path, impersonate=f"cockpit-contract-stranger-{place.mark}")
    with open_session(options) as stranger:
        with pytest.raises(Forbidden, match="nodes"):
            stranger.fill(["nodes"])
        assert stranger.store.snapshot().health["nodes"].state is State.DOWN
        assert not stranger.store.snapshot().believed("nodes")


def test_a_crds_schema_is_read_and_enforced(place: Place) -> None:
    group, plural = f"c{place.mark}.cockpit.dev", "gadgets"
    trainer = {"type": "object", "properties": {"numNodes": {"type": "integer"}, "numProcPerNode": {"x-kubernetes-int-or-string": True}}}
    install(
        place,
        crd(
            plural,
            "Gadget",
            group,
            "v1",
            {"type": "object", "properties": {"trainer": trainer, "tags": {"type": "array", "items": {"type": "string"}}}},
        ),
    )
    until(lambda: f"{plural}.{group}" in place.kube.served(refresh=True), 60.0)
    served = place.kube.served()[f"{plural}.{group}"]
    assert (served.kind, served.version, served.namespaced) == ("Gadget", "v1", True)
    definition = place.kube.crd(f"{plural}.{group}")
    assert definition is not None
    fields = fields_of(crd_schema(definition, "v1"))
    assert (fields["spec.trainer.numNodes"], fields["spec.trainer.numProcPerNode"], fields["spec.tags"]) == ("integer", "int-or-string", "array")
    collection = place.collection(plural, f"{group}/v1")
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g"}}
    place.create(collection, gadget | {"spec": {"trainer": {"numNodes": 2, "numProcPerNode": "auto"}}})
    with pytest.raises(Invalid):
        place.kube.request("POST", collection, body=gadget | {"metadata": {"name": "h"}, "spec": {"trainer": {"numNodes": "two"}}})
    with pytest.raises(Invalid, match="unknown"):
        place.kube.request("POST", collection, params={"fieldValidation": "Strict"}, body=gadget | {"metadata": {"name": "h"}, "spec": {"gpus": 1}})
    assert place.kube.crd(f"nothing.{group}") is None


def test_a_node_is_cordoned_and_opened_again_by_our_actions(session: Session, place: Place, node: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    cordon, uncordon = load("cordon"), load("uncordon")
    session.fill(["nodes"])
    params = cordon.params(node=(node,), reason="contract")
    plan = cordon.plan(session.store.snapshot(), params)  # type: ignore[misc]
    apply(plan, session.clients, action="cordon", params=params, dry_run=True, journal=journal)
    assert not place.kube.request("GET", f"/api/v1/nodes/{node}")["spec"].get("unschedulable")
    apply(plan, session.clients, action="cordon", params=params, journal=journal)
    session.fill(["nodes"])
    found = session.store.snapshot().nodes[node]
    assert (found.cordoned, found.cordon_reason) == (True, "contract")
    back = uncordon.params(node=(node,))
    plan = uncordon.plan(session.store.snapshot(), back)  # type: ignore[misc]
    apply(plan, session.clients, action="uncordon", params=back, journal=journal)
    session.fill(["nodes"])
    assert not session.store.snapshot().nodes[node].cordoned
    assert [entry.state for entry in journal.entries()] == ["done", "done"]


@pytest.fixture
def training_jobs(place: Place) -> Iterator[None]:
    """A served job kind: the cluster's own, else a PyTorchJob CRD without an operator."""
    served = place.kube.served(refresh=True)
    if not {"pytorchjobs.kubeflow.org", "trainjobs.trainer.kubeflow.org"} & set(served):
        install(place, crd("pytorchjobs", "PyTorchJob", "kubeflow.org", "v1", {"type": "object", "x-kubernetes-preserve-unknown-fields": True}))
        until(lambda: "pytorchjobs.kubeflow.org" in place.kube.served(refresh=True), 60.0)
    yield


def test_a_job_is_launched_by_our_action_and_seen_by_our_source(
    session: Session, place: Place, node: str, training_jobs: None, tmp_path: Path
) -> None:
    launch = load("launch")
    session.fill(launch.needs)
    params = launch.params(name=f"contract-{place.mark}", namespace=place.namespace, nodes=1, nproc=1, gpus=0, steps=2)
    plan = launch.plan(session.store.snapshot(), params)  # type: ignore[misc]
    judged = apply(plan, session.clients, action="launch", params=params, dry_run=True)
    assert judged.ok
    result = apply(plan, session.clients, action="launch", params=params, journal=Journal(tmp_path / "journal.jsonl"))
    place.made += [change.target.path() for change in plan.changes]
    assert result.ok
    session.fill(["jobs"])
    jobs = [job for job in session.store.snapshot().jobs.values() if job.key.name == params.name]
    assert [(job.key.namespace, job.pods_wanted, job.strategy) for job in jobs] == [(place.namespace, 1, "ddp")]
    assert isinstance(jobs[0].key, JobKey)
    assert json.dumps(result.to_dict(), default=str)
