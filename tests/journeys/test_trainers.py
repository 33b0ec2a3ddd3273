"""One launch as a TrainJob on every version of Trainer that the practice cluster serves: from the flags to the last step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.worlds import idle_scenario, world_at

SHAPES = {"2.1": "podTemplateOverrides", "2.3": "runtimePatches"}


@pytest.mark.parametrize("version", SHAPES)
def test_a_trainjob_flies_and_a_saved_one_flies_again(version: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved.yaml"
    words = ("--action", "launch", "--kind", "TrainJob", "--nodes", "2", "--nproc", "1", "--steps", "4", "--shm", "2Gi", "-o", "json")
    with world_at(tmp_path, "--scenario", str(idle_scenario(tmp_path)), "--trainer", version, "--pace", "0.2") as world:
        flown = world.cockpit(*words, "--name", "flown", "--wait")
        assert flown.code == 0, flown.err
        assert (flown.json["result"]["phase"], flown.json["result"]["ranks"]) == ("succeeded", 2)
        made = world.ask("GET", "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/flown")
        assert SHAPES[version] in made["spec"]
        assert world.cockpit(*words, "--name", "again", "--save", str(saved)).code == 0
        again = world.cockpit("--action", "launch", "-f", str(saved), "--wait", "-o", "json")
        assert again.code == 0, again.err
        assert (again.json["result"]["job"], again.json["result"]["phase"]) == ("again", "succeeded")
        restored = world.cockpit("--action", "restore", "--job", "again", "--steps", "6", "--dry-run", "-o", "json")
        assert (restored.code, restored.json["ok"]) == (0, True), restored.err
