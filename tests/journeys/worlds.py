"""A practice cluster of its own for a journey: started and stopped as a person would, in folders of its own, with nothing left behind."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOREIGN = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "NO_COLOR", "TERM_PROGRAM", "COCKPIT_SIM_HOME")
PATIENCE_SECONDS = 60.0
T = TypeVar("T")


def eventually(look: Callable[[], T], what: str = "", seconds: float = PATIENCE_SECONDS) -> T:
    """The first true value of `look`; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"never came within {seconds:g} s: {what or look}"
        threading.Event().wait(0.05)


@dataclass(frozen=True)
class Said:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class World:
    """One practice cluster, the folders around it, and its API spoken to directly."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "sim"
        self.kubeconfig = str(self.home / "kubeconfig")
        self.settings = {
            "HOME": str(folder),
            "COCKPIT_SIM_HOME": str(self.home),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.facts: dict[str, Any] = {}

    @property
    def env(self) -> dict[str, str]:
        """The environment of everything that is started here."""
        return {name: value for name, value in os.environ.items() if name not in FOREIGN} | self.settings

    # -- its life ---------------------------------------------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> dict[str, Any]:
        """Start it and wait until it is ready; its facts."""
        said = self.run("-m", "cockpit.sim", "start", *arguments)
        assert said.code == 0, said.err
        self.facts = json.loads(said.out)
        return self.facts

    def signal(self, number: int) -> None:
        os.kill(int(self.facts["pid"]), number)

    def stop(self) -> None:
        """Stop it; no process of it may be left."""
        assert self.run("-m", "cockpit.sim", "stop").code == 0
        eventually(lambda: not self.processes(), "the processes of the practice cluster end", 10)

    def processes(self) -> list[int]:
        """Every process that has to do with this world's folder, by its command line, folder or environment."""
        mark, found = os.fsencode(str(self.folder)), []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() + os.fsencode(os.readlink(entry / "cwd"))
            except OSError:
                continue
            if mark in told and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return found

    # -- speaking to it ---------------------------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, stdin: str = "") -> Said:
        """A Python command line, to its end."""
        done = subprocess.run(
            [sys.executable, *arguments], cwd=REPOSITORY, env=self.env, input=stdin.encode(), capture_output=True, timeout=150, check=False
        )
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def cockpit(self, *words: str) -> Said:
        """`cockpit WORDS` on this practice cluster."""
        return self.run("-m", "cockpit", "--kubeconfig", self.kubeconfig, *words)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json", expect: int | None = None) -> Any:
        """One request to the API as its admin; the decoded answer."""
        server = self.facts["server"].rsplit(":", 1)
        context = ssl.create_default_context(cafile=str(self.home / "ca.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", int(server[1]), timeout=20, context=context)
        headers = {"Authorization": f"Bearer {(self.home / 'token').read_text().strip()}", "Content-Type": content_type}
        connection.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status == expect if expect else response.status < 400, text[:500]
        return json.loads(text) if text.startswith(b"{") else text.decode(errors="replace")

    def patch(self, path: str, body: Any, content_type: str = "application/merge-patch+json") -> Any:
        return self.ask("PATCH", path, body, content_type)

    def node(self, index: int = 0) -> str:
        """The name of a GPU node."""
        nodes = self.ask("GET", "/api/v1/nodes?labelSelector=karpenter.sh/nodepool%3Dgpu-efa")["items"]
        return str(nodes[index]["metadata"]["name"])


@contextmanager
def world_at(folder: Path, *arguments: str) -> Iterator[World]:
    """A running practice cluster in this folder, gone without a trace afterwards; the test process itself sees no other."""
    world = World(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        for name, value in world.settings.items():
            patch.setenv(name, value)
        world.start(*arguments)
        try:
            yield world
        finally:
            world.stop()


def idle_scenario(folder: Path) -> Path:
    """Scenario small without its background job, as a file."""
    small = (REPOSITORY / "cockpit/sim/scenarios/small.yaml").read_text()
    path = folder / "idle.yaml"
    path.write_text(small.partition("\nfiles:")[0].replace("name: small", "name: idle") + "\n")
    return path
