"""A big cluster in memory, and the screen over it: what the measurements look at. Run as a program it opens the screen on this terminal."""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from sys import intern
from types import SimpleNamespace
from typing import Any

from actions.core import Clients
from cockpit.model import DeviceKey, Gpu, Node, NodeName, Pod, PodKey
from cockpit.store import Store, Synced, Upsert

ZONES = tuple(intern(f"us-west-2{letter}") for letter in "abc")
SOURCES = ("api", "nodes", "pods", "jobs", "nodepools", "nodeclaims", "queues", "events", "served", "gpus", "efa", "prices", "progress")


def node(index: int) -> Node:
    """One of the nodes."""
    name = NodeName(intern(f"ip-10-{index >> 16}-{index >> 8 & 255}-{index & 255}.us-west-2.compute.internal"))
    return Node(
        name,
        "1",
        intern("p5.48xlarge"),
        ZONES[index % 3],
        intern("us-west-2"),
        intern("on-demand"),
        intern("gpu"),
        gpu_capacity=8,
        gpu_allocatable=8,
        ready=True,
    )


def pod(index: int, nodes: list[Node], restarts: int = 0) -> Pod:
    """One of the pods."""
    key = PodKey(intern(f"team-{index % 40}"), f"train-{index // 8}-worker-{index % 8}")
    return Pod(
        key, "1", intern("Running"), intern("Running"), nodes[index % len(nodes)].name, gpus=1 if index % 3 == 0 else 0, ready=True, restarts=restarts
    )


def filled(store: Store, nodes: int, pods: int, gpus_per_node: int = 0) -> list[Node]:
    """Fill a store; returns its nodes."""
    made = [node(index) for index in range(nodes)]
    store.apply(Upsert("nodes", "nodes", tuple(made)))
    for start in range(0, pods, 500):
        store.apply(Upsert("pods", "pods", tuple(pod(index, made) for index in range(start, min(pods, start + 500)))))
    if gpus_per_node:
        store.apply(Upsert("gpus", "gpus", tuple(_gpus(made, gpus_per_node))))
    store.apply(*(Synced(source) for source in SOURCES))
    return made


def _gpus(nodes: list[Node], each: int) -> Iterator[Gpu]:
    for one in nodes:
        for index in range(each):
            yield Gpu(DeviceKey(one.name, intern(str(index))), index, utilisation_percent=float(index * 12), power_watts=300.0)


@dataclass(frozen=True)
class Options:
    """What the screen is opened with."""

    namespace: str | None = None
    context: str | None = None
    readonly: bool = False
    sim: bool = False


class Crowd:
    """A session over that store, with `rate` changes a second from a thread."""

    def __init__(self, on_change: Callable[[], None], nodes: int, pods: int, rate: int, gpus: int = 0) -> None:
        self.store = Store(on_change)
        self.kube: Any = SimpleNamespace(cluster="crowd", context="crowd", namespace="default", simulated=True)
        self.clients = Clients()
        self._size, self._rate, self._gpus = (nodes, pods), rate, gpus
        self._stop = threading.Event()

    def watch(self, names: tuple[str, ...]) -> None:
        """Fill the store and begin to change it."""
        nodes = filled(self.store, *self._size, self._gpus)
        if self._rate:
            threading.Thread(target=self._change, args=(nodes,), daemon=True).start()

    def _change(self, nodes: list[Node]) -> None:
        dice, beat, restarts = random.Random(1), 0.02, 0
        due = time.monotonic()
        while not self._stop.is_set():
            restarts += 1
            for _ in range(int(self._rate * beat)):
                self.store.apply(Upsert("pods", "pods", (pod(dice.randrange(self._size[1]), nodes, restarts % 90),)))
            due += beat
            self._stop.wait(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Stop changing."""
        self._stop.set()


def main() -> None:
    """Open the screen over a crowd."""
    words = argparse.ArgumentParser()
    words.add_argument("--nodes", type=int, default=5000)
    words.add_argument("--pods", type=int, default=50_000)
    words.add_argument("--rate", type=int, default=0)
    words.add_argument("--gpus", type=int, default=0, help="per node")
    asked = words.parse_args()
    from cockpit.tui import skeleton

    skeleton.paint()
    from cockpit.tui.app import CockpitApp
    from cockpit.tui.terminal import driver

    def open_crowd(options: Any, on_change: Callable[[], None]) -> Crowd:
        return Crowd(on_change, asked.nodes, asked.pods, asked.rate, asked.gpus)

    CockpitApp(open_crowd, Options(), driver_class=driver()).run()


if __name__ == "__main__":
    main()
