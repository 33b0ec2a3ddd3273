"""Every action by its key: parameters, plan, confirmation, application; and what is not bound when read-only."""

from __future__ import annotations

from typing import Any

import pytest
from textual.widgets import Button, Input
from tui_stage import ACTIONS, LAUNCH, make_app, opened, shown, text_of, until

from actions.core import Change, Plan, Target
from actions.core.journal import Journal
from cockpit.errors import Conflict
from cockpit.store import Delete
from cockpit.tui.confirm import ConfirmScreen
from cockpit.tui.form import FormScreen
from cockpit.tui.logs import Feed, turned
from cockpit.tui.travel import pairs


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def written(app: Any) -> list[Any]:
    return [one for one in app.fakes[0].kube.asked if one[0] != "GET"]


async def test_a_change_asks_y_and_does_exactly_what_it_showed() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "kubectl cordon ip-10-0-4-89" in text_of(app) and "on training-on-eks" in text_of(app)
        await pilot.press("y")
        await until(pilot, lambda: bool(written(app)))
        assert written(app) == [("PATCH", "/api/v1/nodes/ip-10-0-4-89.us-west-2.compute.internal", {"spec": {"unschedulable": True}})]
        await until(pilot, lambda: "Close: done" in text_of(app))
        (entry,) = Journal().entries()
        assert (entry.action, entry.state) == ("close", "done")
        assert "▼ cordoned" not in next(line for line in shown(app) if "▸ ip-10-0-4-89" in line), "nothing is painted before the cluster says so"


async def test_a_forbidden_step_is_shown_and_cannot_be_agreed_to() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.fakes[0].kube.forbidden = frozenset({"patch nodes"})
        await pilot.press("c", "y")
        await until(pilot, lambda: "forbidden: you may not patch nodes" in text_of(app))
        assert app.screen.query_one("#yes", Button).disabled
        await pilot.press("y")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert not written(app) and not Journal().path.exists()


async def test_n_does_nothing() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert not written(app)


async def test_marks_are_changed_together_and_counted() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("space", "space", "c")
        await until(pilot, lambda: "(2 changes)" in text_of(app))
        await pilot.press("y")
        await until(pilot, lambda: len(written(app)) == 2)


async def test_the_target_is_the_one_that_was_shown() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        app.fakes[0].store.apply(Delete("nodes", "nodes", (app.panes["cluster"].cursor,)))
        await until(pilot, lambda: len(app.scene.snapshot.nodes) == 5)
        await pilot.press("y")
        await until(pilot, lambda: bool(written(app)))
        assert "ip-10-0-4-89" in written(app)[0][1]


async def test_destroy_focuses_cancel_and_y_only_moves_to_the_button() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3", "j", "ctrl+d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert app.screen.focused is app.screen.query_one("#no", Button)
        text = text_of(app)
        assert "namespace default" in text and "t5-large" in text and "destroys" in text
        await pilot.press("y")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("enter")
        await until(pilot, lambda: bool(written(app)))
        assert written(app)[0][:2] == ("DELETE", "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/t5-large")


async def test_enter_on_a_fresh_destroy_dialog_cancels() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3", "ctrl+d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmScreen))
        assert not written(app)


async def test_a_form_plans_while_typing_and_spending_needs_the_name() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.fakes[0].kube.simulated = False  # type: ignore[attr-defined]
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, FormScreen) and "missing --name" in text_of(app))
        await pilot.press(*"run7")
        await until(pilot, lambda: "create pytorchjob/run7 -n default: 2 pods" in text_of(app) and "$110.08/h" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert app.screen.query_one("#yes", Button).disabled
        await pilot.press(*"run", "enter")
        assert isinstance(app.screen, ConfirmScreen) and not written(app)
        await pilot.press("7", "enter")
        await until(pilot, lambda: bool(written(app)))
        assert written(app)[0][0] == "POST"


@pytest.mark.parametrize("simulated", [False, True])
async def test_spending_says_what_is_spent(simulated: bool) -> None:
    target = Target("PyTorchJob", "run7", "default", "kubeflow.org", "v1", "pytorchjobs")
    change = Change("kube", "create", target, f"create {target}", "kubectl create -f -", {"kind": "PyTorchJob"})
    plan = Plan((change,), dollars_per_hour=110.08, simulated=simulated, confirm="" if simulated else "run7")
    answers: list[bool | None] = []
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        dialog = ConfirmScreen(LAUNCH, plan, app.place)
        dialog.judged(plan)
        app.push_screen(dialog, answers.append)
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "create pytorchjob/run7" in text_of(app))
        said = text_of(app)
        if simulated:
            assert "Its price is SIMULATED: nothing is spent." in said and "spends money" not in said
            await pilot.press("y")
        else:
            assert "spends money" in said and "It costs $110.08/h. Type run7 to go on." in said and "price is SIMULATED" not in said
            await pilot.press("enter", *"run", "enter")
            assert not answers
            await pilot.press("7", "enter")
        await until(pilot, lambda: answers == [True])


async def test_a_change_goes_to_the_namespace_that_is_looked_at() -> None:
    app = make_app(namespace="research")
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go("halt job=bert-base")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "delete pytorchjob/bert-base -n research" in text_of(app))
        await pilot.press("escape")
        app.namespace = None
        app.go("halt job=t5-large")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "delete pytorchjob/t5-large -n default" in text_of(app))


async def test_errors_stand_at_their_field() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, FormScreen))
        await pilot.press(*"x", "down", *"nine")
        await until(pilot, lambda: "whole" in text_of(app))
        field = app.screen.query_one("#field-nodes")
        assert not field.query_one(".error").has_class("-empty")
        app.screen.query_one("#input-nodes", Input).value = "99"
        await until(pilot, lambda: "needs 792 GPUs" in text_of(app))
        await pilot.press("enter")
        assert isinstance(app.screen, FormScreen), "what is refused cannot go on"
        app.screen.query_one("#input-nodes", Input).value = "2"
        await pilot.press("down", "ctrl+n", "ctrl+n")
        assert app.screen.query_one("#input-strategy", Input).value == "fsdp"
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, FormScreen))


async def test_a_moved_world_is_told_and_nothing_is_overwritten() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.fakes[0].kube.refuse = Conflict("the node changed since the plan was made", "look again")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "look again" in text_of(app))
        assert next(iter(Journal().entries())).state == "failed"


async def test_a_command_line_gives_the_parameters() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go("close --node ip-10-0-5-16.us-west-2.compute.internal")
        await until(pilot, lambda: "cordon ip-10-0-5-16" in text_of(app))
        await pilot.press("escape")
        app.go("close --node nope")
        await until(pilot, lambda: "'nope' is not here" in text_of(app))


async def test_what_is_done_already_says_so() -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go("close --node ip-10-0-7-27.us-west-2.compute.internal")
        await until(pilot, lambda: "already cordoned" in text_of(app))


async def test_read_only_binds_nothing_that_changes() -> None:
    app = make_app(readonly=True)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        assert "read-only" in shown(app)[0] and "close" not in shown(app)[-1] and "fly" not in shown(app)[-1]
        await pilot.press("c", "l")
        app.go("fly --name x")
        await until(pilot, lambda: "read-only" in text_of(app)[200:])
        assert len(app.screen_stack) == 1 and not written(app)
        await pilot.press("3", "j", "L")
        await until(pilot, lambda: "step 199" in text_of(app))


def test_pairs_of_a_command_line() -> None:
    assert pairs(["--node", "a,b", "reason=why not", "--follow"]) == {"node": "a,b", "reason": "why not", "follow": "true"}


def test_log_keys_change_only_what_the_action_knows() -> None:
    read = ACTIONS[3]
    assert turned(read, {"job": "t5"}, "2", ["a", "b"]) == {"job": "t5", "since": "5m"}
    assert turned(read, {"job": "t5", "since": "5m"}, "0", []) == {"job": "t5"}
    assert turned(read, {"job": "t5"}, "]", ["a", "b"]) == {"pod": "a"}
    assert turned(read, {"pod": "a"}, "[", ["a", "b"]) == {"pod": "b"}


def test_a_stream_faster_than_the_screen_drops_and_counts() -> None:
    feed = Feed(ACTIONS[3], None, None, {})  # type: ignore[arg-type]
    from cockpit.tui.logs import BATCH_LINES, QUEUE_LINES
    from cockpit.tui.textlines import Line

    for index in range(QUEUE_LINES + 5):
        feed._put(Line(str(index)))
    lines, dropped = feed.drain()
    assert (len(lines), dropped, lines[0].text) == (BATCH_LINES, 5, "5")


async def test_the_text_is_bounded_and_says_what_it_dropped() -> None:
    from cockpit.tui.detail import Room
    from cockpit.tui.textlines import KEPT_LINES, SLACK_LINES, Line

    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.enter(Room(title="Flood", following=True))
        for start in range(0, KEPT_LINES + SLACK_LINES + 1, 1000):
            app.detail.text.append(Line(f"line {start + index}") for index in range(1000))
        await until(pilot, lambda: "older lines dropped" in text_of(app))
        assert len(app.detail.text.lines) == KEPT_LINES
        assert app.detail.text.lines[-1].text == f"line {KEPT_LINES + SLACK_LINES + 999}"
