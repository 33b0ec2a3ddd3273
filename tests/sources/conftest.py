"""A source that watches a scripted API."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cockpit.clients.kube import Kube
from cockpit.model import State
from cockpit.sources import load, reflect
from cockpit.store import Store
from tests.servers import Server, kubeconfig
from tests.sources.clusters import Collection


class World:
    """A server with collections, a store, and a source that watches."""

    def __init__(self, folder: Path, source: str, *collections: Collection) -> None:
        self.collections = {one.path: one for one in collections}
        self.server = Server(lambda request: (self.collections.get(request.path) or Collection("")).answer(request))
        self.store = Store()
        self.kube = Kube.connect(kubeconfig=kubeconfig(folder, self.server.url), timeout_seconds=5.0)
        self.stop = threading.Event()
        self.source = load(source)
        self.thread = threading.Thread(target=self.source.watch, args=(self.kube, self.store, self.stop), daemon=True)

    def state(self) -> State | None:
        health = self.store.snapshot().health.get(self.source.name)
        return health.state if health else None

    def close(self) -> None:
        self.stop.set()
        for one in self.collections.values():
            one.closing.set()
        if self.thread.is_alive():
            self.thread.join(5)
            assert not self.thread.is_alive(), "the source did not end when it was stopped"
        self.server.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    monkeypatch.setattr(reflect, "BACKOFF_SECONDS", (0.01, 0.05))
    monkeypatch.setattr(reflect, "ABSENT_SECONDS", (0.05, 0.1))
    made: list[World] = []

    def make(source: str, *collections: Collection, watch: bool = True) -> World:
        made.append(World(tmp_path, source, *collections))
        if watch:
            made[-1].thread.start()
        return made[-1]

    yield make
    for one in made:
        one.close()
