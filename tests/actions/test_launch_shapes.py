"""One launch in every shape that an operator takes: each holds against the schema of its CustomResourceDefinition, strictly."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from actions.core import load, parse
from cockpit.model import PodKey, Queue, QueueKey, Runtime, Served
from cockpit.sim.api.structural import unknown_fields, violations
from cockpit.sim.crds import crds
from tests.actions.pictures import PYTORCHJOB, claim, node, picture, price, trainjob

LAUNCH = load("launch")
EVERYTHING = {
    "name": "run",
    "nodes": 2,
    "nproc": 8,
    "queue": "train",
    "priority": "high",
    "instance_type": "p5.48xlarge",
    "nccl": "efa",
    "hf_secret": "hf",
    "workers": 4,
    "max_restarts": 3,
}


def schema_of(plural: str, trainer: str = "2.3") -> dict[str, Any]:
    (found,) = (one for one in crds(trainer) if one["metadata"]["name"].startswith(plural + "."))
    schema: dict[str, Any] = copy.deepcopy(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    return schema


def trainjob_2_0() -> dict[str, Any]:
    """2.1 with podSpecOverrides: the pod's fields beside targetJobs, and neither affinity, pull secrets nor metadata."""
    schema = schema_of("trainjobs", "2.1")
    fields = schema["properties"]["spec"]["properties"]
    entry = fields.pop("podTemplateOverrides")
    pod = entry["items"]["properties"].pop("spec")["properties"]
    del entry["items"]["properties"]["metadata"], pod["affinity"], pod["imagePullSecrets"]
    entry["items"]["properties"] |= pod
    fields["podSpecOverrides"] = entry
    return schema


def trainjob_2_2() -> dict[str, Any]:
    """2.3 without the pods' grace period."""
    schema = schema_of("trainjobs", "2.3")
    node_: Any = schema["properties"]["spec"]["properties"]["runtimePatches"]["items"]["properties"]["trainingRuntimeSpec"]
    jobs = node_["properties"]["template"]["properties"]["spec"]["properties"]["replicatedJobs"]
    pod = jobs["items"]["properties"]["template"]["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    del pod["properties"]["terminationGracePeriodSeconds"]
    return schema


SHAPES = {
    "PyTorchJob": (PYTORCHJOB, lambda: schema_of("pytorchjobs")),
    "2.0": (trainjob("podSpecOverrides"), trainjob_2_0),
    "2.1": (trainjob("podTemplateOverrides"), lambda: schema_of("trainjobs", "2.1")),
    "2.2": (trainjob("runtimePatches"), trainjob_2_2),
    "2.3": (trainjob("runtimePatches"), lambda: schema_of("trainjobs", "2.3")),
}


def body_for(served: Served) -> dict[str, Any]:
    shown = picture(
        served=[served],
        nodes=[node("n1"), node("n2")],
        prices=[price()],
        volumeclaims=[claim()],
        queues=[Queue(QueueKey("default", "train"), "1")],
        runtimes=[Runtime(PodKey("", "torch-distributed"), "1", "torch")],
    )
    assert LAUNCH.plan is not None
    return dict(LAUNCH.plan(shown, parse(LAUNCH.params, EVERYTHING)).changes[-1].body or {})


@pytest.mark.parametrize("version", SHAPES)
def test_a_launch_with_everything_holds_against_its_schema(version: str) -> None:
    served, schema = SHAPES[version]
    body = body_for(served)
    assert list(unknown_fields(schema(), body)) == []
    assert list(violations(schema(), body)) == []


@pytest.mark.parametrize(("version", "other"), [("2.0", "2.1"), ("2.1", "2.3"), ("2.3", "2.1"), ("2.2", "2.0")])
def test_and_not_against_that_of_another_version(version: str, other: str) -> None:
    assert list(unknown_fields(SHAPES[other][1](), body_for(SHAPES[version][0])))


def test_pods_over_efa_stay_in_one_zone_in_every_shape() -> None:
    for version, (served, _) in SHAPES.items():
        text = str(body_for(served))
        assert "topology.kubernetes.io/zone" in text, version
        assert ("podAffinity" in text) == (version != "2.0"), version
