"""A Kube that is connected to a scripted server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cockpit.clients.kube import Kube
from tests.servers import Request, Server, kubeconfig

Answer = Callable[[Request], None]


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Callable[..., tuple[Kube, Server]]]:
    open_: list[Server] = []

    def connect(answer: Answer, timeout_seconds: float = 5.0) -> tuple[Kube, Server]:
        server = Server(answer)
        open_.append(server)
        return Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url), timeout_seconds=timeout_seconds), server

    yield connect
    for server in open_:
        server.close()


@pytest.fixture(autouse=True)
def no_cluster_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
