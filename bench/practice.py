"""A practice cluster of the size the promises speak of, with a state folder of its own, stopped when it is no longer needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.terminal import ROOT
from cockpit.clients.kube import Kube

NODES, PODS = 5_000, 50_000
STILL = Path(__file__).with_name("still.yaml")
RATE = "/api/v1/namespaces/kube-system/configmaps/practice-changes"


@dataclass(frozen=True)
class Practice:
    """A running practice cluster: its kubeconfig, and the environment in which the cockpit keeps nothing of this machine's user."""

    kubeconfig: str
    env: dict[str, str]

    def cockpit(self, *words: str) -> list[str]:
        """The command line of a cockpit on this cluster."""
        return [sys.executable, "-m", "cockpit", "--kubeconfig", self.kubeconfig, *words]

    def change(self, per_second: int) -> None:
        """From now on so many objects change each second."""
        kube = Kube.connect(kubeconfig=self.kubeconfig)
        body = {"data": {"changesPerSecond": str(per_second)}}
        kube.request("PATCH", RATE, body=body, content_type="application/merge-patch+json")
        kube.close()


@contextmanager
def practice(nodes: int = NODES, pods: int = PODS) -> Iterator[Practice]:
    """Scenario `big` without exporters and with nothing changing; stopped at the end whatever happens."""
    with tempfile.TemporaryDirectory(prefix="cockpit-bench-") as folder:
        env = {"COCKPIT_SIM_HOME": str(Path(folder, "sim"))}
        env |= {f"XDG_{kind}_HOME": str(Path(folder, kind.lower())) for kind in ("STATE", "CONFIG", "CACHE")}
        size = ("--nodes", str(nodes), "--pods", str(pods), "--changes-per-second", "0")
        try:
            said = _sim(env, "start", "--scenario", str(STILL), *size)
            yield Practice(json.loads(said.splitlines()[-1])["kubeconfig"], env)
        finally:
            _sim(env, "stop")


def _sim(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "cockpit.sim", *words]
    done = subprocess.run(command, env={**os.environ, **env}, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=180)
    return done.stdout
