"""A node that no longer answers, under pods that wait on it or were driven off it."""

from __future__ import annotations

from cockpit.diagnosis.cases import Case, Cause, short


def cause(case: Case) -> Cause | None:
    """A node that is not ready now, or that was while it took the job's pods along."""
    for node, pods in case.homes.items():
        found = case.picture.nodes.get(node)
        problem = next((one for one in found.problems if one.type == "Ready" and case.saw(one.since)), None) if found else None
        if problem is not None:
            said = f"Ready is {problem.status}: {problem.message or problem.reason}"
            return Cause("node-not-ready", f"node {short(node)} under {case.ranks_of(pods)} does not answer", (said,))
    return _driven_off(case)


def _driven_off(case: Case) -> Cause | None:
    """Pods deleted for the taint of a silent node."""
    for node, pods in case.homes.items():
        for name in pods:
            for event in case.about("Pod", case.job.key.namespace, name):
                if event.reason == "TaintManagerEviction":
                    return Cause("node-not-ready", f"node {short(node)} under {case.ranks_of(pods)} did not answer", (event.message,))
    return None
