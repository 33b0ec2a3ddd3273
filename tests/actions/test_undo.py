"""The journal taken back and gone on with: what stands, what has moved, what nothing undoes; and rights asked for before the first step."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from actions.core import Action, Change, Clients, Plan, Target, load, parse
from actions.core.apply import ApplyFailed, apply
from actions.core.journal import Journal, change_of, recorded
from actions.core.permissions import check, judged
from actions.core.signatures import Signature
from cockpit.errors import BadInput, CockpitError, Conflict, Forbidden, NotFound, Refused
from cockpit.snapshot import Snapshot
from cockpit.store import Store
from tests.actions.pictures import FakeKube, node, picture

CORDON, TAINT, UNDO, FINISH, HISTORY = (load(name) for name in ("cordon", "taint", "undo", "finish", "history"))


class World(FakeKube):
    """Nodes that merge patches are applied to."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, Any]] = {
            f"/api/v1/nodes/{name}": {"metadata": {"name": name, "resourceVersion": "7"}, "spec": {}} for name in ("a", "b")
        }
        self.refuse: dict[str, CockpitError] = {}

    def request(self, method: str, path: str, *, params: Any = None, body: Any = None, content_type: str = "", **more: Any) -> dict[str, Any]:
        self.calls.append((method, path, params, body))
        if path not in self.objects:
            raise NotFound(f"{path} not found")
        if method == "PATCH" and path in self.refuse:
            raise self.refuse.pop(path)
        if method == "PATCH":
            merge(self.objects[path], body)
            self.objects[path]["metadata"]["resourceVersion"] += "1"
        return self.objects[path]

    def node(self, name: str) -> dict[str, Any]:
        return self.objects[f"/api/v1/nodes/{name}"]


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return World()


def done(world: World, action: Action, shown: Snapshot, **given: str) -> str:
    """Look, plan and apply; the id in the journal."""
    params = parse(action.params, given)
    result = apply(planned(world, action, shown, **given), Clients(kube=world), action=action.name, params=params)
    return str(result.journal_id)


def planned(world: World, action: Action, shown: Snapshot, **given: str) -> Plan:
    params = parse(action.params, given)
    if action.look is not None:
        store = Store()
        store.apply(*action.look(Clients(kube=world), shown, params, threading.Event()))
        shown = store.snapshot()
    assert action.plan is not None
    return action.plan(shown, params)


def nodes() -> Snapshot:
    return picture(nodes=[node("a"), node("b")])


def closed(world: World) -> list[bool]:
    return [bool(world.node(name)["spec"].get("unschedulable")) for name in ("a", "b")]


def history(world: World) -> list[dict[str, Any]]:
    assert HISTORY.records is not None
    return [dict(one) for one in HISTORY.records(Clients(kube=world), Snapshot(), parse(HISTORY.params, {}), threading.Event())]


def test_an_undo_takes_back_the_last_plan_and_its_own_undo_makes_it_again(world: World) -> None:
    first = done(world, CORDON, nodes(), node="a,b", reason="hot")
    undone = done(world, UNDO, nodes())
    assert closed(world) == [False, False] and "cordon-reason" not in str(world.node("a"))
    assert [call[1][-1] for call in world.calls if call[0] == "PATCH"] == ["a", "b", "b", "a"], "the last change is taken back first"
    assert [(one["id"], one["state"]) for one in history(world)] == [(first, "undone"), (undone, "done")]
    done(world, UNDO, nodes(), id=undone)
    assert closed(world) == [True, True] and world.node("a")["metadata"]["annotations"] == {"cockpit.dev/cordon-reason": "hot"}
    assert [one["state"] for one in history(world)] == ["done", "undone", "done"]


def test_an_undo_carries_the_version_it_was_planned_from(world: World) -> None:
    done(world, CORDON, nodes(), node="a")
    version = world.node("a")["metadata"]["resourceVersion"]
    plan = planned(world, UNDO, nodes())
    assert [change.resource_version for change in plan.changes] == [version]


def test_a_world_that_has_moved_is_refused_with_what_changed(world: World) -> None:
    done(world, CORDON, nodes(), node="a", reason="hot")
    world.node("a")["metadata"]["annotations"]["cockpit.dev/cordon-reason"] = "cold"
    with pytest.raises(Conflict, match="cordon-reason is cold now, not hot"):
        planned(world, UNDO, nodes())
    world.node("a")["metadata"]["labels"] = {"other": "field"}
    world.node("a")["metadata"]["annotations"]["cockpit.dev/cordon-reason"] = "hot"
    assert planned(world, UNDO, nodes()).changes, "what others change elsewhere on the object is theirs"


def test_what_is_as_before_already_needs_no_undo(world: World) -> None:
    entry = done(world, CORDON, nodes(), node="a")
    world.node("a")["spec"].clear()
    assert planned(world, UNDO, nodes(), id=entry).already.endswith("is as it was before")
    del world.objects["/api/v1/nodes/a"]
    with pytest.raises(Refused, match="node/a is gone"):
        planned(world, UNDO, nodes(), id=entry)


def test_the_last_plan_is_refused_when_nothing_undoes_it_and_no_older_one_is_taken(world: World) -> None:
    done(world, CORDON, nodes(), node="a")
    target = Target("Pod", "x", "default", plural="pods")
    world.objects["/api/v1/namespaces/default/pods/x"] = {}
    apply(Plan((Change("kube", "delete", target, "delete pod/x"),)), Clients(kube=world), action="stop", params=parse(CORDON.params, {"node": "a"}))
    with pytest.raises(Refused, match="nothing undoes: delete pod/x"):
        planned(world, UNDO, nodes())
    assert [(one["undoable"], one["why_not"]) for one in history(world)] == [(True, ""), (False, "nothing undoes: delete pod/x")]


def test_another_cluster_and_an_unknown_id_are_refused(world: World) -> None:
    entry = done(world, CORDON, nodes(), node="a")
    world.server = "https://another"
    with pytest.raises(Refused, match="was applied to cluster fake"):
        planned(world, UNDO, nodes(), id=entry)
    assert planned(world, UNDO, nodes()).already and history(world)[0]["here"] is False
    with pytest.raises(BadInput, match="no such entry"):
        planned(world, UNDO, nodes(), id="nope")


def test_a_plan_that_failed_half_way_is_finished_or_taken_back(world: World) -> None:
    for verb, after in ((FINISH, [True, True]), (UNDO, [False, False])):
        world.refuse["/api/v1/nodes/b"] = Refused("not now")
        with pytest.raises(ApplyFailed):
            done(world, CORDON, nodes(), node="a,b")
        entry = history(world)[-1]
        assert (entry["state"], entry["made"], entry["planned"]) == ("failed", 1, 2) and closed(world) == [True, False]
        done(world, verb, nodes(), id=entry["id"])
        assert closed(world) == after
        done(world, UNDO, nodes(), id=entry["id"]) if verb is FINISH else None


def test_a_taint_comes_back_as_it_was(world: World) -> None:
    held = {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    world.node("a")["spec"]["taints"] = [held]
    shown = picture(nodes=[node("a", taints=("k:NoExecute",), taint_times=("2026-01-01T00:00:00Z",))])
    done(world, TAINT, shown, node="a", key="maintenance", value="yes")
    assert world.node("a")["spec"]["taints"] == [held, {"key": "maintenance", "effect": "NoSchedule", "value": "yes"}]
    done(world, UNDO, shown)
    assert world.node("a")["spec"]["taints"] == [held]
    assert TAINT.plan(shown, parse(TAINT.params, {"node": "a", "key": "x", "remove": "true"})).already == "a without x:NoSchedule already"
    with pytest.raises(BadInput, match="no taint"):
        TAINT.plan(shown, parse(TAINT.params, {"node": "a", "key": "a b"}))


# -- the journal ------------------------------------------------------------------------------------------------------------------------------


def test_a_change_is_read_back_as_it_was_written() -> None:
    change = CORDON.plan(nodes(), parse(CORDON.params, {"node": "a", "reason": "hot"})).changes[0]
    assert change_of(recorded(change)) == change


def test_the_data_of_a_secret_is_not_written(world: World) -> None:
    target = Target("Secret", "hf", "default", plural="secrets")
    body = {"stringData": {"token": "hf_sesame"}}
    change = Change("kube", "create", target, "create secret/hf", body=body, inverse=Change("kube", "delete", target, "delete secret/hf"))
    journal = Journal()
    journal.begin("launch", "fake", {}, Plan((change,)), "https://fake", "ada")
    assert "sesame" not in journal.path.read_text()


def test_only_the_process_that_wrote_it_keeps_a_plan_running(world: World) -> None:
    journal = Journal()
    journal.begin("cordon", "fake", {}, CORDON.plan(nodes(), parse(CORDON.params, {"node": "a"})), "https://fake")
    (entry,) = journal.entries()
    assert entry.running and journal.cut_short("fake", "https://fake") == []
    mine = Signature.mine()
    assert mine.lives() and mine.pid == os.getpid()
    assert not Signature(mine.host, mine.boot, mine.pid, "1").lives(), "another process with this number"
    assert not Signature(mine.host, "other-boot", mine.pid, mine.start).lives()
    assert Signature("elsewhere", mine.boot, 1, "1").lives(), "what runs on another machine cannot be known"
    assert not Signature.of({}).lives()


# -- rights -----------------------------------------------------------------------------------------------------------------------------------


def test_a_forbidden_step_is_seen_in_the_plan_and_nothing_is_begun(world: World) -> None:
    world.forbidden = frozenset({"patch nodes"})
    plan = judged(CORDON.plan(nodes(), parse(CORDON.params, {"node": "a,b"})), Clients(kube=world))
    assert plan.denied == ("you may not patch nodes: cordon a", "you may not patch nodes: cordon b")
    assert "forbidden: you may not patch nodes: cordon a" in plan.lines()
    with pytest.raises(Forbidden, match="and 1 more"):
        check(plan)
    with pytest.raises(Forbidden):
        apply(plan, Clients(kube=world), action="cordon", params=parse(CORDON.params, {"node": "a"}))
    assert not world.calls and not Journal().path.exists()


def test_rights_that_cannot_be_asked_for_are_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def may(*asked: str) -> bool:
        raise Refused("no reviews here")

    monkeypatch.setattr(world, "may", may)
    plan = judged(CORDON.plan(nodes(), parse(CORDON.params, {"node": "a"})), Clients(kube=world))
    assert not plan.denied and plan.warnings == ("whether you may do this could not be asked: no reviews here",)
