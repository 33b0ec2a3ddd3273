"""A Hugging Face token: named by its Secret, read as the Secret is made, and in nothing that is shown, kept or sent elsewhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from actions.core import Clients, Plan, load, parse
from actions.core.apply import ApplyFailed, apply
from actions.core.journal import Journal
from actions.core.manifest_files import written_out
from actions.core.sealing import MASK, STAND_IN
from cockpit.errors import ActionFailed, BadInput
from cockpit.model import PodKey, Runtime
from cockpit.snapshot import Snapshot
from tests.actions.pictures import PYTORCHJOB, FakeKube, claim, node, picture, price, trainjob

LAUNCH = load("launch")
TOKEN = "hf_NobodyMayEverReadThis"
ENCODED = base64.b64encode(TOKEN.encode()).decode()
REFERENCE = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "run-hf-token", "key": "HF_TOKEN"}}}


def cluster(**rows: Any) -> Snapshot:
    runtime = Runtime(PodKey("", "torch-distributed"), "1", "torch")
    given = {"served": [PYTORCHJOB], "nodes": [node("n1")], "prices": [price()], "volumeclaims": [claim()], "runtimes": [runtime]}
    return picture(**(given | rows))


def planned(shown: Snapshot | None = None, **given: Any) -> Plan:
    assert LAUNCH.plan is not None
    return LAUNCH.plan(shown or cluster(), parse(LAUNCH.params, {"name": "run", **given}))


def silent(text: str) -> None:
    assert TOKEN not in text and ENCODED not in text


def test_the_secret_comes_first_and_the_plan_does_not_hold_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", TOKEN)
    plan = planned(hf_token_from_env="MINE")
    first = plan.changes[0]
    assert (first.verb, str(first.target), dict(first.sealed)) == ("create", "secret/run-hf-token -n default", {"HF_TOKEN": "env:MINE"})
    silent(repr(plan))
    silent(json.dumps([change.to_dict() for change in plan.changes]))
    silent(written_out(plan.changes))
    assert "kind: Secret" not in written_out(plan.changes)


@pytest.mark.parametrize("kind", ["PyTorchJob", "podSpecOverrides", "podTemplateOverrides", "runtimePatches"])
def test_the_ranks_read_it_from_the_secret_in_every_shape(kind: str) -> None:
    served = PYTORCHJOB if kind == "PyTorchJob" else trainjob(kind)
    body = dict(planned(cluster(served=[served]), hf_secret="run-hf-token").changes[1].body or {})
    replicas = body["spec"].get("pytorchReplicaSpecs")
    env = replicas["Master"]["template"]["spec"]["containers"][0]["env"] if replicas else body["spec"]["trainer"]["env"]
    assert REFERENCE in env


def test_a_restored_job_takes_the_secret_that_is_there() -> None:
    body = planned(hf_token_prompt=True).changes[2].body or {}
    kept = json.loads(body["metadata"]["annotations"]["cockpit.dev/launch"])
    assert kept["hf_secret"] == "run-hf-token"
    assert not {"hf_token_prompt", "hf_token_from_env"} & kept.keys()


def applied(kube: FakeKube, tmp_path: Path, ask: Any = None, dry_run: bool = False, **given: Any) -> Any:
    plan = planned(**given)
    clients = Clients(kube=kube, ask=ask)
    return apply(plan, clients, action="launch", params=plan.params, dry_run=dry_run, journal=Journal(tmp_path / "journal"))


def test_only_the_secret_is_sent_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", TOKEN)
    kube = FakeKube()
    result = applied(kube, tmp_path, hf_token_from_env="MINE")
    (method, path, _, body), *others = kube.calls
    assert (method, path, body["data"]) == ("POST", "/api/v1/namespaces/default/secrets", {"HF_TOKEN": ENCODED})
    silent(json.dumps(others))
    silent(json.dumps(result.to_dict()))
    silent((tmp_path / "journal").read_text())


def test_a_typed_token_is_asked_for_once_and_a_dry_run_sends_a_stand_in(tmp_path: Path) -> None:
    asked: list[str] = []
    kube = FakeKube()
    applied(kube, tmp_path, lambda question: asked.append(question) or TOKEN, hf_token_prompt=True)
    assert asked == ["HF_TOKEN for secret/run-hf-token -n default:"]
    assert kube.calls[0][3]["data"] == {"HF_TOKEN": ENCODED}
    dry = FakeKube()
    applied(dry, tmp_path, None, dry_run=True, hf_token_prompt=True)
    assert base64.b64decode(dry.calls[0][3]["data"]["HF_TOKEN"]).decode() == STAND_IN


@pytest.mark.parametrize("given", [{"hf_token_from_env": "NOT_SET_ANYWHERE"}, {"hf_token_prompt": True}])
def test_without_a_token_nothing_is_made(tmp_path: Path, given: dict[str, Any]) -> None:
    kube = FakeKube()
    with pytest.raises(ApplyFailed) as raised:
        applied(kube, tmp_path, **given)
    assert (raised.value.exit_code, kube.calls, (tmp_path / "journal").exists()) == (2, [], False)


def test_what_a_server_repeats_of_it_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", TOKEN)

    def refuse(method: str, path: str) -> dict[str, Any]:
        raise ActionFailed(f"webhook denied {TOKEN}", f"data was {ENCODED}")

    with pytest.raises(ApplyFailed) as raised:
        applied(FakeKube(refuse), tmp_path, hf_token_from_env="MINE")
    silent(f"{raised.value} {raised.value.hint} {raised.value.__cause__!r} {raised.value.result.to_dict()}")
    assert MASK in raised.value.message
    silent((tmp_path / "journal").read_text())


@pytest.mark.parametrize("given", [{"hf_token_from_env": TOKEN}, {"hf_secret": TOKEN}, {"hf_token_from_env": "A", "hf_token_prompt": True}])
def test_a_token_in_the_place_of_a_name_is_not_repeated(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as raised:
        planned(**given)
    silent(f"{raised.value.message} {raised.value.hint}")
