"""Exporter text to rows: every series, absent ones, hostile text, and rates from two readings."""

from __future__ import annotations

import pytest

from cockpit.model import DeviceKey, Node, NodeName, PodKey
from cockpit.sources.efa import Readings, to_counters, to_device
from cockpit.sources.gpus import to_gpus
from cockpit.sources.prometheus_text import labels, samples
from tests.sources.exporters import DCGM, EFA


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
