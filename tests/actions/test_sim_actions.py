"""Faults are for the practice cluster alone, and say where they strike; stopping it is one command."""

from __future__ import annotations

from typing import Any

import pytest

from actions.core import Clients, Plan, load, parse
from actions.core.apply import apply
from actions.core.journal import Journal
from cockpit.errors import BadInput
from cockpit.model import Served
from tests.actions.pictures import PYTORCHJOB, FakeKube, job, node, picture

FAULT, STOP = load("sim-fault"), load("sim-stop")
PRACTICE = picture(nodes=[node("n1")], jobs=[job()], served=[Served("faults.sim.cockpit.dev", "sim.cockpit.dev", "v1alpha1", "Fault", False)])


def planned(**given: Any) -> Plan:
    assert FAULT.plan is not None
    return FAULT.plan(PRACTICE, parse(FAULT.params, given))


def test_a_fault_is_one_object_with_only_what_was_given() -> None:
    (change,) = planned(fault="xid", node="n1", gpu=3, xid=79, seconds=30).changes
    assert change.target.path(with_name=False) == "/apis/sim.cockpit.dev/v1alpha1/faults"
    assert change.body is not None
    assert change.body["spec"] == {"fault": "xid", "target": {"node": "n1", "gpu": 3}, "xid": 79, "seconds": 30.0}
    assert "SIMULATED" in change.summary
    assert "target" not in (planned(fault="watch-expire").changes[0].body or {})["spec"]


def test_a_rank_is_named_by_its_job() -> None:
    spec = (planned(fault="slow-rank", job="t5", factor=0.25).changes[0].body or {})["spec"]
    assert spec == {"fault": "slow-rank", "target": {"namespace": "default", "job": "t5", "rank": 0}, "factor": 0.25}


@pytest.mark.parametrize(
    "given",
    [
        {"fault": "xid"},
        {"fault": "kill-rank"},
        {"fault": "throttle", "node": "n9"},
        {"fault": "kill-rank", "job": "t9"},
        {"fault": "xdi", "node": "n1"},
        {"fault": "throttle", "node": "n1", "factor": 2},
    ],
)
def test_a_fault_that_cannot_be_is_bad_input(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        planned(**given)


def test_clearing_deletes_every_fault_of_the_sort(tmp_path: Any) -> None:
    kube = FakeKube()
    params = parse(FAULT.params, {"fault": "xid", "clear": True})
    assert FAULT.plan is not None
    apply(FAULT.plan(PRACTICE, params), Clients(kube=kube), action="sim-fault", params=params, journal=Journal(tmp_path / "journal"))
    ((method, path, query, _),) = kube.calls
    assert (method, path, query["labelSelector"]) == ("DELETE", "/apis/sim.cockpit.dev/v1alpha1/faults", "cockpit.dev/fault=xid")


def test_an_object_the_server_names_is_reported_by_that_name(tmp_path: Any) -> None:
    kube = FakeKube(lambda method, path: {"metadata": {"name": "xid-x7k2p"}})
    params = parse(FAULT.params, {"fault": "xid", "node": "n1"})
    assert FAULT.plan is not None
    done = apply(FAULT.plan(PRACTICE, params), Clients(kube=kube), action="sim-fault", params=params, journal=Journal(tmp_path / "journal"))
    assert done.changes[0]["object"]["name"] == "xid-x7k2p"


def test_a_real_cluster_has_no_faults_to_make() -> None:
    assert "practice cluster" in str(FAULT.disabled(picture(served=[PYTORCHJOB]), None))
    assert FAULT.disabled(PRACTICE, None) is None


def test_sim_stop_needs_no_cluster() -> None:
    assert "kube" not in STOP.front
    assert STOP.plan is not None
    (change,) = STOP.plan(picture(), parse(STOP.params, {})).changes
    assert change.argv[1:] == ("-m", "cockpit.sim", "stop")
