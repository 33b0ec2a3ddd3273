"""LIST and decode of 5,000 nodes against the official client's typed models, and what 50,000 pods weigh; each in a fresh process.

CPU seconds of the process, its imports not counted: each lists one node before the clock starts.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench.practice import NODES, PODS, Practice, practice
from bench.readings import Reading, tell
from bench.terminal import ROOT

ROUNDS = 3
TIMES_LESS = 10
LIMIT_MB = 60.0


def measure(cluster: Practice) -> Iterator[Reading]:
    """Times less CPU, and megabytes kept."""
    ours, official = [], []
    for _ in range(ROUNDS):
        ours.append(_fresh("nodes", cluster))
        official.append(_fresh("official", cluster))
    mine, theirs = median(ours), median(official)
    note = f"ours {mine:.2f} s CPU, official client {theirs:.2f} s"
    yield Reading("list-nodes-cpu-vs-official", theirs / mine, "x", TIMES_LESS, at_least=True, note=note)
    yield Reading("pods-kept", _fresh("pods", cluster), "MB", LIMIT_MB, note=f"resident growth by {PODS:,} pods")


def _fresh(what: str, cluster: Practice) -> float:
    command = [sys.executable, "-m", "bench.listing", what, cluster.kubeconfig]
    done = subprocess.run(command, env={**os.environ, **cluster.env}, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return float(done.stdout)


# -- in the fresh processes ------------------------------------------------------------------------------------------------------------------


def cpu_of_nodes(kubeconfig: str) -> float:
    """CPU seconds of our nodes source, into the store."""
    from cockpit.clients.kube import Kube
    from cockpit.sources import load
    from cockpit.store import Store

    kube, store = Kube.connect(kubeconfig=kubeconfig, timeout_seconds=60.0), Store()
    kube.request("GET", "/api/v1/nodes", params={"limit": "1"})
    source = load("nodes")
    spent = _cpu_seconds(lambda: source.list(kube, store))
    _whole(len(store.snapshot().nodes), NODES)
    return spent


def cpu_of_official(kubeconfig: str) -> float:
    """CPU seconds of the official client's typed list, page by page as ours."""
    from kubernetes import client, config  # type: ignore[import-untyped,unused-ignore]

    config.load_kube_config(kubeconfig)
    api = client.CoreV1Api()
    api.list_node(limit=1)
    found: list[object] = []

    def read() -> None:
        token = None
        while token != "":
            page = api.list_node(limit=500, _continue=token)
            found.extend(page.items)
            token = page.metadata._continue or ""

    spent = _cpu_seconds(read)
    _whole(len(found), NODES)
    return spent


def kept_by_pods(kubeconfig: str) -> float:
    """Megabytes by which the process grows when it keeps every pod."""
    from cockpit.clients.kube import Kube
    from cockpit.sources import load
    from cockpit.store import Store

    kube, store = Kube.connect(kubeconfig=kubeconfig, timeout_seconds=60.0), Store()
    kube.request("GET", "/api/v1/pods", params={"limit": "1"})
    source = load("pods")
    gc.collect()
    before = resident_bytes()
    source.list(kube, store)
    gc.collect()
    _whole(len(store.snapshot().pods), PODS)
    return (resident_bytes() - before) / 1e6


def resident_bytes() -> int:
    """The resident memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _whole(found: int, wanted: int) -> None:
    if found != wanted:
        raise SystemExit(f"{found} of {wanted} objects were listed: this measures nothing")


PARTS = {"nodes": cpu_of_nodes, "official": cpu_of_official, "pods": kept_by_pods}


def main() -> None:
    """Measure; with a part and a kubeconfig be that part."""
    if len(sys.argv) == 3:
        print(PARTS[sys.argv[1]](sys.argv[2]))
        return
    with practice() as cluster:
        tell(measure(cluster))


if __name__ == "__main__":
    main()
