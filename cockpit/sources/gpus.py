"""GPUs as the DCGM exporter of each node reports them; a reading whose series is absent is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cockpit.model import DeviceKey, Gpu, NodeName, PodKey
from cockpit.sources.prometheus_text import samples, simulated
from cockpit.sources.raw import count
from cockpit.sources.scrapes import Kind, Scrapes

MIB = 1 << 20
DCGM = Kind(
    "gpus",
    "DCGM exporter",
    ("app.kubernetes.io/name in (dcgm-exporter,nvidia-dcgm-exporter)", "app in (nvidia-dcgm-exporter,dcgm-exporter)"),
    9400,
    "install it: helm install dcgm-exporter gpu-helm-charts/dcgm-exporter -n monitoring",
)
READINGS = {
    "DCGM_FI_DEV_GPU_UTIL": "utilisation_percent",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "tensor_active_ratio",
    "DCGM_FI_DEV_GPU_TEMP": "temperature_celsius",
    "DCGM_FI_DEV_POWER_USAGE": "power_watts",
    "DCGM_FI_DEV_SM_CLOCK": "sm_clock_mhz",
}
MEMORY = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED")
XID, XIDS, CLOCK_EVENTS = "DCGM_FI_DEV_XID_ERRORS", "DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_CLOCK_EVENTS_COUNT"
REASON_BITS = ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS")
WANTED = frozenset({*READINGS, *MEMORY, XID, XIDS, CLOCK_EVENTS, *REASON_BITS})
HARMLESS = frozenset({"gpu_idle", "clocks_setting", "display_clocks"})
REASONS = {
    0x4: "power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
}


def to_gpus(text: bytes, node: str, at: float) -> list[Gpu]:
    """One exporter's text -> the GPUs of its node; MiB become bytes."""
    by_index: dict[int, dict[str, Any]] = {}
    for name, labels, value in samples(text, WANTED.__contains__):
        index = count(labels.get("gpu"))
        if index is not None:
            _read(by_index.setdefault(index, {"memory": {}, "events": set()}), name, labels, value)
    invented = simulated(text)
    return [_gpu(node, index, found, at, invented) for index, found in sorted(by_index.items())]


def _read(found: dict[str, Any], name: str, labels: Mapping[str, str], value: float) -> None:
    found["uuid"] = labels.get("UUID") or found.get("uuid", "")
    found["model"] = labels.get("modelName") or found.get("model", "")
    pod = labels.get("exported_pod") or labels.get("pod")
    if pod:
        found["pod"] = PodKey(labels.get("exported_namespace") or labels.get("namespace") or "", pod)
    if labels.get("GPU_I_ID") and name not in (XIDS, CLOCK_EVENTS):
        found.setdefault("slices", {}).setdefault(name, value)
        return
    if name in READINGS:
        found[READINGS[name]] = value
    elif name in MEMORY:
        found["memory"][name] = int(value * MIB)
    elif name == XID:
        found["xid"] = int(value)
    elif name == XIDS:
        found["xid_count"] = found.get("xid_count", 0) + int(value)
    elif name == CLOCK_EVENTS:
        event = labels.get("clock_event", "")
        found["events"].update({event} if value > 0 and event not in HARMLESS else ())
    elif name in REASON_BITS:
        found["events"].update(reason for bit, reason in REASONS.items() if int(value) & bit)


def _gpu(node: str, index: int, found: dict[str, Any], at: float, invented: bool) -> Gpu:
    for name, value in found.get("slices", {}).items():
        if name in READINGS:
            found.setdefault(READINGS[name], value)
    memory = found["memory"]
    used = memory.get(MEMORY[0])
    readings = {name: found.get(name) for name in (*READINGS.values(), "xid", "xid_count", "pod")}
    return Gpu(
        key=DeviceKey(NodeName(node), str(index)),
        index=index,
        uuid=found["uuid"],
        model=found["model"],
        memory_used_bytes=used,
        memory_total_bytes=sum(memory.values()) if used is not None and MEMORY[1] in memory else None,
        throttle=",".join(sorted(found["events"])),
        at=at,
        simulated=invented,
        **readings,
    )


def source() -> Scrapes:
    """Every GPU of every node that runs a DCGM exporter."""
    return Scrapes(DCGM, lambda text, node, at, nodes: to_gpus(text, node, at))
