"""Text of dcgm-exporter: the series of its default counter list, and its XID and clock event counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cockpit.sim.exporters.gpus import RESERVED_MIB, Gpu

DRIVER_VERSION = "580.95.05"
WINDOW_MS = 300_000
BUS = ("53", "64", "75", "86", "97", "A8", "B9", "CA")
SIMULATED = "# SIMULATED: no GPU exists; values follow what the ranks of the practice cluster report\n"

Reading = tuple[str, str, str, Callable[[Gpu], float]]
READINGS: tuple[Reading, ...] = (
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", lambda g: round(g.clock)),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", lambda g: g.kind.memory_clock),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", lambda g: round(g.temperature + 5 + 6 * g.util)),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", lambda g: round(g.temperature)),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", lambda g: round(g.flutter(g.power), 3)),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", lambda g: int(g.energy_mj)),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", lambda g: 0),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", lambda g: min(100, round(g.flutter(g.util) * 100))),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", lambda g: min(100, round(g.flutter(g.tensor) * 80))),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", lambda g: 0),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", lambda g: 0),
    ("DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", lambda g: g.kind.memory_mib - RESERVED_MIB - round(g.used_mib)),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", lambda g: round(g.used_mib)),
    ("DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", lambda g: RESERVED_MIB),
    ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", "Total number of NVLink bandwidth counters for all lanes.", lambda g: int(g.nvlink)),
    ("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", "vGPU License status", lambda g: 0),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Number of remapped rows for uncorrectable errors", lambda g: 0),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Number of remapped rows for correctable errors", lambda g: 0),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed", lambda g: 0),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.",
     lambda g: round(min(1.0, g.flutter(g.util)), 6)),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Ratio of cycles the tensor (HMMA) pipe is active.",
     lambda g: round(g.flutter(g.tensor), 6)),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", "Ratio of cycles the device memory interface is active sending or receiving data.",
     lambda g: round(g.flutter(g.tensor * 0.75), 6)),
    ("DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", "The rate of data transmitted over the PCIe bus (in bytes per second).",
     lambda g: round(g.flutter(g.pcie_tx))),
    ("DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", "The rate of data received over the PCIe bus (in bytes per second).",
     lambda g: round(g.flutter(g.pcie_rx))),
)  # fmt: skip


def identity(node: str, index: int, uuid: str, gpu: Gpu, holder: Mapping[str, str]) -> str:
    """The label text of one GPU; `holder` is pod, namespace and container of the one that has it, or nothing."""
    labels = {
        "gpu": str(index),
        "UUID": uuid,
        "pci_bus_id": f"00000000:{BUS[index % len(BUS)]}:00.0",
        "device": f"nvidia{index}",
        "modelName": f"{gpu.kind.model} SIMULATED",
        "Hostname": node,
        "DCGM_FI_DRIVER_VERSION": DRIVER_VERSION,
    } | dict(holder)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def text(gpus: list[tuple[str, Gpu]], xids: list[list[int]]) -> bytes:
    """The page: per GPU its label text and readings, and the XIDs of its last five minutes, oldest first."""
    lines = [SIMULATED]
    for name, kind, words, read in READINGS:
        lines.append(f"# HELP {name} {words}\n# TYPE {name} {kind}\n")
        lines += [f"{name}{{{labels}}} {read(gpu)}\n" for labels, gpu in gpus]
    lines.append("# HELP DCGM_FI_DEV_XID_ERRORS Value of the last XID error encountered.\n# TYPE DCGM_FI_DEV_XID_ERRORS gauge\n")
    lines += [f"DCGM_FI_DEV_XID_ERRORS{{{labels}}} {codes[-1] if codes else 0}\n" for (labels, _), codes in zip(gpus, xids, strict=True)]
    lines += _xid_counts(gpus, xids)
    lines += _clock_events(gpus)
    return "".join(lines).encode()


def _xid_counts(gpus: list[tuple[str, Gpu]], xids: list[list[int]]) -> list[str]:
    name = "DCGM_EXP_XID_ERRORS_COUNT"
    words = "Count of XID Errors within user-specified time window (see xid-count-window-size param)."
    lines = [f"# HELP {name} {words}\n# TYPE {name} gauge\n"]
    for (labels, _), codes in zip(gpus, xids, strict=True):
        window = f'window_size_in_ms="{WINDOW_MS}"'
        lines += [f'{name}{{{labels},{window},xid="{code}"}} {codes.count(code)}\n' for code in sorted(set(codes))]
        if not codes:
            lines.append(f'{name}{{{labels},{window},xid=""}} 0\n')
    return lines


def _clock_events(gpus: list[tuple[str, Gpu]]) -> list[str]:
    name = "DCGM_EXP_CLOCK_EVENTS_COUNT"
    lines = [f"# HELP {name} Count of clock events within the user-specified time window.\n# TYPE {name} gauge\n"]
    for labels, gpu in gpus:
        events = {"gpu_idle": 0 if gpu.util > 0.02 else 300}
        if gpu.throttle < 1:
            events |= {"hw_slowdown": 300, "hw_thermal": 300}
        for event, count in sorted(events.items()):
            lines.append(f'{name}{{{labels},clock_event="{event}",window_size_in_ms="{WINDOW_MS}"}} {count}\n')
    return lines
