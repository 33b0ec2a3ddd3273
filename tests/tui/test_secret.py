"""A secret typed on the screen: unseen while it is typed, in the Secret, and in no picture of the screen and no journal."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pytest
from textual.widgets import Input
from tui_stage import ACTIONS, make_app, opened, text_of, until

from actions.core import Action, Change, Plan, Risk, Target, param
from actions.core.journal import Journal
from cockpit.snapshot import Snapshot
from cockpit.tui.confirm import ConfirmScreen
from cockpit.tui.form import FormScreen
from cockpit.tui.secret import SecretScreen
from cockpit.tui.verbs import Verbs

TOKEN = "hf_TypedUnseen"


@dataclass(frozen=True)
class Params:
    name: str = param("Secret", "hf")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    target = Target("Secret", params.name, "default", plural="secrets")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": params.name}}
    job = Target("PyTorchJob", "run", "default", "kubeflow.org", "v1", "pytorchjobs")
    made = {"kind": "PyTorchJob", "metadata": {"name": "run", "labels": {"bad": "\x1b[31mred"}}, "spec": {"nprocPerNode": "8"}}
    return Plan(
        (
            Change("kube", "create", target, f"create {target} from a prompt", "kubectl create secret", body, sealed={"HF_TOKEN": "prompt"}),
            Change("kube", "create", job, f"create {job}", "kubectl create -f -", made, after=made),
        )
    )


KEEP = Action("keep", "Keep", Params, Risk.CHANGE, plan=plan)


@pytest.fixture(autouse=True)
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("leave", [False, True])
async def test_a_typed_secret_is_never_on_the_screen(leave: bool) -> None:
    app = make_app()
    app.verbs = Verbs((*ACTIONS, KEEP))
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        app.go("keep name=hf")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        dumps = [text_of(app)]
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, SecretScreen) and "HF_TOKEN for secret/hf" in text_of(app))
        await pilot.press(*TOKEN)
        await until(pilot, lambda: app.screen.query_one(Input).value == TOKEN)
        dumps.append(text_of(app))
        await pilot.press("escape" if leave else "enter")
        kube = app.fakes[0].kube
        await until(pilot, lambda: not isinstance(app.screen, SecretScreen) and ("nothing was changed" if leave else "done") in text_of(app))
        dumps.append(text_of(app))
        sent = [body for method, _, body in kube.asked if method == "POST"]
        assert [body["data"] for body in sent if body["kind"] == "Secret"] == (
            [] if leave else [{"HF_TOKEN": base64.b64encode(TOKEN.encode()).decode()}]
        )
        assert TOKEN not in "".join(dumps)
        assert len(list(Journal().entries())) == (0 if leave else 1)
        if not leave:
            text = Journal().path.read_text()
            assert TOKEN not in text and sent[0]["data"]["HF_TOKEN"] not in text


async def test_the_form_shows_the_manifest_of_what_is_typed() -> None:
    app = make_app()
    app.verbs = Verbs((*ACTIONS, KEEP))
    async with app.run_test(size=(140, 36), notifications=True) as pilot:
        await opened(pilot)
        app.push_screen(FormScreen(KEEP, app.scene.snapshot, {}))
        await until(pilot, lambda: "Manifest" in text_of(app) and "nprocPerNode: '8'" in text_of(app))
        assert "\x1b" not in text_of(app) and "kind: Secret" not in text_of(app)
