"""The table that nccl-tests print: a line a size, out of place and in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

BACKEND = re.compile(r"#\s*backend (\w+)")
FAULT = re.compile(r"#\s*Out of bounds values\s*:\s*(\d+)\s+(\w+)")
TAG = re.compile(r"^\[\d+,\d+\]<std(?:out|err)>:")
"""What mpirun --tag-output puts before a line."""
LEFT, GROUP = 5, 4
"""size, count, type, redop, root; then time, algbw, busbw, wrong, out of place and, unless it was left out, in place."""


def to_row(line: str) -> dict[str, Any] | None:
    """One measured size; None for any other line. Sizes in bytes, times in microseconds, bandwidths in gigabytes (10^9) a second."""
    words = TAG.sub("", line).split()
    if len(words) not in (LEFT + GROUP, LEFT + 2 * GROUP) or not (words[0].isdecimal() and words[1].isdecimal()):
        return None
    apart, within = _group(words[LEFT : LEFT + GROUP]), _group(words[LEFT + GROUP :] or ["N/A"] * GROUP)
    if apart is None or within is None or (apart["time"] is None and within["time"] is None):
        return None
    return {
        "size_bytes": int(words[0]),
        "count": int(words[1]),
        "type": words[2],
        "time_us": apart["time"],
        "algbw_gigabytes_per_second": apart["algbw"],
        "busbw_gigabytes_per_second": apart["busbw"],
        "wrong": apart["wrong"],
        "in_place_time_us": within["time"],
        "in_place_algbw_gigabytes_per_second": within["algbw"],
        "in_place_busbw_gigabytes_per_second": within["busbw"],
        "in_place_wrong": within["wrong"],
    }


def _group(words: Sequence[str]) -> dict[str, Any] | None:
    """time, algbw, busbw, wrong; N/A is None, anything else that is no number makes it no group."""
    try:
        time, algbw, busbw, wrong = (None if word == "N/A" else float(word) for word in words)
    except ValueError:
        return None
    return {"time": time, "algbw": algbw, "busbw": busbw, "wrong": None if wrong is None else int(wrong)}


def backend_of(line: str) -> str:
    """The backend a head line of training/allreduce.py names; empty for any other line."""
    found = BACKEND.match(line)
    return found[1] if found else ""
