"""`cockpit --action nodes -o json`, cold, on 5,000 nodes: whole processes, in turn with what kubectl needs on the same API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

from bench.practice import Practice, practice
from bench.readings import Reading, tell
from bench.terminal import ROOT

ROUNDS = 5
FASTER_THAN_JSON = 5
OF_RAW = 2


def measure(cluster: Practice) -> Iterator[Reading]:
    """How many times faster than kubectl's JSON, and how much slower than its raw bytes and Python's start. Nothing without kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        print("command skipped: there is no kubectl on PATH to compare with", file=sys.stderr, flush=True)
        return
    theirs = [kubectl, "--kubeconfig", cluster.kubeconfig, "get"]
    ours, json, raw = [], [], []
    for _ in range(ROUNDS):
        ours.append(_seconds(cluster, cluster.cockpit("--action", "nodes", "-o", "json")))
        raw.append(_seconds(cluster, [*theirs, "--raw", "/api/v1/nodes"]) + _seconds(cluster, [sys.executable, "-c", "pass"]))
        json.append(_seconds(cluster, [*theirs, "nodes", "-o", "json"]))
    mine, whole, least = median(ours), median(json), median(raw)
    note = f"ours {mine:.2f} s, kubectl {whole:.2f} s"
    yield Reading("command-vs-kubectl-json", whole / mine, "x", FASTER_THAN_JSON, at_least=True, note=note)
    note = f"ours {mine:.2f} s, kubectl --raw and python's start {least:.2f} s"
    yield Reading("command-of-kubectl-raw", mine / least, "x", OF_RAW, note=note)


def _seconds(cluster: Practice, command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        command, env={**os.environ, **cluster.env}, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300
    )
    return time.perf_counter() - began


def main() -> None:
    """Measure on a practice cluster of its own."""
    with practice() as cluster:
        tell(measure(cluster))


if __name__ == "__main__":
    main()
