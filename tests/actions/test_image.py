"""A training image: the Dockerfile, and docker and ECR as they are called, with the password on stdin alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from actions.image import Params, checked, dockerfile
from cockpit.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
DOCKER = """#!/bin/sh
stdin=$(cat)
printf '%s\\n' "$*" >> "$RECORD/argv"
printf '%s' "$stdin" > "$RECORD/stdin-$1"
env > "$RECORD/env-$1"
echo "docker $1 says so"
[ "$1" != "$FAILS" ] || { echo "no space left" >&2; exit 17; }
"""


@pytest.fixture
def aws() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def machine(tmp_path: Path, aws: str) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "RECORD": str(tmp_path),
        "FAILS": "",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
        "AWS_REGION": "us-west-2",
        "PYTHONPATH": str(ROOT),
    }


def cockpit(machine: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "cockpit", "--action", "image", *words]
    return subprocess.run(argv, env=machine, cwd=machine["HOME"], capture_output=True, text=True, timeout=120)


def test_push_logs_in_builds_and_pushes_in_order_and_shows_no_password(machine: dict[str, str], tmp_path: Path) -> None:
    said = cockpit(machine, "--repository", "toe/train", "--tag", "v1", "--push", "-o", "json")
    assert said.returncode == 0, said.stderr
    image = "123456789012.dkr.ecr.us-west-2.amazonaws.com/toe/train:v1"
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[0] == "login --username AWS --password-stdin 123456789012.dkr.ecr.us-west-2.amazonaws.com"
    assert argv[1:] == [f"build --platform linux/amd64 -t {image} -f - .", f"push {image}"]
    password = (tmp_path / "stdin-login").read_text()
    assert len(password) > 8 and (tmp_path / "stdin-build").read_text().startswith("FROM public.ecr.aws/deep-learning-containers/")
    places = [said.stdout, said.stderr, *argv, *((tmp_path / f"env-{verb}").read_text() for verb in ("login", "build", "push"))]
    assert not any(password in place for place in places)
    lines = [one["line"] for one in json.loads(said.stdout)["result"]]
    assert "ECR repository toe/train: created" in lines and "docker push says so" in lines
    again = cockpit(machine, "--repository", "toe/train", "--push")
    assert "there already" in again.stdout


def test_a_build_that_fails_ends_it_with_its_last_line(machine: dict[str, str], tmp_path: Path) -> None:
    said = cockpit(machine | {"FAILS": "build"}, "--repository", "toe", "--push")
    assert said.returncode == 1 and "docker failed (17): no space left" in said.stderr
    assert not (tmp_path / "stdin-push").exists()


def test_without_docker_the_commands_are_printed(machine: dict[str, str]) -> None:
    (Path(machine["HOME"]) / "bin" / "docker").unlink()
    said = cockpit(machine, "--repository", "toe", "--push")
    assert said.returncode == 0 and "docker is not installed" in said.stderr
    assert "docker login --username AWS --password-stdin" in said.stdout and "docker push" in said.stdout


def test_without_credentials_or_a_region_it_says_so(machine: dict[str, str]) -> None:
    lacking = {name: value for name, value in machine.items() if name != "AWS_REGION"}
    assert cockpit(lacking, "--repository", "toe", "--push").returncode == 2
    anonymous = {name: value for name, value in machine.items() if not name.endswith(("_ID", "_KEY"))} | {"AWS_EC2_METADATA_DISABLED": "true"}
    said = cockpit(anonymous, "--repository", "toe", "--push")
    assert said.returncode == 3 and "no AWS credentials" in said.stderr
    assert cockpit(machine | {}, "--repository", "toe", "--push", "--readonly").returncode == 4


def test_the_dockerfile_installs_requirements_on_the_base_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("transformers\n")
    text = dockerfile(Params("toe", base="ngc", requirements=str(tmp_path / "requirements.txt"), folder=str(tmp_path)))
    assert text.startswith("FROM nvcr.io/nvidia/pytorch") and "COPY requirements.txt /tmp/requirements.txt" in text and "COPY . /workspace" in text
    assert "COPY" not in dockerfile(Params("toe", base="my/own:1"))


@pytest.mark.parametrize(
    "given",
    [{"repository": "A b"}, {"repository": "toe", "tag": "-x"}, {"repository": "toe", "base": "-v"}, {"repository": "toe", "requirements": "/nope"},
     {"repository": "toe", "folder": "/nope"}, {"repository": "toe", "requirements": os.devnull}],
)  # fmt: skip
def test_what_cannot_be_is_bad_input(given: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        checked(Params(**given))
