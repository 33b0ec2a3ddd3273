"""Exporters through the pod proxy: text to rows, rates from two readings, and clusters with no, silent or too many exporters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.errors import Forbidden, NotServed, TimedOut
from cockpit.model import DeviceKey, Node, NodeName, PodKey, State
from cockpit.sources import load, prices, scrapes
from cockpit.sources.efa import Readings, to_counters, to_device
from cockpit.sources.gpus import to_gpus
from cockpit.sources.prometheus_text import labels, samples
from cockpit.sources.scrapes import Pace
from cockpit.store import Store, Upsert
from tests.servers import Request, Server, kubeconfig, until

DCGM = b"""# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA H100",Hostname="n1",pod="w-0",namespace="ml",container="node"} 1980
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",modelName="NVIDIA H100",Hostname="n1",exported_pod="w-0",exported_namespace="ml",pod="dcgm-x",namespace="monitoring"} 97
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a"} 1024
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a"} 3000
DCGM_FI_DEV_FB_RESERVED{gpu="0",UUID="GPU-a"} 72
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 61
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a"} 512.5
DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{gpu="0",UUID="GPU-a"} 0.42
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",err_code="79",err_msg="GPU has fallen off the bus"} 79
DCGM_EXP_XID_ERRORS_COUNT{gpu="0",UUID="GPU-a",xid="79",window_size_in_ms="300000"} 2
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="hw_thermal"} 3
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="gpu_idle"} 9
DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",UUID="GPU-a",clock_event="sync_boost"} 0
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b",modelName="NVIDIA H100",hostname="n1"} 9223372036854775794
DCGM_FI_DEV_CLOCKS_EVENT_REASONS{gpu="1",UUID="GPU-b"} 36
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-b"} NaN
DCGM_FI_PROF_DRAM_ACTIVE{gpu="1",UUID="GPU-b"} 0.5
"""
EFA = b"""# SIMULATED
node_amazonefa_info{device="rdmap1s0"} 1
node_amazonefa_tx_bytes{device="rdmap1s0",port="1"} %d
node_amazonefa_rx_bytes{device="rdmap1s0",port="1"} 500
node_amazonefa_tx_pkts{device="rdmap1s0",port="1"} %d
node_amazonefa_retrans_pkts{device="rdmap1s0",port="1"} %d
node_amazonefa_rx_drops{device="rdmap1s0",port="1"} 4
node_amazonefa_unresponsive_remote_events{device="rdmap1s0",port="1"} 1
"""


def test_a_gpu_with_everything() -> None:
    first, second = to_gpus(DCGM, "n1", 5.0)
    assert first.key == DeviceKey(NodeName("n1"), "0")
    assert (first.uuid, first.model, first.pod, first.at) == ("GPU-a", "NVIDIA H100", PodKey("ml", "w-0"), 5.0)
    assert (first.utilisation_percent, first.tensor_active_ratio, first.temperature_celsius, first.power_watts) == (97.0, 0.42, 61.0, 512.5)
    assert (first.sm_clock_mhz, first.memory_used_bytes, first.memory_total_bytes) == (1980.0, 1 << 30, 4096 << 20)
    assert (first.xid, first.xid_count, first.throttle, first.simulated) == (79, 2, "hw_thermal", False)
    assert (second.index, second.throttle) == (1, "power_cap,sw_thermal")


def test_an_absent_or_blank_series_is_unknown() -> None:
    second = to_gpus(DCGM, "n1", 5.0)[1]
    unknown = (
        second.utilisation_percent,
        second.temperature_celsius,
        second.memory_used_bytes,
        second.memory_total_bytes,
        second.xid,
        second.xid_count,
        second.pod,
    )
    assert unknown == (None,) * 7


def test_invented_text_says_so() -> None:
    assert to_gpus(b"# SIMULATED readings\n" + DCGM, "n1", 5.0)[0].simulated
    assert not to_gpus(DCGM + b"# SIMULATED\n", "n1", 5.0)[0].simulated


def test_a_sliced_gpu_is_not_counted_twice() -> None:
    text = (
        b"".join(b'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="G",GPU_I_ID="%d"} %d\n' % (n, 50 + n) for n in (1, 2))
        + b'DCGM_FI_DEV_POWER_USAGE{gpu="0"} 70\n'
    )
    (found,) = to_gpus(text, "n1", 1.0)
    assert (found.temperature_celsius, found.power_watts) == (51.0, 70.0)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe\x00", b"DCGM_FI_DEV_GPU_UTIL", b"DCGM_FI_DEV_GPU_UTIL{", b'DCGM_FI_DEV_GPU_UTIL{gpu="x"} 1', b'DCGM_FI_DEV_GPU_UTIL{gpu="0"}',
     b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} many', b"DCGM_FI_DEV_GPU_UTIL 3", b"DCGM_FI_DEV_GPU_UTIL{" + b"a" * 100_000 + b"} 1", b"}{\n}{ 1\n"],
)  # fmt: skip
def test_nonsense_gives_no_gpus(text: bytes) -> None:
    assert to_gpus(text, "n1", 1.0) == []


def test_labels_are_unescaped_and_time_stamps_ignored() -> None:
    assert labels(r'a="x\"y",b="back\\slash",c="new\nline",d=""') == {"a": 'x"y', "b": "back\\slash", "c": "new\nline", "d": ""}
    assert [sample.value for sample in samples(b'a{b="}"} 4 1700000000\na 5\n', {"a"}.__contains__)] == [4.0, 5.0]


def reading(tx: int, packets: int, again: int) -> dict[str, int]:
    return to_counters(EFA % (tx, packets, again))["rdmap1s0"]


KEY = DeviceKey(NodeName("n1"), "rdmap1s0")


def test_rates_need_two_readings() -> None:
    first = to_device(KEY, reading(1000, 100, 0), None, 10.0, 100e9, True)
    assert (first.tx_bytes, first.rx_drops, first.unresponsive_events, first.impaired_events) == (1000, 4, 1, None)
    assert (first.tx_bits_per_second, first.rx_bits_per_second, first.retransmit_ratio) == (None, None, None)
    second = to_device(KEY, reading(3000, 300, 20), (10.0, reading(1000, 100, 0)), 12.0, 100e9, True)
    assert (second.tx_bits_per_second, second.rx_bits_per_second, second.retransmit_ratio) == (8000.0, 0.0, 0.1)
    assert (second.line_bits_per_second, second.simulated) == (100e9, True)


def test_a_counter_that_was_reset_gives_no_rate() -> None:
    found = to_device(KEY, reading(10, 1, 0), (10.0, reading(1000, 100, 0)), 12.0, None, False)
    assert (found.tx_bits_per_second, found.retransmit_ratio, found.rx_bits_per_second) == (None, None, 0.0)


def test_readings_remember_each_device_and_know_its_line_rate() -> None:
    nodes = {"n1": Node(NodeName("n1"), "1", instance_type="p5.48xlarge")}
    readings = Readings()
    readings.rows(EFA % (0, 0, 0), "n1", 1.0, nodes)
    (other,) = readings.rows(EFA % (9, 9, 0), "n2", 2.0, nodes)
    (found,) = readings.rows(EFA % (1000, 9, 0), "n1", 2.0, nodes)
    assert (found.tx_bits_per_second, found.line_bits_per_second) == (8000.0, 100e9)
    assert (other.tx_bits_per_second, other.line_bits_per_second) == (None, None)


# -- through the proxy -------------------------------------------------------------------------------------------------------------------


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
