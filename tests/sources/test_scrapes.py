"""Exporters through the pod proxy: clusters with no, silent, forbidden or too many exporters, and Karpenter's prices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.errors import Forbidden, NotServed, TimedOut
from cockpit.model import Node, NodeName, State
from cockpit.sources import load, prices, scrapes
from cockpit.sources.scrapes import Pace
from cockpit.store import Store, Upsert
from tests.servers import Request, Server, kubeconfig, until
from tests.sources.exporters import DCGM, EFA


class Exporters:
    """An API with exporter pods behind its proxy."""

    def __init__(self, folder: Path) -> None:
        self.pods: list[dict[str, Any]] = []
        self.texts: dict[str, Callable[[Request], None]] = {}
        self.selectors: list[str] = []
        self.forbid = False
        self.server = Server(self.answer)
        self.kube = Kube.connect(kubeconfig=kubeconfig(folder, self.server.url), timeout_seconds=5.0)
        self.store = Store()
        self.stop = threading.Event()

    def add(
        self, name: str, node: str, text: bytes | Callable[[Request], None], app: str = "dcgm-exporter", port: int = 9400, phase: str = "Running"
    ) -> None:
        container = {"name": "exporter", "ports": [{"name": "health", "containerPort": 1}, {"name": "metrics", "containerPort": port}]}
        self.pods.append(
            {
                "metadata": {"name": name, "namespace": "monitoring", "labels": {"app.kubernetes.io/name": app}},
                "spec": {"nodeName": node, "containers": [container]},
                "status": {"phase": phase},
            }
        )
        answer = text if callable(text) else (lambda request: request.bytes(text))
        self.texts[f"/api/v1/namespaces/monitoring/pods/{name}:{port}/proxy/metrics"] = answer

    def answer(self, request: Request) -> None:
        if self.forbid:
            request.status(403, "Forbidden", 'cannot get resource "pods/proxy"')
        elif request.path == "/api/v1/pods":
            selector = request.query.get("labelSelector", "")
            self.selectors.append(selector)
            chosen = [
                pod
                for pod in self.pods
                if selector.startswith("app.kubernetes.io/name") and pod["metadata"]["labels"]["app.kubernetes.io/name"] in selector
            ]
            request.json({"metadata": {}, "items": chosen})
        else:
            self.texts[request.path](request)

    def state(self, source: str) -> State | None:
        health = self.store.snapshot().health.get(source)
        return health.state if health else None


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporters]:
    monkeypatch.setattr(scrapes, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(scrapes, "ABSENT_SECONDS", (0.05, 0.1))
    monkeypatch.setattr(scrapes, "PACE", Pace(1000.0))
    found = Exporters(tmp_path)
    yield found
    found.stop.set()
    found.server.close()


def watch(api: Exporters, source: str) -> threading.Thread:
    thread = threading.Thread(target=load(source).watch, args=(api.kube, api.store, api.stop), daemon=True)
    thread.start()
    return thread


def test_every_node_with_an_exporter_has_gpus(api: Exporters) -> None:
    api.add("dcgm-1", "n1", DCGM)
    api.add("dcgm-2", "n2", DCGM, port=9401)
    api.add("dcgm-3", "n3", DCGM, phase="Pending")
    load("gpus").list(api.kube, api.store)
    assert {key.node for key in api.store.snapshot().gpus} == {"n1", "n2"}
    assert api.state("gpus") is State.LIVE
    assert all("dcgm" in selector for selector in api.selectors)


def test_no_exporter_anywhere_says_what_to_install(api: Exporters) -> None:
    load("gpus").list(api.kube, api.store)
    error = api.store.snapshot().health["gpus"].error
    assert isinstance(error, NotServed)
    assert "dcgm-exporter" in error.hint
    assert api.state("gpus") is State.ABSENT


def test_an_exporter_installed_later_is_found(api: Exporters) -> None:
    thread = watch(api, "gpus")
    until(lambda: api.state("gpus") is State.ABSENT)
    api.add("dcgm-1", "n1", DCGM)
    until(lambda: api.state("gpus") is State.LIVE)
    api.stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_silent_exporter_hides_no_other_and_its_old_readings_go(api: Exporters) -> None:
    broken = threading.Event()

    def moody(request: Request) -> None:
        if broken.is_set():
            request.status(503, "ServiceUnavailable", "error trying to reach service")
        else:
            request.bytes(DCGM)

    api.add("dcgm-1", "n1", DCGM)
    api.add("dcgm-2", "n2", moody)
    watch(api, "gpus")
    until(lambda: {key.node for key in api.store.snapshot().gpus} == {"n1", "n2"})
    broken.set()
    until(lambda: {key.node for key in api.store.snapshot().gpus} == {"n1"})
    assert api.state("gpus") is State.LIVE
    broken.clear()
    until(lambda: {key.node for key in api.store.snapshot().gpus} == {"n1", "n2"})


def test_all_exporters_silent_is_a_failure(api: Exporters) -> None:
    api.add("dcgm-1", "n1", lambda request: request.status(503, "ServiceUnavailable", "no route"))
    load("gpus").list(api.kube, api.store)
    assert api.state("gpus") is State.DOWN


def test_forbidden_is_told(api: Exporters) -> None:
    api.forbid = True
    load("gpus").list(api.kube, api.store)
    assert isinstance(api.store.snapshot().health["gpus"].error, Forbidden)


def test_too_many_exporters_for_a_list_are_not_a_full_picture(api: Exporters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "LIST_SECONDS", 0.3)
    monkeypatch.setattr(scrapes, "PACE", Pace(5.0))
    for number in range(12):
        api.add(f"dcgm-{number}", f"n{number}", DCGM)
    load("gpus").list(api.kube, api.store)
    error = api.store.snapshot().health["gpus"].error
    assert isinstance(error, TimedOut)
    assert "of 12" in error.message


def test_efa_lists_give_rates(api: Exporters) -> None:
    sent = iter((1000, 2000, 3000))
    api.store.apply(Upsert("nodes", "nodes", (Node(NodeName("n1"), "1", instance_type="p5.48xlarge"),)))
    api.add("efa-1", "n1", lambda request: request.bytes(EFA % (next(sent), 10, 0)), app="efa-node-exporter", port=9810)
    load("efa").list(api.kube, api.store)
    (found,) = api.store.snapshot().efa.values()
    assert found.tx_bits_per_second is not None and found.tx_bits_per_second > 0
    assert found.line_bits_per_second == 100e9


def test_the_pace_lets_a_burst_pass_and_then_so_many_a_second() -> None:
    pace = Pace(20.0)
    waits = [pace.wait_seconds() for _ in range(60)]
    assert max(waits[:20]) == 0.0
    assert 1.8 <= waits[59] <= 2.05


# -- prices ------------------------------------------------------------------------------------------------------------------------------

KARPENTER = b"""karpenter_cloudprovider_instance_type_offering_price_estimate{capacity_type="spot",instance_type="p5.48xlarge",zone="z1"} 20.5
karpenter_cloudprovider_instance_type_offering_available{capacity_type="spot",instance_type="p5.48xlarge",zone="z1"} 0
karpenter_cloudprovider_instance_type_offering_price_estimate{capacity_type="on-demand",instance_type="g5.xlarge",zone="z1"} 1.2
karpenter_nodepools_usage{nodepool="x",resource_type="cpu"} 4
"""


def test_karpenter_tells_prices_and_the_built_in_list_stands_below(api: Exporters) -> None:
    api.add("karpenter-0", "n1", lambda request: request.bytes(b""), app="karpenter", port=8080)
    api.add("karpenter-1", "n2", KARPENTER, app="karpenter", port=8080)
    load("prices").list(api.kube, api.store)
    found = api.store.snapshot()
    spot = found.prices["p5.48xlarge", "z1", "spot"]
    assert (spot.dollars_per_hour, spot.available, spot.source) == (20.5, False, "Karpenter")
    assert found.prices["g5.xlarge", "z1", "on-demand"].available is None
    built_in = found.prices["p5.48xlarge", "", "on-demand"]
    assert (built_in.dollars_per_hour, "us-east-1" in built_in.source) == (55.04, True)


def test_without_karpenter_prices_still_stand(api: Exporters) -> None:
    api.forbid = True
    load("prices").list(api.kube, api.store)
    assert api.state("prices") is State.LIVE
    assert len(api.store.snapshot().prices) == len(list(prices.built_in()))


def test_of_very_many_exporters_the_first_are_read_and_the_rest_is_said(api: Exporters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "MOST", 2)
    for number in (10, 9, 8):
        api.add(f"dcgm-{number}", f"node-{number}", DCGM)
    load("gpus").list(api.kube, api.store)
    picture = api.store.snapshot()
    assert {key.node for key in picture.gpus} == {"node-8", "node-9"}
    assert picture.believed("gpus")
    assert picture.limits("gpus") == "2 of 3 nodes read"
