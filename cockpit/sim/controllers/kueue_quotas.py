"""Kueue's quota arithmetic: which flavors a workload gets, or in Kueue's words why none. Pure; amounts in thousandths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cockpit.sim.controllers.objects import Object, name_of, status_of
from cockpit.sim.controllers.placement import matches_node, untolerated_taint
from cockpit.sim.controllers.pods import pod_requests
from cockpit.sim.controllers.quantities import Amounts, amounts, thousandths, times, written, written_amounts

Usage = dict[tuple[str, str], int]
"""(flavor, resource) to an amount in thousandths."""


@dataclass(frozen=True)
class Quota:
    """One resource of one flavor in a ClusterQueue: nominal, and the most it may hold with what it borrows."""

    nominal: int
    maximum: int
    unused: int
    """What can be had now: own and, in a cohort, the others' idle quota within the borrowing limit."""


@dataclass(frozen=True)
class Assignment:
    """Flavors by pod set and resource, or the reason and message of a refusal."""

    flavors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reason: str = ""
    message: str = ""

    @property
    def fits(self) -> bool:
        """Whether every pod set got its flavors."""
        return not self.reason


def podset_requests(podset: Object) -> Amounts:
    """What all pods of a pod set ask for; the pseudo resource "pods" among it."""
    return times(pod_requests(podset["template"]["spec"]), int(podset.get("count", 1)))


def usage_of(workloads: Iterable[Object]) -> Usage:
    """What admitted workloads hold, by flavor and resource."""
    used: Usage = {}
    for workload in workloads:
        for one in (status_of(workload).get("admission") or {}).get("podSetAssignments") or []:
            for resource, amount in amounts(one.get("resourceUsage")).items():
                key = (one["flavors"][resource], resource)
                used[key] = used.get(key, 0) + amount
    return used


def nominal_quotas(queue: Object) -> Usage:
    """Nominal quota by flavor and resource."""
    return {(flavor, one["name"]): thousandths(one["nominalQuota"]) for flavor, one in _quota_entries(queue)}


def _quota_entries(queue: Object) -> Iterable[tuple[str, Object]]:
    for group in queue["spec"].get("resourceGroups") or []:
        for flavor in group["flavors"]:
            for one in flavor["resources"]:
                yield flavor["name"], one


def quotas_of(queue: Object, queues: Sequence[Object], usage: Mapping[str, Usage]) -> dict[tuple[str, str], Quota]:
    """Each flavor and resource of a queue with what is unused, its cohort counted in."""
    cohort = queue["spec"].get("cohortName") or queue["spec"].get("cohort")
    mates = [one for one in queues if cohort and (one["spec"].get("cohortName") or one["spec"].get("cohort")) == cohort] or [queue]
    mine = usage.get(name_of(queue), {})
    found = {}
    for flavor, entry in _quota_entries(queue):
        key = (flavor, entry["name"])
        nominal = thousandths(entry["nominalQuota"])
        total = sum(nominal_quotas(one).get(key, 0) for one in mates)
        idle = total - sum(usage.get(name_of(one), {}).get(key, 0) for one in mates)
        limit = entry.get("borrowingLimit")
        maximum = min(total, nominal + thousandths(limit)) if limit is not None else total
        found[key] = Quota(nominal, maximum, min(idle, maximum - mine.get(key, 0)))
    return found


def assign(podsets: Sequence[Object], queue: Object, flavors: Mapping[str, Object], quotas: Mapping[tuple[str, str], Quota]) -> Assignment:
    """Give every pod set of a workload its flavors, the first that fits in each resource group."""
    assumed: Usage = {}
    chosen: dict[str, dict[str, str]] = {}
    for podset in podsets:
        wanted = {resource: amount for resource, amount in podset_requests(podset).items() if amount}
        covered = {one for group in queue["spec"].get("resourceGroups") or [] for one in group["coveredResources"]}
        if "pods" not in covered:
            wanted.pop("pods", None)
        missing = sorted(resource for resource in wanted if resource not in covered)
        if missing:
            return _refused(podset, "NoMatchingFlavor", [f"resource {missing[0]} unavailable in ClusterQueue"])
        result = _assign_podset(podset, wanted, queue, flavors, quotas, assumed)
        if isinstance(result, Assignment):
            return result
        chosen[podset["name"]] = result
        for resource, flavor in result.items():
            assumed[(flavor, resource)] = assumed.get((flavor, resource), 0) + wanted[resource]
    return Assignment(chosen)


def _assign_podset(
    podset: Object,
    wanted: Amounts,
    queue: Object,
    flavors: Mapping[str, Object],
    quotas: Mapping[tuple[str, str], Quota],
    assumed: Usage,
) -> dict[str, str] | Assignment:
    chosen: dict[str, str] = {}
    for group in queue["spec"].get("resourceGroups") or []:
        mine = {resource: wanted[resource] for resource in group["coveredResources"] if resource in wanted}
        if not mine:
            continue
        problems: list[tuple[str, str]] = []
        for entry in group["flavors"]:
            found = _flavor_problems(entry["name"], mine, podset, flavors, quotas, assumed)
            if not found:
                chosen |= dict.fromkeys(mine, entry["name"])
                break
            problems += found
        else:
            reasons = {reason for reason, _ in problems}
            reason = next(one for one in ("WaitingForQuota", "ExceedsMaxQuota", "NoMatchingFlavor") if one in reasons)
            return _refused(podset, reason, [text for _, text in problems])
    return chosen


def _flavor_problems(
    flavor: str,
    wanted: Amounts,
    podset: Object,
    flavors: Mapping[str, Object],
    quotas: Mapping[tuple[str, str], Quota],
    assumed: Usage,
) -> list[tuple[str, str]]:
    """(reason, text) of all that speaks against one flavor."""
    if flavor not in flavors:
        return [("NoMatchingFlavor", f"flavor {flavor} not found")]
    mismatch = _mismatch(podset["template"]["spec"], flavors[flavor])
    if mismatch:
        return [("NoMatchingFlavor", mismatch)]
    problems = []
    for resource, amount in sorted(wanted.items()):
        quota, before = quotas[(flavor, resource)], assumed.get((flavor, resource), 0)
        if before + amount > quota.maximum:
            said = (
                f"insufficient quota for {resource} in flavor {flavor}, previously considered podsets "
                f"requests ({written(resource, before)}) + current podset request ({written(resource, amount)}) "
                f"> maximum capacity ({written(resource, quota.maximum)})"
            )
            problems.append(("ExceedsMaxQuota", said))
        elif before + amount > quota.unused:
            more = written(resource, before + amount - max(0, quota.unused))
            problems.append(("WaitingForQuota", f"insufficient unused quota for {resource} in flavor {flavor}, {more} more needed"))
    return problems


def _mismatch(spec: Object, flavor: Object) -> str | None:
    """Why a pod may not run on a flavor's nodes: a taint, or a selector that names one of its labels otherwise."""
    tolerations = [*(spec.get("tolerations") or []), *(flavor["spec"].get("tolerations") or [])]
    taint = untolerated_taint(tolerations, flavor["spec"].get("nodeTaints") or [])
    if taint is not None:
        return f"untolerated taint {{{taint['key']} {taint.get('value') or ''} {taint['effect']} <nil>}} in flavor {name_of(flavor)}"
    labels = flavor["spec"].get("nodeLabels") or {}
    relevant = {key: value for key, value in (spec.get("nodeSelector") or {}).items() if key in labels}
    return None if matches_node({"nodeSelector": relevant}, labels, "") else f"flavor {name_of(flavor)} doesn't match node affinity"


def _refused(podset: Object, reason: str, problems: Sequence[str]) -> Assignment:
    return Assignment(reason=reason, message=f"couldn't assign flavors to pod set {podset['name']}: {', '.join(problems)}")


def admission_of(queue: Object, podsets: Sequence[Object], assignment: Assignment) -> Object:
    """status.admission of a workload that got its flavors."""
    assigned = []
    for podset in podsets:
        flavors = dict(assignment.flavors[podset["name"]])
        held = {resource: amount for resource, amount in podset_requests(podset).items() if resource in flavors}
        assigned.append(
            {"name": podset["name"], "count": podset.get("count", 1), "flavors": flavors, "resourceUsage": written_amounts(held)}
        )
    return {"clusterQueue": name_of(queue), "podSetAssignments": assigned}


def usage_status(queue: Object, used: Usage) -> list[Object]:
    """flavorsReservation and flavorsUsage: every flavor and resource of a queue with its total and what it borrows."""
    shown: dict[str, list[Object]] = {}
    for flavor, entry in _quota_entries(queue):
        resource, held = entry["name"], used.get((flavor, entry["name"]), 0)
        borrowed = max(0, held - thousandths(entry["nominalQuota"]))
        row = {"name": resource, "total": written(resource, held), "borrowed": written(resource, borrowed)}
        shown.setdefault(flavor, []).append(row)
    return [{"name": flavor, "resources": resources} for flavor, resources in shown.items()]
