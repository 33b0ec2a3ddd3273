"""Resources as Kubernetes writes them: names, the right one for a wrong one, and amounts."""

from __future__ import annotations

import difflib
import re
from typing import Any

GPU, EFA = "nvidia.com/gpu", "vpc.amazonaws.com/efa"
NATIVE = ("cpu", "memory", "ephemeral-storage", "pods")
KNOWN = (*NATIVE, GPU, EFA, "aws.amazon.com/neuron", "aws.amazon.com/neuroncore", "aws.amazon.com/neurondevice", "amd.com/gpu", "intel.com/gpu")
CLOSE = 0.84
_SUFFIXES = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def quantity(value: Any) -> float | None:
    """A Kubernetes quantity in base units; None when it is none."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|Ki|Mi|Gi|Ti)?", str(value)) if value is not None else None
    return float(match.group(1)) * _SUFFIXES[match.group(2) or ""] if match else None


def right_name(name: str) -> str | None:
    """None for a name that can be right, else the one it should be, empty when that cannot be guessed."""
    if name in KNOWN or name.startswith(("hugepages-", "nvidia.com/mig-", "nvidia.com/gpu.")):
        return None
    if name in ("nvidia.com", "gpu", "gpus", "nvidia", "nvidia/gpu", "nvidia.com/gpus", "nvidia.com.gpu"):
        return GPU
    if name in ("efa", "vpc.amazonaws.com", "amazonaws.com/efa"):
        return EFA
    close = difflib.get_close_matches(name.lower(), KNOWN, 1, CLOSE)
    if close:
        return close[0]
    return None if "/" in name else ""


def whole(value: Any, default: int) -> int:
    """A count, or what it is by default."""
    found = quantity(value) if not isinstance(value, bool) else None
    return int(found) if found is not None else default
