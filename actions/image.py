"""A training image of one's own: Dockerfile, ECR repository, build and push."""

from __future__ import annotations

import base64
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from actions.core import Action, Clients, Risk, param
from actions.core.render import ROOT
from cockpit.errors import BadInput
from cockpit.snapshot import Snapshot

BASES = {
    "dlc": "public.ecr.aws/deep-learning-containers/pytorch-training:2.8.0-gpu-py312-cu129-ubuntu22.04-ec2-v1.0",
    "ngc": "nvcr.io/nvidia/pytorch:25.08-py3",
}
REPOSITORY = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*")
TAG = re.compile(r"\w[\w.-]{0,127}")
REFERENCE = re.compile(r"[\w][\w.:/@-]*")


@dataclass(frozen=True)
class Params:
    """What goes in, and where the image goes."""

    repository: str = param("name of the ECR repository")
    tag: str = param("tag of the image", "latest")
    base: str = param("dlc (AWS), ngc (NVIDIA), or an image of your own", "dlc")
    requirements: str = param("a requirements.txt to install", "")
    folder: str = param("folder that is copied to /workspace; its Dockerfile, if it has one, is used as it is", "")
    region: str = param("AWS region; by default the one configured", "")
    push: bool = param("build and push; without it the Dockerfile and the commands are shown", False)


@dataclass(frozen=True)
class Build:
    """Everything settled: the text of the Dockerfile, the folder, and the full name of the image."""

    dockerfile: str
    folder: Path
    own: bool
    name: str

    @property
    def registry(self) -> str:
        """The host that docker logs in to."""
        return self.name.partition("/")[0]


def checked(params: Params) -> None:
    """BadInput for a name, a tag, a base or a path that cannot be."""
    for flag, text, pattern in (
        ("--repository", params.repository, REPOSITORY),
        ("--tag", params.tag, TAG),
        ("--base", BASES.get(params.base, params.base), REFERENCE),
    ):
        if not pattern.fullmatch(text):
            raise BadInput(
                f"{flag} {text!r} cannot name one", "lower case letters, digits and . _ - /" if flag == "--repository" else "as docker writes it"
            )
    if params.requirements and not Path(params.requirements).is_file():
        raise BadInput(f"--requirements {params.requirements}: no such file")
    if params.folder and not Path(params.folder).is_dir():
        raise BadInput(f"--folder {params.folder}: no such folder")
    inside = Path(params.folder or ".").resolve()
    if params.requirements and not Path(params.requirements).resolve().is_relative_to(inside):
        raise BadInput(f"--requirements {params.requirements} lies outside of {inside}", "docker sees only its context: --folder")


def dockerfile(params: Params) -> str:
    """The Dockerfile on the chosen base."""
    text = (ROOT / "manifests" / "Dockerfile").read_text(encoding="utf-8")
    inside = Path(params.requirements).resolve().relative_to(Path(params.folder or ".").resolve()) if params.requirements else None
    install = f"COPY {inside} /tmp/requirements.txt\nRUN pip install -r /tmp/requirements.txt" if inside else ""
    holes = {"base": BASES.get(params.base, params.base), "requirements": install, "sources": "COPY . /workspace" if params.folder else ""}
    return "\n".join(line for line in Template(text).substitute(holes).splitlines() if line) + "\n"


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Mapping[str, Any]]:
    """Lines: the Dockerfile and the commands, or what docker says while it builds and pushes. The password goes to docker's stdin alone."""
    checked(params)
    aws = clients.aws.at(params.region)
    docker = clients.shell.which("docker") is not None
    account, region = _located(aws) if params.push and docker else ("ACCOUNT", params.region or "REGION")
    folder = Path(params.folder or ".")
    own = (folder / "Dockerfile").is_file() and bool(params.folder)
    name = f"{account}.dkr.ecr.{region}.amazonaws.com/{params.repository}:{params.tag}"
    build = Build((folder / "Dockerfile").read_text(encoding="utf-8") if own else dockerfile(params), folder, own, name)
    if not params.push or not docker:
        if params.push:
            yield {"note": "docker is not installed: these are the commands; --action doctor tells how to install it"}
        yield from ({"line": line} for line in (*build.dockerfile.splitlines(), "", *commands(params, build)))
        return
    yield from _made(clients.shell, aws, params, build, stop)


def commands(params: Params, build: Build) -> list[str]:
    """What a person types for the same."""
    region = f" --region {params.region}" if params.region else ""
    file = "" if build.own else " -f -"
    feed = "" if build.own else " < Dockerfile"
    folder = shlex.quote(str(build.folder))
    return [
        f"aws ecr create-repository --repository-name {params.repository} --image-scanning-configuration scanOnPush=true{region}",
        f"aws ecr get-login-password{region} | docker login --username AWS --password-stdin {build.registry}",
        f"docker build --platform linux/amd64 -t {build.name}{file} {folder}{feed}",
        f"docker push {build.name}",
    ]


def _located(aws: Any) -> tuple[str, str]:
    """Whose registry it is, and where."""
    return str(aws.call("sts", "get_caller_identity")["Account"]), str(aws.region)


def _password(aws: Any) -> str:
    """What docker logs in with; good for 12 hours, and never shown."""
    token = aws.call("ecr", "get_authorization_token")["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().partition(":")[2]


def _made(shell: Any, aws: Any, params: Params, build: Build, stop: threading.Event) -> Iterator[Mapping[str, Any]]:
    known = any(one.name == params.repository for one in aws.ask("repositories"))
    aws.change("create_repository", {"name": params.repository})
    yield {"line": f"ECR repository {params.repository}: {'there already' if known else 'created'}"}
    shell.run(("docker", "login", "--username", "AWS", "--password-stdin", build.registry), stdin=_password(aws))
    yield {"line": f"docker logged in to {build.registry}"}
    argv = ["docker", "build", "--platform", "linux/amd64", "-t", build.name, *([] if build.own else ["-f", "-"]), str(build.folder)]
    yield from ({"line": line} for line in shell.lines(argv, stop, stdin="" if build.own else build.dockerfile))
    if not stop.is_set():
        yield from ({"line": line} for line in shell.lines(("docker", "push", build.name), stop))
    if not stop.is_set():
        yield {"line": f"pushed {build.name}", "image": build.name}


def line(record: Mapping[str, Any], params: Params) -> str:
    """What docker said."""
    return str(record["line"])


ACTION = Action(
    name="image",
    title="Image",
    params=Params,
    risk=Risk.CHANGE,
    front=("shell",),
    records=records,
    streams=True,
    line=line,
    doc="Renders a Dockerfile on the AWS or NVIDIA base; with --push creates the ECR repository, builds and pushes, or prints the commands.",
)
