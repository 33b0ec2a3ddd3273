"""A GPU under the job that failed: its XID, as the exporter, the node's health condition or the monitoring agent's event tells it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cockpit.diagnosis.cases import Case, Cause, short

XID = re.compile(r"Xid\D{0,16}(\d{1,4})(?:\D{0,16}GPU (\d{1,3}))?", re.IGNORECASE)
MEANINGS = {
    46: "stopped processing",
    48: "has a double-bit memory error",
    62: "halted inside",
    63: "had to remap memory",
    64: "could not remap memory",
    74: "has an NVLink error",
    79: "fell off the bus",
    94: "has a contained memory error",
    95: "has an uncontained memory error",
    119: "lost its system processor",
    120: "lost its system processor",
}
FATAL = frozenset(MEANINGS) | {54, 109, 110, 136, 140, 142, 143, 151, 155, 156, 158}
"""Those that end what runs on the GPU; 13, 31, 43 and 45 are the program's own doing."""


def cause(case: Case) -> Cause | None:
    """A fatal XID on a node of the job since it was made."""
    for node in case.homes:
        for xid, index, said in _xids(case, node):
            if xid in FATAL:
                gpu = "a GPU" if index is None else f"GPU {index}"
                words = f"{gpu} of {short(node)} {MEANINGS.get(xid, 'failed')} (XID {xid})"
                return Cause("gpu-fault", words, (said,))
    return None


def _xids(case: Case, node: str) -> Iterator[tuple[int, int | None, str]]:
    """XIDs of a node with the GPU where it is known: events and conditions carry their time, the exporter's last value does not."""
    found = case.picture.nodes.get(node)
    told = [(event.reason, event.message) for event in case.about("Node", "", node)]
    told += [(one.reason, one.message) for one in found.problems if case.saw(one.since)] if found else []
    told = [(reason, message) for reason, message in told if "xid" in reason.lower()]
    for gpu in case.picture.gpus_on(node) if told else ():
        if gpu.xid:
            yield gpu.xid, gpu.index, f"DCGM on {short(node)}: last XID of GPU {gpu.index} is {gpu.xid}"
    for reason, message in told:
        match = XID.search(message) or XID.search(reason)
        if match:
            yield int(match[1]), int(match[2]) if match[2] else None, f"{reason}: {message}"
