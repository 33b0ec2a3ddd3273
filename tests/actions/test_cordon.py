"""cordon and uncordon: each the inverse of the other, planned from a resourceVersion, and nothing to do when it is so already."""

from __future__ import annotations

import pytest

from actions.core import Clients, load, parse
from actions.core.apply import ApplyFailed, apply
from actions.core.journal import Journal
from cockpit.errors import BadInput, Conflict
from tests.actions.pictures import FakeKube, node, picture, pod

CORDON, UNCORDON = load("cordon"), load("uncordon")


def test_cordon_names_each_node_once_and_keeps_the_reason() -> None:
    shown = picture(nodes=[node("a"), node("b")])
    plan = CORDON.plan(shown, parse(CORDON.params, {"node": "a,b,a", "reason": "xid 79"}))
    assert [change.target.name for change in plan.changes] == ["a", "b"]
    first = plan.changes[0]
    assert first.body == {"spec": {"unschedulable": True}, "metadata": {"annotations": {"cockpit.dev/cordon-reason": "xid 79"}}}
    assert (first.resource_version, first.line) == ("7", "kubectl cordon a")
    assert first.before == {"unschedulable": False, "reason": ""}


def test_what_is_so_already_is_no_change() -> None:
    shown = picture(nodes=[node("a", cordoned=True), node("b")])
    assert CORDON.plan(shown, parse(CORDON.params, {"node": "a"})).already == "a already cordoned"
    mixed = CORDON.plan(shown, parse(CORDON.params, {"node": "a,b"}))
    assert ([change.target.name for change in mixed.changes], mixed.warnings) == (["b"], ("a is cordoned already",))
    assert UNCORDON.plan(shown, parse(UNCORDON.params, {"node": "b"})).already == "b already open for pods"


def test_a_node_that_is_not_there_is_answered_by_the_nearest() -> None:
    shown = picture(nodes=[node("ip-10-0-1-7.internal"), node("ip-10-0-1-9.internal")])
    for typed, meant in (("ip-10-0-1-9", "ip-10-0-1-9.internal"), ("ip-10-0-1-8.internal", "ip-10-0-1-")):
        with pytest.raises(BadInput) as raised:
            CORDON.plan(shown, parse(CORDON.params, {"node": typed}))
        assert meant in raised.value.hint


def test_the_inverse_brings_back_the_reason() -> None:
    shown = picture(nodes=[node("a", cordoned=True, cordon_reason="hot")])
    undo = UNCORDON.plan(shown, parse(UNCORDON.params, {"node": "a"})).changes[0].inverse
    assert undo is not None
    assert undo.body == {"spec": {"unschedulable": True}, "metadata": {"annotations": {"cockpit.dev/cordon-reason": "hot"}}}
    assert undo.resource_version == ""


def test_what_runs_on_a_node_is_said() -> None:
    shown = picture(nodes=[node("n1")], pods=[pod("t5-worker-0")])
    assert CORDON.plan(shown, parse(CORDON.params, {"node": "n1"})).notes == ("n1 keeps running t5",)


def test_a_moved_node_is_a_conflict_and_the_rest_is_reported(tmp_path) -> None:  # type: ignore[no-untyped-def]
    def answer(method: str, path: str) -> dict[str, object]:
        if path.endswith("/b"):
            raise Conflict("the object has been modified")
        return {}

    kube = FakeKube(answer)
    params = parse(CORDON.params, {"node": "a,b,c"})
    plan = CORDON.plan(picture(nodes=[node("a"), node("b"), node("c")]), params)
    journal = Journal(tmp_path / "journal.jsonl")
    with pytest.raises(ApplyFailed) as raised:
        apply(plan, Clients(kube=kube), action="cordon", params=params, journal=journal)
    assert (raised.value.exit_code, raised.value.code) == (4, "conflict")
    assert [change["object"]["name"] for change in raised.value.result.changes] == ["a"]
    assert [path for _, path, _, _ in kube.calls] == ["/api/v1/nodes/a", "/api/v1/nodes/b", "/api/v1/nodes/b"]
    assert kube.calls[0][3]["metadata"]["resourceVersion"] == "7"
    (entry,) = journal.entries()
    assert (entry.state, entry.done) == ("failed", [0])
