"""drain and replace-node: what must go, what holds it, what of training stops; and evictions that a budget refuses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from actions.core import Change, Clients, Plan, Risk, Target, load, parse, performing
from actions.core.apply import ApplyFailed, apply
from actions.core.facts import ago
from actions.core.journal import Journal
from actions.core.occupants import look_at, selects, to_occupant
from cockpit.clients.statuses import coded
from cockpit.errors import ActionFailed, Conflict, Forbidden, NotFound, Refused
from cockpit.model import Checkpoint, CheckpointKey, ClaimName, NodeClaim, NodeName, Occupant, PodKey, Progress
from cockpit.snapshot import store_of
from tests.actions.pictures import JOB, FakeKube, job, node, picture, pod

DRAIN, REPLACE = load("drain"), load("replace-node")
GIVEN = parse(DRAIN.params, {"node": "n1"})
REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def occupant(name: str, **more: Any) -> Occupant:
    facts: dict[str, Any] = {"phase": "Running", "owner_kind": "PyTorchJob", "owner_name": "t5", "budgets": (), "grace_seconds": 30}
    return Occupant(PodKey("default", name), f"uid-{name}", NodeName("n1"), **(facts | more))


def drained(*rows: Occupant, given: dict[str, Any] | None = None, **more: Any) -> Plan:
    shown = picture(nodes=[node("n1", cordoned=False)], occupants=rows, **more)
    return DRAIN.plan(shown, parse(DRAIN.params, {"node": "n1"} | (given or {})))


def test_a_drain_closes_evicts_and_waits_and_leaves_daemons_and_what_is_over() -> None:
    rows = [occupant("a"), occupant("d", owner_kind="DaemonSet"), occupant("s", static=True, owner_kind="Node"), occupant("o", phase="Succeeded")]
    plan = drained(*rows, given={"grace_period": "5", "reason": "xid 79"})
    assert [change.summary for change in plan.changes] == [
        "cordon n1: xid 79",
        "evict pod/a -n default",
        "wait until 1 pod of n1 has ended",
    ]
    assert plan.changes[1].body["deleteOptions"] == {"preconditions": {"uid": "uid-a"}, "gracePeriodSeconds": 5}
    assert plan.changes[2].after == {"gone": [{"path": "/api/v1/namespaces/default/pods/a", "namespace": "default", "uid": "uid-a"}]}
    assert [change.inverse is not None for change in plan.changes] == [True, False, False] and DRAIN.risk is Risk.DESTROY


@pytest.mark.parametrize(
    ("row", "flag", "given"),
    [
        (occupant("a", owner_kind="", owner_name=""), "--force", {"force": "true"}),
        (occupant("a", empty_dirs=("scratch",)), "--delete-emptydir-data", {"delete_emptydir_data": "true"}),
        (occupant("a", owner_kind="DaemonSet"), "--ignore-daemonsets", {"ignore_daemonsets": "true"}),
    ],
)
def test_what_needs_a_flag_is_refused_with_the_flag(row: Occupant, flag: str, given: dict[str, str]) -> None:
    with pytest.raises(Refused, match=flag):
        drained(row, given={"ignore_daemonsets": "false"})
    assert drained(row, given=given).changes


def test_a_node_that_is_closed_and_empty_is_drained_already() -> None:
    shown = picture(nodes=[node("n1", cordoned=True)], occupants=[occupant("d", owner_kind="DaemonSet")])
    assert DRAIN.plan(shown, parse(DRAIN.params, {"node": "n1"})).already == "n1 drained already"


def test_pods_that_no_budget_holds_go_first_and_held_ones_are_told() -> None:
    plan = drained(occupant("a", budgets=("web",), disruptions_allowed=0), occupant("b"))
    assert [change.target.name for change in plan.changes if change.verb == "evict"] == ["b", "a"]
    assert plan.warnings == ("pod/a waits for budget web, which allows no disruption now",)
    unknown = drained(occupant("a", budgets=None))
    assert "PodDisruptionBudgets may not be listed" in unknown.warnings[0]


def test_the_jobs_their_ranks_and_the_age_of_their_last_checkpoint_are_named() -> None:
    pods = [pod("t5-master-0", "n0", replica="master"), pod("t5-worker-0", "n1")]
    plan = drained(occupant("t5-worker-0"), jobs=[job()], pods=pods)
    assert plan.notes[0] == "PyTorchJob t5 -n default: ranks 2-3 of 4 (t5-worker-0) stop; its last checkpoint is not known"
    saved = Checkpoint(CheckpointKey(store_of(job()), "step_00000040"), 40, "said", at=1.0)
    told = drained(occupant("t5-worker-0"), jobs=[job()], pods=pods, checkpoints=[saved], progress=[Progress(JOB, 55)]).notes[0]
    assert "its last checkpoint is step 40, " in told and told.endswith(" old, 15 steps back")
    bare = drained(occupant("t5-worker-0"), pods=pods).notes[0]
    assert "the ranks of t5-worker-0 stop" in bare


def test_durations_are_told_in_the_units_that_matter() -> None:
    assert [ago(seconds) for seconds in (0, 59, 60, 125, 7260, 90000)] == ["0 s", "59 s", "1 min", "2 min 5 s", "2 h 1 min", "1 d 1 h"]


def test_a_replaced_node_loses_its_claim_and_nothing_undoes_it() -> None:
    claim = NodeClaim(ClaimName("c1"), "3", "gpu", NodeName("n1"))
    shown = picture(nodes=[node("n1")], occupants=[occupant("a")], nodeclaims=[claim])
    plan = REPLACE.plan(shown, parse(REPLACE.params, {"node": "n1"}))
    assert [change.verb for change in plan.changes] == ["patch", "evict", "wait", "delete", "wait"]
    assert plan.changes[3].target.path() == "/apis/karpenter.sh/v1/nodeclaims/c1" and not any(change.inverse for change in plan.changes)
    with pytest.raises(Refused, match="n1 has no NodeClaim"):
        REPLACE.plan(picture(nodes=[node("n1")]), parse(REPLACE.params, {"node": "n1"}))


# -- what is read -----------------------------------------------------------------------------------------------------------------------------


def test_pods_are_read_with_their_owner_volumes_and_budgets() -> None:
    raw = {
        "metadata": {
            "name": "a",
            "namespace": "x",
            "uid": "u",
            "labels": {"app": "web"},
            "ownerReferences": [{"kind": "Other", "name": "o"}, {"kind": "Job", "name": "j", "controller": True}],
        },
        "spec": {"nodeName": "n1", "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "tmp", "emptyDir": {}}, {"name": "c"}]},
        "status": {"phase": "Running"},
    }
    mine = {"metadata": {"name": "b", "namespace": "x"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}}
    other = {"metadata": {"name": "c", "namespace": "y"}, "spec": {"selector": {}}}
    row = to_occupant(raw, [mine, other])
    assert (row.owner_kind, row.empty_dirs, row.budgets, row.disruptions_allowed) == ("Job", ("tmp",), ("b",), 0)
    assert to_occupant(raw, None).budgets is None


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_label_selectors(selector: dict[str, Any], expected: bool) -> None:
    assert selects(selector, {"a": "1"}) is expected


def test_all_pages_of_a_node_are_read_and_pods_that_have_gone_are_forgotten() -> None:
    pages = iter([{"items": [{"metadata": {"name": "a"}}], "metadata": {"continue": "t"}}, {"items": [{"metadata": {"name": "b"}}]}])

    def answer(method: str, path: str) -> dict[str, Any]:
        if path == "/api/v1/pods":
            return next(pages)
        raise Forbidden("no budgets")

    kube = FakeKube(answer)
    facts = list(look_at(Clients(kube=kube), picture(occupants=[occupant("old")]), ["n1"]))
    assert facts[0].keys == (PodKey("default", "old"),) and [row.key.name for row in facts[1].rows] == ["a", "b"]
    assert kube.calls[1][2] == {"fieldSelector": "spec.nodeName=n1", "limit": "500"} and kube.calls[2][2]["continue"] == "t"


# -- evictions that are refused ---------------------------------------------------------------------------------------------------------------


def eviction(patience: int) -> Plan:
    target = Target("Pod", "a", "default", plural="pods")
    return Plan((Change("kube", "evict", target, "evict pod/a", body={}, grace_seconds=patience),))


def test_a_refused_eviction_is_asked_again_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "REFUSED_POLL_SECONDS", 0.01)
    answers: list[Any] = [coded(ActionFailed(REFUSED), "too-many-requests")] * 3 + [{}]
    told: list[str] = []

    def answer(method: str, path: str) -> dict[str, Any]:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return dict(found)

    kube = FakeKube(answer)
    apply(eviction(60), Clients(kube=kube), action="drain", params=GIVEN, journal=Journal(tmp_path / "j"), tell=told.append)
    assert len(kube.calls) == 4 and REFUSED in told[0] and told[-1] == "pod/a -n default is evicted" and len(told) == 2


@pytest.mark.parametrize("error", [NotFound("gone"), Conflict("another of the same name")])
def test_a_pod_that_has_gone_needs_no_eviction(tmp_path: Path, error: Exception) -> None:
    def answer(method: str, path: str) -> dict[str, Any]:
        raise error

    done = apply(eviction(0), Clients(kube=FakeKube(answer)), action="drain", params=GIVEN, journal=Journal(tmp_path / "j"))
    assert done.ok and len(done.changes) == 1


@pytest.mark.parametrize(("patience", "stopped", "code"), [(0, False, 124), (60, True, 130)])
def test_patience_and_being_stopped_end_it(tmp_path: Path, patience: int, stopped: bool, code: int) -> None:
    def answer(method: str, path: str) -> dict[str, Any]:
        raise coded(ActionFailed(REFUSED), "too-many-requests")

    stop = threading.Event()
    if stopped:
        stop.set()
    with pytest.raises(ApplyFailed) as raised:
        clients = Clients(kube=FakeKube(answer))
        apply(eviction(patience), clients, action="drain", params=GIVEN, journal=Journal(tmp_path / "j"), stop=stop)
    assert raised.value.exit_code == code
