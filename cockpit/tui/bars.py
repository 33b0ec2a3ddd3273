"""Bars, columns and sparklines out of eighth blocks; each is a tuple of toned pieces, so a table can render it in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cockpit.model import Gpu
from cockpit.tui.cells import HEATS, Part, Tone

LEFT_EIGHTHS = " ▏▎▍▌▋▊▉█"
LOWER_EIGHTHS = "▁▂▃▄▅▆▇█"


def bar(ratio: float | None, width: int, tone: Tone = Tone.BAR) -> tuple[Part, ...]:
    """A horizontal bar of `width` cells filled to `ratio` (0..1) to an eighth of a cell; unknown is an empty dotted track."""
    if ratio is None:
        return (("·" * width, Tone.TRACK),)
    eighths = round(min(1.0, max(0.0, ratio)) * width * 8)
    if ratio > 0 and eighths == 0:
        eighths = 1
    full, rest = divmod(eighths, 8)
    fill = "█" * full + (LEFT_EIGHTHS[rest] if rest else "")
    return ((fill, tone), ("░" * (width - len(fill)), Tone.TRACK))


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest `width` values as lower eighth blocks, scaled between their least and greatest."""
    shown = values[-width:] if len(values) <= width else _thin(values, width)
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(LOWER_EIGHTHS[min(7, int((value - low) / span * 7.99))] for value in shown)


def _thin(values: Sequence[float], width: int) -> list[float]:
    step = len(values) / width
    return [values[min(len(values) - 1, int((index + 1) * step) - 1)] for index in range(width)]


def level(percent: float) -> int:
    """0..5: which heat tone a utilisation in percent gets."""
    return min(len(HEATS) - 1, max(0, int(percent / 100 * (len(HEATS) - 0.01))))


def gpu_part(gpu: Gpu) -> Part:
    """One GPU as one cell: its height is utilisation, ✖ an XID, ▼ a throttle, · unknown."""
    if gpu.xid:
        return ("✖", Tone.BAD)
    if gpu.throttle:
        return ("▼", Tone.WARN)
    if gpu.utilisation_percent is None:
        return ("·", Tone.MUTED)
    percent = min(100.0, max(0.0, gpu.utilisation_percent))
    return (LOWER_EIGHTHS[min(6, int(percent / 100 * 6.99))], HEATS[level(percent)])


def gpu_row(gpus: Iterable[Gpu], gap: str = " ") -> tuple[Part, ...]:
    """All GPUs of a node side by side."""
    parts: list[Part] = []
    for gpu in gpus:
        if parts and gap:
            parts.append((gap, Tone.PLAIN))
        parts.append(gpu_part(gpu))
    return tuple(parts)
