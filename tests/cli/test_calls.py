"""The contract of `cockpit --action`: one object, one exit code, and nothing done that was not confirmed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from actions.core import Clients
from actions.core.journal import Journal
from cockpit import calls, cli, session
from cockpit.errors import ActionFailed, CockpitError, Conflict, Forbidden, NotServed, Unreachable
from cockpit.model import Condition, Progress
from cockpit.rows import Rows
from cockpit.snapshot import Snapshot
from cockpit.store import Upsert
from tests.actions.pictures import JOB, PYTORCHJOB, FakeKube, job, node, picture, pod, price


class FakeSession:
    """A session over one picture, or over one picture after another as a wait looks again."""

    def __init__(self, pictures: Iterable[Snapshot], kube: FakeKube, failure: CockpitError | None = None) -> None:
        self.pictures, self.kube, self.failure = list(pictures), kube, failure
        self.clients, self.store = Clients(kube=kube), self
        self.filled: list[str] = []
        self.closed = False

    def fill(self, needs: Iterable[str], can_lack: Iterable[str] = ()) -> None:
        self.filled += needs
        if self.failure is not None:
            raise self.failure

    def watch(self, names: Iterable[str]) -> None:
        pass

    def snapshot(self) -> Snapshot:
        return self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]

    def apply(self, fact: Any) -> None:
        """A look's fact: stores are told to the pictures that follow."""
        if isinstance(fact, Upsert) and fact.kind == "stores":
            rows = Rows.of({row.key: row for row in fact.rows})
            self.pictures = [dataclasses.replace(one, stores=rows) for one in self.pictures]

    def close(self) -> None:
        self.closed = True


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[FakeSession, Run]]:
    """`world(*pictures)` gives the session and a way to run command lines against it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(calls, "LOOK_SECONDS", 0.01)

    def build(*pictures: Snapshot, kube: FakeKube | None = None, failure: CockpitError | None = None) -> tuple[FakeSession, Run]:
        opened = FakeSession(pictures or [picture()], kube or FakeKube(), failure)
        monkeypatch.setattr(session, "open_session", lambda options, on_change=None: opened)

        def run(*words: str) -> tuple[int, str, str]:
            code = cli.main(["--action", *words])
            told = capsys.readouterr()
            return code, told.out, told.err

        return opened, run

    return build


def test_a_view_prints_a_table_or_one_object(world: Any) -> None:
    opened, run = world(picture(nodes=[node("n1")]))
    code, out, _ = run("nodes")
    assert (code, out.splitlines()[0].split()[0], opened.filled) == (0, "NODE", ["nodes"])
    code, out, err = run("nodes", "-o", "json")
    found = json.loads(out)
    assert (found["ok"], found["cluster"], found["result"][0]["name"], err) == (True, "fake", "n1", "")
    assert run("nodes", "-o", "name")[1] == "node/n1\n"
    assert opened.closed


def test_sources_that_read_what_others_found_are_filled_after_them(world: Any) -> None:
    opened, run = world(picture())
    run("jobs")
    assert opened.filled[-1] == "progress"


def test_what_is_not_served_is_a_warning_and_not_an_empty_table_that_looks_true(world: Any) -> None:
    missing = NotServed("nodepools.karpenter.sh is not served by this cluster")
    for failure in (None, missing):
        _, run = world(picture({"nodepools": missing}), failure=failure)
        code, out, err = run("nodepools", "-o", "json")
        found = json.loads(out)
        assert (code, found["ok"], found["result"]) == (0, True, [])
        assert found["warnings"] == ["nodepools: nodepools.karpenter.sh is not served by this cluster"]
        assert "not served" in err


@pytest.mark.parametrize("failure", [Unreachable("no answer from https://x", "start it"), Forbidden("may not list")])
def test_a_source_that_failed_stops_the_run_with_exit_3(world: Any, failure: CockpitError) -> None:
    _, run = world(picture(), failure=failure)
    code, out, err = run("nodes", "-o", "json")
    found = json.loads(out)
    assert (code, found["ok"], found["result"], found["error"]["code"]) == (3, False, None, failure.code)
    assert failure.message in err
    assert run("nodes")[:2] == (3, "")


def test_cordon_applies_and_is_journaled_and_the_second_time_is_already(world: Any, tmp_path: Path) -> None:
    kube = FakeKube()
    _, run = world(picture(nodes=[node("n1")]), kube=kube)
    code, out, _ = run("cordon", "n1", "-o", "json")
    found = json.loads(out)
    assert (code, found["changes"][0]["object"]["name"]) == (0, "n1")
    assert found["journal_id"] in (tmp_path / "cockpit" / "journal.jsonl").read_text()
    assert kube.calls[0][:2] == ("PATCH", "/api/v1/nodes/n1")
    _, run = world(picture(nodes=[node("n1", cordoned=True)]), kube=kube)
    code, out, _ = run("cordon", "n1", "-o", "json")
    assert (code, json.loads(out)["result"]) == (0, {"already": "n1 already cordoned"})
    assert len(kube.calls) == 1


def test_a_dry_run_lets_the_server_judge_and_writes_no_journal(world: Any, tmp_path: Path) -> None:
    kube = FakeKube()
    _, run = world(picture(nodes=[node("n1")]), kube=kube)
    code, out, _ = run("cordon", "n1", "--dry-run", "-o", "json")
    assert (code, json.loads(out)["dry_run"], json.loads(out)["journal_id"]) == (0, True, None)
    assert kube.calls[0][2]["dryRun"] == "All"
    assert not (tmp_path / "cockpit").exists()


def test_what_destroys_needs_yes_without_a_terminal(world: Any) -> None:
    kube = FakeKube()
    _, run = world(picture(jobs=[job()], pods=[pod("t5-worker-0")]), kube=kube)
    code, out, _ = run("stop", "t5", "-o", "json")
    found = json.loads(out)
    assert (code, found["error"]["code"], [change["object"]["name"] for change in found["changes"]]) == (4, "refused", ["t5", "t5-training"])
    assert run("stop", "t5")[:2] == (4, "")
    assert kube.calls == []
    assert run("stop", "t5", "--yes")[0] == 0
    assert [call[0] for call in kube.calls] == ["DELETE", "DELETE"]


def test_a_person_at_a_terminal_is_asked(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    _, run = world(picture(served=[PYTORCHJOB], nodes=[node("n1")], prices=[price()]), kube=kube)
    asked: list[str] = []
    for answer, code in (("y", 4), ("ddp-1", 0)):
        monkeypatch.setattr(calls, "ask", lambda question, answer=answer: asked.append(question) or answer)
        assert run("launch", "--nodes", "1")[0] == code
    assert asked == ["type ddp-1 to go on:"] * 2
    assert len(kube.calls) == 2


def test_simulated_spending_needs_no_yes_and_real_spending_does(world: Any) -> None:
    for invented, code in ((True, 0), (False, 4)):
        kube = FakeKube()
        _, run = world(picture(served=[PYTORCHJOB], nodes=[node("n1", simulated=invented)], prices=[price()]), kube=kube)
        assert run("launch", "--nodes", "1")[0] == code
        assert bool(kube.calls) == invented


def test_readonly_refuses_before_anything_is_opened(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = world()
    monkeypatch.setattr(session, "open_session", lambda *_: pytest.fail("opened"))
    for name in ("cordon", "launch", "stop", "sim-fault", "sim-stop"):
        assert run(name, "--readonly")[0] == 4


def test_a_refused_change_reports_what_was_done_before_it(world: Any) -> None:
    def answer(method: str, path: str) -> dict[str, Any]:
        if path.endswith("n2"):
            raise Conflict("moved")
        return {}

    _, run = world(picture(nodes=[node("n1"), node("n2")]), kube=FakeKube(answer))
    code, out, _ = run("cordon", "n1,n2", "-o", "json")
    found = json.loads(out)
    assert (code, found["error"]["code"], len(found["changes"]), found["ok"]) == (4, "conflict", 1, False)
    assert found["journal_id"]


def test_an_action_that_does_not_apply_says_why(world: Any) -> None:
    _, run = world(picture(served=[PYTORCHJOB]))
    code, out, _ = run("sim-fault", "--fault", "xid", "-o", "json")
    assert (code, json.loads(out)["error"]["code"]) == (4, "disabled")


def waited(**more: Any) -> list[Snapshot]:
    base: dict[str, Any] = {"served": [PYTORCHJOB], "nodes": [node("n1", simulated=True)], "prices": [price(simulated=True)]}
    going = picture(**base, jobs=[job(created=10.0)], pods=[pod("t5-worker-0", phase="Pending")])
    over = job(created=10.0, finished=31.0, conditions=(Condition(more["condition"], "True", message="it broke"),))
    failed = pod("t5-worker-0", phase="Failed", exit_code=3)
    ended = picture(**base, jobs=[over], pods=[failed], progress=[Progress(JOB, 50, 50, loss=1.0, loss_first=6.0)])
    return [picture(**base), going, going, ended]


def test_waiting_narrates_and_ends_with_the_result(world: Any) -> None:
    _, run = world(*waited(condition="Succeeded"))
    code, out, err = run("launch", "--name", "t5", "--nodes", "2", "--nproc", "2", "--wait", "-o", "json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    wanted = {"job": "t5", "kind": "PyTorchJob", "phase": "succeeded", "ranks": 4, "steps": 50, "loss_first": 6.0, "loss_last": 1.0, "seconds": 21.0}
    assert {key: found["result"][key] for key in wanted} == wanted
    assert "t5: pulling" in err


def test_a_job_that_fails_is_exit_1_with_its_last_words(world: Any) -> None:
    _, run = world(*waited(condition="Failed"), kube=FakeKube(logs={"t5-worker-0": [b"ValueError: \x1b[31mboom"]}))
    code, out, err = run("launch", "--name", "t5", "--nodes", "2", "--nproc", "2", "--wait", "-o", "json")
    found = json.loads(out)
    assert (code, found["ok"], found["result"]["phase"]) == (1, False, "failed")
    assert "ValueError: \x1b[31mboom" in found["error"]["hint"]
    assert "boom" in err
    assert "\x1b" not in err


def test_a_wait_that_takes_too_long_is_exit_124_with_where_it_stands(world: Any) -> None:
    _, run = world(*waited(condition="Failed")[:3])
    code, out, _ = run("launch", "--name", "t5", "--nodes", "2", "--nproc", "2", "--wait", "--timeout", "0.05", "-o", "json")
    found = json.loads(out)
    assert (code, found["error"]["code"], found["result"]["phase"]) == (124, "timeout", "pulling")


def test_an_interrupt_is_exit_130_and_still_one_object(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = world()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeSession, "fill", interrupted)
    code, out, _ = run("nodes", "-o", "json")
    assert (code, json.loads(out)["error"]["code"]) == (130, "interrupted")


def test_a_defect_of_ours_is_still_one_object_and_its_traceback(world: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    _, run = world()
    monkeypatch.setattr(FakeSession, "fill", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run("nodes", "-o", "json")
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_logs_stream_lines_or_json_lines_or_one_object(world: Any) -> None:
    line = b"2026-01-02T03:04:05Z loss\t1.5 \x1b[2J\xff"
    kube = FakeKube(logs={"t5-worker-0": [line]})
    _, run = world(picture(jobs=[job(ranks_per_pod=1)], pods=[pod("t5-worker-0")]), kube=kube)
    code, out, _ = run("logs", "t5")
    assert (code, out) == (0, "[0/t5-worker-0] loss    1.5 ␛[2J\ufffd\n")
    assert json.loads(run("logs", "t5", "-o", "jsonl")[1])["line"] == "loss\t1.5 \x1b[2J\ufffd"
    assert json.loads(run("logs", "t5", "-o", "json")[1])["result"][0]["rank"] == 0
    assert run("logs", "t6", "-o", "json")[0] == 2


def test_a_failure_while_streaming_keeps_what_was_read(world: Any) -> None:
    _, run = world(picture(jobs=[job()], pods=[pod("t5-worker-0")]), kube=FakeKube(logs={"t5-worker-0": ActionFailed("no")}))
    code, out, _ = run("logs", "t5", "-o", "json")
    assert (code, json.loads(out)["result"]) == (1, [])


def test_following_ends_with_the_job_and_a_silent_one_with_the_time_allowed(world: Any) -> None:
    over = {"status": {"phase": "Succeeded", "conditions": [{"type": "Succeeded", "status": "True"}]}}
    listed = {"items": [{"metadata": {"name": "t5-worker-0", "labels": {}}, "spec": {"nodeName": "n1"}}]}
    for phase, code in ((over, 0), ({"status": {"phase": "Running"}}, 124)):
        kube = FakeKube(
            lambda method, path, phase=phase: listed if path.endswith("/pods") else phase, {"t5-worker-0": [b"2026-01-02T03:04:05Z hello"]}
        )
        _, run = world(picture(jobs=[job()], pods=[pod("t5-worker-0")]), kube=kube)
        found = run("logs", "t5", "--follow", "--timeout", "2")
        assert (found[0], found[1]) == (code, "[0-1/t5-worker-0] hello\n")


def test_a_view_looks_outside_first_and_its_notes_are_warnings(world: Any) -> None:
    kube = FakeKube()
    opened, run = world(picture(jobs=[job(store="pvc:fsx-pvc/t5")]), kube=kube)
    opened.clients = Clients(kube=kube, readonly=True)
    code, out, err = run("checkpoints", "-o", "json")
    found = json.loads(out)
    assert (code, found["ok"], found["result"], kube.calls) == (0, True, [], [])
    assert "no pod is made to look" in found["warnings"][0] and "no pod is made to look" in err


def test_a_plan_is_made_of_what_the_look_found(world: Any) -> None:
    kept = json.dumps({"checkpoints": "pvc:fsx-pvc/t5", "kind": "PyTorchJob"})
    opened, run = world(picture(served=[PYTORCHJOB], jobs=[job(store="pvc:fsx-pvc/t5", launched=kept)]), kube=FakeKube())
    opened.clients = Clients(kube=opened.kube, readonly=True)
    code, out, _ = run("restore", "t5", "-o", "json")
    found = json.loads(out)
    assert (code, found["error"]["code"]) == (4, "refused")
    assert "could not be looked at: --readonly" in found["error"]["message"]


def test_a_step_that_is_forbidden_is_seen_in_the_plan_also_in_a_dry_run_and_none_is_made(world: Any, tmp_path: Path) -> None:
    kube = FakeKube()
    kube.forbidden = frozenset({"patch nodes"})
    _, run = world(picture(nodes=[node("n1"), node("n2")]), kube=kube)
    for words in ((), ("--dry-run",)):
        code, out, err = run("cordon", "n1,n2", *words, "-o", "json")
        found = json.loads(out)
        assert (code, found["error"]["code"], [change["object"]["name"] for change in found["changes"]]) == (3, "forbidden", ["n1", "n2"])
        assert "forbidden: you may not patch nodes: cordon n2" in found["warnings"] and "you may not patch nodes: cordon n1" in err
    assert not kube.calls and not (tmp_path / "cockpit" / "journal.jsonl").exists()


def test_what_was_cut_short_is_told_on_stderr_and_not_in_the_answer(world: Any) -> None:
    journal = Journal()
    entry = journal.begin("cordon", "fake", {}, [], "https://fake")
    line = json.loads(journal.path.read_text())
    journal.path.write_text(json.dumps(line | {"process": line["process"] | {"start": "1"}}) + "\n")
    _, run = world(picture(nodes=[node("n1")]))
    code, out, err = run("nodes", "-o", "json")
    assert (code, json.loads(out)["warnings"]) == (0, [])
    assert f"warning: cordon {entry} was cut short, 0 of 0 changes made: --action finish --id {entry}, or --action undo --id {entry}" in err
