"""The cloud took a node back: the spot notice, and Karpenter acting on it."""

from __future__ import annotations

from cockpit.diagnosis.cases import Case, Cause, short

NOTICES = frozenset({"SpotInterrupted", "TerminatingOnInterruption"})


def cause(case: Case) -> Cause | None:
    """A notice for a node of the job, whether the node is still there or not."""
    for node, pods in case.homes.items():
        said = [event for event in case.about("Node", "", node) if event.reason in NOTICES]
        if said:
            evidence = tuple(f"{event.reason}: {event.message}" for event in said)
            kind = "spot node" if any(event.reason == "SpotInterrupted" for event in said) else "node"
            return Cause("spot-interruption", f"{kind} {short(node)} under {case.ranks_of(pods)} was taken back", evidence)
    return None
