"""From a failed job to a restored one: the caution and its offer, the table of checkpoints, reading on demand, one key that asks before it acts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace
from tui_stage import ACTIONS, BERT, NOW, facts, make_app, opened, shown, text_of, until

from actions.core import Action, Change, Clients, Plan, Risk, Target, param
from cockpit.errors import Refused, Unreachable
from cockpit.model import Checkpoint, CheckpointKey, CheckpointStore, Condition, Job, LastWords, PodKey, StoreKey
from cockpit.snapshot import Snapshot
from cockpit.store import Fact, Upsert
from cockpit.tui.confirm import ConfirmScreen
from cockpit.tui.looking import LookScreen
from cockpit.tui.status import both_ends
from cockpit.tui.verbs import Verbs

PLACE = StoreKey("research", "pvc:fsx/bert")
OVER = (Condition("Failed", "True", "x", "one failed"),)
FAILED = Job(BERT, "2", "u4", "ddp", 2, 2, created=NOW - 4000, finished=NOW - 10, store=PLACE.where, conditions=OVER)
KILLED = LastWords(PodKey("research", "bert-base-node-0-1-abcde"), BERT, rank=3, exit_code=-9, step=41)


def saved(step: int, state: str = "said", why: str = "", verified: str = "") -> Checkpoint:
    key = CheckpointKey(PLACE, f"step_{step:08}")
    return Checkpoint(key, step, state, why, NOW - 100 + step, 1_800_000, 4, "ddp", 2.5, verified, BERT)


@dataclass(frozen=True)
class BackParams:
    job: str = param("which job", picks="jobs")
    step: str = param("which step", "latest")
    namespace: str = param("its namespace", "default", picks="namespaces")


class Outside:
    """What lies in the place of checkpoints, and how reading it goes."""

    def __init__(self) -> None:
        self.let_go, self.error, self.asked = threading.Event(), None, list[Any]()
        self.stopped: threading.Event | None = None

    def look(self, clients: Clients, snapshot: Snapshot, params: BackParams, stop: threading.Event) -> Iterator[Fact]:
        self.asked.append(params)
        self.stopped = stop
        while not self.let_go.wait(0.01):
            if stop.is_set():
                return
        if self.error is not None:
            raise self.error
        yield Upsert("look", "checkpoints", (saved(40, "whole", "", "sizes"), saved(30, "torn", "rng_0.pt has 12 bytes, not 40 \x1b[31m", "sizes")))
        yield Upsert("look", "stores", (CheckpointStore(PLACE, NOW, "sizes"),))


def back_plan(snapshot: Snapshot, params: BackParams) -> Plan:
    whole = [one.step for one in snapshot.checkpoints.values() if one.state == "whole"]
    if not whole:
        raise Refused("no checkpoint is whole", "launch begins anew")
    step = max(whole) if params.step == "latest" else int(params.step)
    target = Target("PyTorchJob", params.job + "-r2", params.namespace, "kubeflow.org", "v1", "pytorchjobs")
    change = Change("kube", "create", target, f"create {target} from step {step}", "kubectl create -f -", {"kind": "PyTorchJob"})
    return Plan((change,), notes=(f"trains on from step {step}",), simulated=True, risk=Risk.DESTROY if params.job == "t5-large" else None)


def stage(outside: Outside, *rows: Any, readonly: bool = False) -> Any:
    """The screen over a failed job, with two actions of the shapes that matter here."""
    given = [*facts(), Upsert("jobs", "jobs", (FAILED,)), Upsert("lastwords", "lastwords", (KILLED,)), *rows]
    app = make_app(given)
    fills, look = {"job": "job", "checkpoint": "step"}, outside.look
    back = Action("back", "Back", BackParams, Risk.SPEND, "R", ("jobs",), plan=back_plan, look=look, fills=fills)
    glance = Action("glance", "Glance", BackParams, key="v", panes=("jobs", "checkpoints"), records=lambda *_: (), look=look, fills={"job": "job"})
    app.verbs = Verbs((*ACTIONS, back, glance), readonly)
    return app


CHECKPOINTS = Upsert("progress", "checkpoints", (saved(30), saved(40)))


async def at_the_job(pilot: Any) -> None:
    """Open and go to the failed job's row."""
    await opened(pilot)
    await pilot.press("3", "g")
    table = pilot.app.panes["jobs"]
    while table.cursor != BERT:
        await pilot.press("j")


async def test_the_caution_names_cause_and_way_back() -> None:
    app = stage(Outside(), CHECKPOINTS)
    async with app.run_test(size=(140, 40)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "bert-base failed: rank 3 was killed (SIGKILL) at step 41; checkpoint 40 was saved: R restores" in shown(app)[1])
        row = next(line for line in shown(app) if "bert-base" in line and "✖ failed" in line)
        assert "rank 3" in row


async def test_read_only_offers_no_key() -> None:
    app = stage(Outside(), CHECKPOINTS, readonly=True)
    async with app.run_test(size=(140, 40)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "checkpoint 40 was saved" in shown(app)[1])
        assert "restores" not in text_of(app) and "R back" not in text_of(app) and "v glance" not in shown(app)[-1]


async def test_the_room_shows_what_was_said_and_the_row_is_what_is_restored() -> None:
    outside = Outside()
    outside.let_go.set()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await at_the_job(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Checkpoints ── 2 said" in text_of(app) and "→ checkpoint 40 was saved: R restores" in text_of(app))
        steps = [line.partition("○ said")[0].split()[-1] for line in shown(app) if "○ said" in line]
        assert steps == ["40", "30"], "the newest stands first"
        await pilot.press("tab", "G", "R")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert (outside.asked[-1].job, outside.asked[-1].step, outside.asked[-1].namespace) == ("bert-base", "30", "research")
        assert "trains on from step 30" in text_of(app)


async def test_r_on_the_job_reads_first_then_asks_and_no_key_typed_ahead_agrees() -> None:
    outside = Outside()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await at_the_job(pilot)
        await pilot.press("R", "y")
        await until(pilot, lambda: isinstance(app.screen, LookScreen) and "reading the checkpoints of bert-base …" in text_of(app))
        await pilot.press("y")
        outside.let_go.set()
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen) and "trains on from step 40" in text_of(app))
        assert not [one for one in app.fakes[0].kube.asked if one[0] != "GET"], "nothing is done before the plan was seen"
        await pilot.press("y")
        await until(pilot, lambda: any(one[0] == "POST" for one in app.fakes[0].kube.asked))
        assert outside.asked[0].step == "latest"


async def test_what_is_being_read_can_be_left_and_is_stopped() -> None:
    outside = Outside()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await at_the_job(pilot)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, LookScreen) and outside.stopped is not None)
        await pilot.press("escape")
        await until(pilot, lambda: outside.stopped is not None and outside.stopped.is_set() and len(app.screen_stack) == 1)
        outside.let_go.set()
        await pilot.pause(0.05)
        assert len(app.screen_stack) == 1


async def test_a_refusal_after_reading_is_said_and_leaves_the_screen_as_it_was() -> None:
    outside = Outside()
    outside.error = Unreachable("the volume does not answer", "look at the pod")
    outside.let_go.set()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await at_the_job(pilot)
        await pilot.press("R")
        await until(pilot, lambda: "Back: the volume does not answer" in " ".join(text_of(app).split()) and len(app.screen_stack) == 1)


async def test_reading_on_demand_says_reading_then_its_age_and_what_is_torn() -> None:
    outside = Outside()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await at_the_job(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Checkpoints ──" in text_of(app))
        await pilot.press("v")
        await until(pilot, lambda: "2 said · reading …" in text_of(app))
        outside.let_go.set()
        await until(pilot, lambda: "1 whole · 1 not whole · read" in text_of(app))
        await until(pilot, lambda: any("✖ torn" in line and "rng_0.pt has 12 bytes, not 40" in line for line in shown(app)))
        assert "\x1b" not in text_of(app)
        await until(pilot, lambda: "checkpoint 40 is whole: R restores" in shown(app)[1] and "◌ look" not in shown(app)[0])


async def test_an_error_of_reading_stands_in_the_title_until_it_is_read_again() -> None:
    outside = Outside()
    outside.error = Unreachable("the volume does not answer")
    outside.let_go.set()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40)) as pilot:
        await at_the_job(pilot)
        await pilot.press("enter")
        await pilot.press("v")
        await until(pilot, lambda: "Checkpoints ▲ the volume does not answer ── 2 said" in text_of(app))
        outside.error = None
        await pilot.press("v")
        await until(pilot, lambda: "▲ the volume" not in text_of(app) and "1 whole" in text_of(app))


async def test_a_job_without_checkpoints_has_no_second_table() -> None:
    app = stage(Outside())
    async with app.run_test(size=(140, 40)) as pilot:
        await at_the_job(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Job bert-base" in text_of(app))
        assert "Checkpoints" not in text_of(app) and not app.detail.below.display
        assert app.fakes[0].store is not None
        app.fakes[0].store.apply(CHECKPOINTS)
        await until(pilot, lambda: "Checkpoints ── 2 said" in text_of(app))


async def test_the_lower_table_gives_the_focus_back_when_it_goes() -> None:
    app = stage(Outside(), CHECKPOINTS)
    async with app.run_test(size=(140, 40)) as pilot:
        await at_the_job(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "Checkpoints ──" in text_of(app))
        await pilot.press("tab")
        await until(pilot, lambda: app.focused is app.detail.below)
        await pilot.press("escape")
        await until(pilot, lambda: app.focused is app.panes["jobs"])


async def test_all_checkpoints_have_a_view_of_their_own() -> None:
    outside = Outside()
    outside.let_go.set()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("colon", *"checkpoints", "enter")
        await until(pilot, lambda: sum("bert-base" in line and "○ said" in line for line in shown(app)) == 2)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert (outside.asked[-1].job, outside.asked[-1].step, outside.asked[-1].namespace) == ("bert-base", "40", "research")


async def test_a_plan_that_destroys_is_confirmed_as_such_whatever_its_action() -> None:
    outside = Outside()
    outside.let_go.set()
    app = stage(outside, CHECKPOINTS)
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await opened(pilot)
        await pilot.press("3", "g")
        while app.panes["jobs"].cursor.name != "t5-large":
            await pilot.press("j")
        await pilot.press("R")
        await until(pilot, lambda: "This destroys what it names" in text_of(app))
        await pilot.press("y")
        assert isinstance(app.screen, ConfirmScreen), "y alone does not destroy"


async def test_a_job_on_a_silent_node_is_shown_as_stalled_and_recovers() -> None:
    app = stage(Outside(), CHECKPOINTS)
    async with app.run_test(size=(160, 48)) as pilot:
        await opened(pilot)
        store, picture = app.fakes[0].store, app.scene.snapshot
        name = next(pod.node for pod in picture.pods.values() if pod.job and pod.job.name == "t5-large")
        ready = picture.nodes[name]
        silent = replace(ready, ready=False, problems=(Condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped"),))
        store.apply(Upsert("nodes", "nodes", (silent,)))
        await until(pilot, lambda: any("t5-large" in line and "✖ stalled" in line for line in shown(app)))
        store.apply(Upsert("nodes", "nodes", (ready,)))
        await until(pilot, lambda: any("t5-large" in line and "● training" in line for line in shown(app)))


@pytest.mark.parametrize(
    ("width", "fits"),
    [
        (200, "ddp-1 failed: rank 1 was killed (SIGKILL) at step 41; checkpoint 40 is whole: R restores"),
        (70, "ddp-1 failed: rank 1 was killed (…; checkpoint 40 is whole: R restores"),
        (30, "ddp-1 failed: rank 1 was killed (SIGKILL) at step 41; checkpoint 40 is whole: R restores"),
    ],
)
def test_a_caution_that_does_not_fit_keeps_the_way_out(width: int, fits: str) -> None:
    said = both_ends("ddp-1 failed: rank 1 was killed (SIGKILL) at step 41; checkpoint 40 is whole: R restores", width)
    assert said == fits
