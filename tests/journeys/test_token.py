"""A launch that reads a Hugging Face token: it reaches the ranks by its Secret, and grep finds it nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.worlds import World, eventually

TOKEN = "hf_OnlyTheSecretMayHoldThis"
ENCODED = base64.b64encode(TOKEN.encode()).decode()
SCRIPT = 'import hashlib, os\nprint("sum", hashlib.sha256(os.environ["HF_TOKEN"].encode()).hexdigest())\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    made.start()
    yield made
    made.stop()


def silent(what: str, where: str) -> None:
    assert TOKEN not in what and ENCODED not in what, where


def command_lines(world: World) -> str:
    """The words of every process of this world."""
    found = [Path(f"/proc/{number}/cmdline") for number in world.processes()]
    return "\n".join(one.read_bytes().decode(errors="replace") for one in found if one.exists())


def test_the_token_is_in_the_secret_and_nowhere_else(world: World, tmp_path: Path) -> None:
    import hashlib

    script, saved = tmp_path / "own.py", tmp_path / "saved.yaml"
    script.write_text(SCRIPT)
    words = ("--action", "launch", "--name", "gated", "--script", str(script), "--hf-token-from-env", "MINE", "-o", "yaml")
    world.settings["MINE"] = TOKEN
    said = [world.cockpit(*words, "--save", str(saved)), world.cockpit(*words, "--dry-run"), world.cockpit(*words)]
    seen = command_lines(world)
    said.append(world.cockpit(*words))
    del world.settings["MINE"]
    assert [one.code for one in said] == [0, 0, 0, 4], said[-1].err
    path = "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/gated"
    eventually(lambda: "Succeeded" in json.dumps(world.ask("GET", path)["status"]), "the job ends")
    said.append(world.cockpit("--action", "logs", "--job", "gated", "-o", "json"))
    assert hashlib.sha256(TOKEN.encode()).hexdigest() in said[-1].out

    secret = world.ask("GET", "/api/v1/namespaces/default/secrets/gated-hf-token")
    assert secret["data"] == {"HF_TOKEN": ENCODED}
    for one in said:
        silent(one.out + one.err, "what was said")
    silent(saved.read_text(), "the saved manifest")
    silent(seen + command_lines(world), "argv")
    for file in (one for one in world.folder.rglob("*") if one.is_file()):
        silent(file.read_bytes().decode(errors="replace"), str(file))
    for resource in ("pods", "configmaps", "events"):
        silent(json.dumps(world.ask("GET", f"/api/v1/namespaces/default/{resource}")), resource)
    silent(json.dumps(world.ask("GET", path)), "the job")
