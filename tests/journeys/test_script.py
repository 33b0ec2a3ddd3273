"""The same from a script: data on stdout, narration on stderr, one exit code for each kind of end, and a journal of what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.worlds import Said, World, idle_scenario, world_at

FLIGHT = ("--action", "launch", "--strategy", "ddp", "--nodes", "2", "--nproc", "2", "--steps", "20", "--wait", "-o", "json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("script"), "--trainer", "2.3") as one:
        yield one


@pytest.fixture(scope="module")
def flown(world: World) -> dict[str, Any]:
    """The answer of one launch that was waited for; the practice cluster is found by --sim alone."""
    said = world.run("-m", "cockpit", "--sim", *FLIGHT)
    assert said.code == 0, said.err
    answer: dict[str, Any] = said.json
    return answer


def journal(world: World) -> list[dict[str, Any]]:
    """The lines of the journal, oldest first."""
    files = sorted((world.folder / "state").rglob("*.jsonl"))
    return [json.loads(line) for one in files for line in one.read_text().splitlines()]


def refused(said: Said, code: int) -> dict[str, str]:
    """The error of a command line that had to fail with this exit code and still print one object."""
    assert said.code == code, (said.code, said.out, said.err)
    answer = said.json
    assert answer["ok"] is False and "Traceback" not in said.err
    error: dict[str, str] = answer["error"]
    return error


def test_a_launch_that_is_waited_for_answers_with_four_ranks_and_a_lower_loss(flown: dict[str, Any]) -> None:
    result = flown["result"]
    assert (flown["ok"], flown["simulated"], flown["cluster"], flown["error"]) == (True, True, "practice", None)
    assert (result["kind"], result["phase"], result["ranks"], result["steps"]) == ("PyTorchJob", "succeeded", 4, 20)
    assert result["loss_last"] < result["loss_first"] and result["seconds"] > 0
    assert result["job"] == "ddp-1" and flown["journal_id"]


def test_its_log_is_that_of_all_ranks_merged_by_time(world: World, flown: dict[str, Any]) -> None:
    said = world.cockpit("--action", "logs", "--job", flown["result"]["job"], "-o", "json")
    records = said.json["result"]
    assert said.code == 0 and {record["rank"] for record in records if record["rank"] is not None} >= {0, 1, 2, 3}
    times = [record["time"] for record in records if record["time"]]
    assert times == sorted(times) and len(records) > 80
    tail = world.cockpit("--action", "logs", "--job", flown["result"]["job"], "--grep", '"step": 20', "--tail", "4")
    assert tail.code == 0 and len(tail.out.splitlines()) == 4 and all('"step": 20' in line for line in tail.out.splitlines())


def test_the_views_list_what_is_there(world: World, flown: dict[str, Any]) -> None:
    jobs = {one["name"]: one for one in world.cockpit("--action", "jobs", "-o", "json").json["result"]}
    assert jobs["ddp-1"]["phase"] == "succeeded" and jobs["llama-pretrain"]["phase"] in ("training", "rendezvous")
    for view, least in (("nodes", 6), ("nodepools", 3), ("gpus", 32), ("efa", 128), ("queues", 1)):
        said = world.cockpit("--action", view, "-o", "json")
        assert said.code == 0 and len(said.json["result"]) >= least, (view, said.out[:300], said.err)
        table = world.cockpit("--action", view)
        assert table.code == 0 and len(table.out.splitlines()) > least


def test_closing_and_opening_a_node_is_done_once_and_written_down(world: World) -> None:
    name = world.node(2)
    dry = world.cockpit("--action", "cordon", "--node", name, "--dry-run", "-o", "json")
    assert dry.code == 0 and dry.json["dry_run"] and len(dry.json["changes"]) == 1
    assert not world.ask("GET", f"/api/v1/nodes/{name}")["spec"].get("unschedulable")
    done = world.cockpit("--action", "cordon", "--node", name, "--reason", "xid 79", "-o", "json")
    node = world.ask("GET", f"/api/v1/nodes/{name}")
    assert done.code == 0 and node["spec"]["unschedulable"] and node["metadata"]["annotations"]["cockpit.dev/cordon-reason"] == "xid 79"
    assert any(line.get("action") == "cordon" for line in journal(world))
    again = world.cockpit("--action", "cordon", "--node", name, "-o", "json")
    assert again.code == 0 and not again.json["changes"] and "already" in again.json["result"]
    readonly = refused(world.cockpit("--readonly", "--action", "uncordon", "--node", name, "-o", "json"), 4)
    assert "--readonly" in readonly["message"] and world.ask("GET", f"/api/v1/nodes/{name}")["spec"]["unschedulable"]
    assert world.cockpit("--action", "uncordon", "--node", name, "-o", "json").code == 0
    node = world.ask("GET", f"/api/v1/nodes/{name}")
    assert not node["spec"].get("unschedulable") and "cockpit.dev/cordon-reason" not in node["metadata"].get("annotations", {})


def test_a_dry_run_of_a_launch_creates_nothing(world: World, flown: dict[str, Any]) -> None:
    before = world.ask("GET", "/apis/kubeflow.org/v1/pytorchjobs")["items"]
    said = world.cockpit("--action", "launch", "--name", "never", "--dry-run", "-o", "json")
    assert said.code == 0 and [change["verb"] for change in said.json["changes"]] == ["apply", "create"]
    after = world.ask("GET", "/apis/kubeflow.org/v1/pytorchjobs")["items"]
    assert len(after) == len(before)
    world.ask("GET", "/api/v1/namespaces/default/configmaps/never-training", expect=404)


def test_stopping_needs_yes_and_leaves_nothing_of_the_job(world: World, flown: dict[str, Any]) -> None:
    asked = refused(world.cockpit("--action", "stop", "--job", "ddp-1", "-o", "json"), 4)
    assert "--yes" in asked["message"]
    assert world.cockpit("--action", "stop", "--job", "ddp-1", "--yes", "--wait", "-o", "json").code == 0
    world.ask("GET", "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/ddp-1", expect=404)
    again = world.cockpit("--action", "stop", "--job", "ddp-1", "--yes", "-o", "json")
    assert again.code == 0 and again.json["result"] == {"already": "ddp-1 already gone"} and not again.json["changes"]
    typo = world.cockpit("--action", "stop", "--job", "llama-pretrian", "--yes", "-o", "json")
    assert typo.code == 0 and not typo.json["changes"] and "did you mean llama-pretrain" in typo.json["warnings"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--action", "lanch"), "launch"),
        (("--action", "launch", "--strateg", "ddp"), "--strategy"),
        (("--action", "launch", "--strategy", "dpp"), "ddp"),
        (("--action", "launch", "--nodes", "two"), "--nodes"),
        (("--action", "launch", "--nodepool", "gpu-efo"), "gpu-efa"),
        (("--action", "cordon", "--node", "ip-10-0-24-117.ap-northeast-2.compute.internal"), "ip-10-0-24-118"),
        (("--action", "logs", "--job", "llama-pretrian"), "llama-pretrain"),
    ],
)
def test_unknown_words_are_answered_with_the_nearest_and_exit_2(world: World, words: tuple[str, ...], said: str) -> None:
    answer = world.cockpit(*words, "-o", "json")
    error = refused(answer, 2)
    assert said in error["message"] + error["hint"], error


def test_an_unknown_context_is_answered_with_those_there_are(world: World) -> None:
    error = refused(world.cockpit("--action", "jobs", "--context", "practise", "-o", "json"), 3)
    assert "practise" in error["message"] and "practice" in error["hint"], error


def test_more_gpus_than_any_pool_can_give_is_refused_with_the_arithmetic(world: World) -> None:
    error = refused(world.cockpit("--action", "launch", "--nodes", "40", "--nproc", "8", "-o", "json"), 4)
    assert "40 pods x 8 GPUs = 320 GPUs" in error["message"] and "pool gpu-efa may add 32 GPUs" in error["message"], error
    assert world.ask("GET", "/apis/kubeflow.org/v1/pytorchjobs?labelSelector=app.kubernetes.io/managed-by%3Dcockpit")["items"] == []


def test_a_dead_api_and_no_kubeconfig_say_what_was_tried_and_exit_3(world: World) -> None:
    dead = world.folder / "dead"
    dead.write_text(Path(world.kubeconfig).read_text().replace(world.facts["server"], "https://127.0.0.1:1"))
    error = refused(world.run("-m", "cockpit", "--kubeconfig", str(dead), "--action", "jobs", "-o", "json"), 3)
    assert "127.0.0.1:1" in error["message"] and error["hint"]
    error = refused(world.run("-m", "cockpit", "--action", "jobs", "-o", "json"), 3)
    assert "kubeconfig" in error["message"] and "--sim" in error["hint"], error


def test_expired_credentials_say_so_and_exit_3(world: World) -> None:
    token = (world.home / "token").read_text().strip()
    expired = world.folder / "expired"
    expired.write_text(Path(world.kubeconfig).read_text().replace(token, "expired"))
    error = refused(world.run("-m", "cockpit", "--kubeconfig", str(expired), "--action", "jobs", "-o", "json"), 3)
    assert error["code"] == "not-authorised" and error["hint"]


def test_a_trainjob_flies_by_the_trainer_of_today(world: World) -> None:
    trainjob_flies(world)


def test_a_trainjob_flies_by_an_older_trainer(tmp_path: Path) -> None:
    with world_at(tmp_path, "--trainer", "2.1", "--scenario", str(idle_scenario(tmp_path))) as world:
        trainjob_flies(world)


def trainjob_flies(world: World) -> None:
    words = ("--action", "launch", "--kind", "TrainJob", "--nodes", "2", "--steps", "5", "--name", "trainer", "--wait", "-o", "json")
    said = world.cockpit(*words)
    assert said.code == 0, said.err
    result = said.json["result"]
    assert (result["kind"], result["phase"], result["ranks"]) == ("TrainJob", "succeeded", 2) and result["loss_last"] < result["loss_first"]


def test_the_practice_cluster_is_stopped_by_an_action_and_leaves_no_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    with world_at(tmp_path_factory.mktemp("stop"), "--scenario", "empty") as world:
        assert world.processes()
        said = world.run("-m", "cockpit", "--action", "sim-stop", "-o", "json")
        assert said.code == 0 and said.json["ok"], said.err
        assert not world.processes()
        assert world.run("-m", "cockpit", "--action", "sim-stop", "-o", "json").code == 0
