"""Karpenter's provisioner: unschedulable pods become NodeClaims, or FailedScheduling events that say why not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

from cockpit.sim.controllers.affinity import REQUIRED, selects
from cockpit.sim.controllers.karpenter_rules import (
    HOSTNAME,
    INSTANCE_TYPE,
    NODEPOOL,
    ZONE,
    Plan,
    Unsuitable,
    plan_for,
    pod_requirements,
    remaining_of,
    suitable,
    template_labels,
    template_of,
)
from cockpit.sim.controllers.karpenter_state import CLAIMS, COMPONENT, POOLS, KarpenterState
from cockpit.sim.controllers.machines import TERMINATION, capacity_of
from cockpit.sim.controllers.objects import (
    Object,
    condition_of,
    expression_holds,
    is_deleting,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    random_suffix,
    status_of,
)
from cockpit.sim.controllers.placement import NodeView, node_views, place, untolerated_taint
from cockpit.sim.controllers.pods import is_finished, is_of_daemonset, pod_requests
from cockpit.sim.controllers.quantities import Amounts, amounts, lacking, total, written_amounts
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.instance_types import INSTANCE_TYPES, Offering

ROUND: Key = ("", "round")
BATCH_SECONDS = 1.0
AGAIN_SECONDS = 10.0
EVENT_SECONDS = 300.0
MOST_TYPES = 60


class KarpenterProvisioner(Reconciler):
    """Gathers unschedulable pods for a moment, packs them into as few new claims as it can, cheapest types first."""

    name = "karpenter-provisioner"
    watches = ("pods", POOLS, CLAIMS)

    def __init__(self, cluster: Any, options: Any, state: KarpenterState) -> None:
        super().__init__(cluster, options)
        self.state = state
        self._random = random.Random(options.seed)
        self._told: dict[str, tuple[str, float]] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """An unschedulable pod opens a batch; so does a changed pool or a claim that went."""
        if event.resource == "pods":
            asks = event.type != "DELETED" and is_provisionable(event.object)
        else:
            asks = event.resource == POOLS or event.type == "DELETED"
        if asks:
            self.queue.add_after(ROUND, BATCH_SECONDS * self.options.pace)
        return []

    def reconcile(self, key: Key) -> float | None:
        """One batch."""
        pods = self.cluster.list("pods")
        waiting = [pod for pod in pods if is_provisionable(pod)]
        claims = [claim for claim in self.cluster.list(CLAIMS) if not is_deleting(claim)]
        self._forget_nominations(waiting, claims)
        waiting = [pod for pod in waiting if pod["metadata"]["uid"] not in self.state.nominations]
        if not waiting:
            return None
        views = node_views(self.cluster.list("nodes"), pods)
        plans: list[Plan] = []
        for pod in sorted(waiting, key=_largest_first):
            self._solve(pod, plans, claims, views)
        for plan in plans:
            self._create(plan)
        return AGAIN_SECONDS * self.options.pace

    def _forget_nominations(self, waiting: Sequence[Object], claims: Sequence[Object]) -> None:
        """A nomination holds while its pod waits and its claim is still coming up."""
        coming = {name_of(claim) for claim in claims if not is_true(claim, "Initialized")}
        uids = {pod["metadata"]["uid"] for pod in waiting}
        kept = {uid: claim for uid, claim in self.state.nominations.items() if uid in uids and claim in coming}
        self.state.nominations.clear()
        self.state.nominations.update(kept)

    def _solve(self, pod: Object, plans: list[Plan], claims: Sequence[Object], views: list[NodeView]) -> None:
        """Find a node, a coming claim, a planned claim or a new one for a pod."""
        node = place(pod, views).node if views else None
        if node is not None:
            next(view for view in views if view.name == node).add(pod)
            return
        claim = next((one for one in claims if self._fits_coming(pod, one)), None)
        if claim is not None:
            self._nominate(pod, claim)
            return
        more = zone_requirements(pod, plans, views)
        if any(self._join(pod, plan, more) for plan in plans):
            return
        self._plan_new(pod, plans, claims, more)

    def _fits_coming(self, pod: Object, claim: Object) -> bool:
        """Whether a launched claim that is not yet a ready node has room for the pod."""
        if is_true(claim, "Initialized") or not is_true(claim, "Launched"):
            return False
        meant = [one for one in self.cluster.list("pods") if self.state.nominations.get(one["metadata"]["uid"]) == name_of(claim)]
        nodepool = self.cluster.find(POOLS, None, labels_of(claim).get(NODEPOOL, ""))
        used = total([pod_requests(one["spec"]) for one in [*meant, pod]] + ([self._overhead(nodepool)] if nodepool else []))
        tolerated = untolerated_taint(pod["spec"].get("tolerations") or [], claim["spec"].get("taints") or []) is None
        matches = all(expression_holds(one, labels_of(claim)) for one in pod_requirements(pod))
        return tolerated and matches and not _refuse_each_other(pod, meant) and not lacking(used, amounts(status_of(claim).get("allocatable")))

    def _join(self, pod: Object, plan: Plan, more: Sequence[Object]) -> bool:
        """Add a pod to a planned claim when some offering still holds all."""
        if untolerated_taint(pod["spec"].get("tolerations") or [], template_of(plan.nodepool).get("taints") or []) is not None:
            return False
        if _refuse_each_other(pod, plan.pods):
            return False
        requirements = [*plan.requirements, *pod_requirements(pod), *more]
        requests = total([plan.requests, pod_requests(pod["spec"])])
        found = suitable(requirements, requests, template_labels(plan.nodepool), self.state.is_unavailable, plan.instance_types)
        if not found:
            return False
        plan.requirements, plan.requests, plan.offerings = requirements, requests, found
        plan.pods.append(pod)
        return True

    def _plan_new(self, pod: Object, plans: list[Plan], claims: Sequence[Object], more: Sequence[Object]) -> None:
        problems = []
        for nodepool in sorted(self._ready_pools(), key=lambda one: (-int(one["spec"].get("weight") or 0), name_of(one))):
            planned = [_planned_capacity(plan) for plan in plans if name_of(plan.nodepool) == name_of(nodepool)]
            mine = [claim for claim in claims if labels_of(claim).get(NODEPOOL) == name_of(nodepool)]
            remaining = remaining_of(nodepool, [*mine, *planned])
            wanted, overhead = pod_requests(pod["spec"]), self._overhead(nodepool)
            try:
                plans.append(plan_for(nodepool, pod, wanted, overhead, more, remaining, self.state.is_unavailable))
                return
            except Unsuitable as problem:
                problems.append(str(problem))
        if problems:
            self._fail(pod, f"Failed to schedule pod, {'; '.join(problems)}")

    def _ready_pools(self) -> list[Object]:
        pools = [one for one in self.cluster.list(POOLS) if not is_deleting(one)]
        return [one for one in pools if (condition_of(one, "Ready") or {"status": "True"})["status"] == "True"]

    def _overhead(self, nodepool: Object) -> Amounts:
        """What the DaemonSets that tolerate the pool's taints take on each node."""
        taints = template_of(nodepool).get("taints") or []
        specs = [one["spec"]["template"]["spec"] for one in self.cluster.list("daemonsets.apps")]
        mine = [spec for spec in specs if untolerated_taint(spec.get("tolerations") or [], taints) is None]
        return total(pod_requests(spec) for spec in mine)

    def _create(self, plan: Plan) -> None:
        """The NodeClaim of a plan, and the nominations of its pods."""
        claim = self.cluster.create(CLAIMS, claim_object(plan, random_suffix(self._random)))
        for pod in plan.pods:
            self._nominate(pod, claim)

    def _nominate(self, pod: Object, claim: Object) -> None:
        self.state.nominations[pod["metadata"]["uid"]] = name_of(claim)
        node = status_of(claim).get("nodeName")
        where = f"nodeclaim/{name_of(claim)}" + (f", node/{node}" if node else "")
        self.cluster.event(pod, "Nominated", f"Pod should schedule on: {where}", component=COMPONENT)

    def _fail(self, pod: Object, message: str) -> None:
        """FailedScheduling, the same at most every five minutes."""
        now, uid = asyncio.get_running_loop().time(), pod["metadata"]["uid"]
        said, at = self._told.get(uid, ("", 0.0))
        if said != message or now - at >= EVENT_SECONDS:
            self._told[uid] = (message, now)
            self.cluster.event(pod, "FailedScheduling", message, type="Warning", component=COMPONENT)


def is_provisionable(pod: Object) -> bool:
    """Whether the scheduler has given up on this pod for now and Karpenter may help."""
    condition = condition_of(pod, "PodScheduled")
    failed = condition is not None and condition["status"] == "False" and condition.get("reason") == "Unschedulable"
    return failed and not pod["spec"].get("nodeName") and not is_deleting(pod) and not is_finished(pod) and not is_of_daemonset(pod)


def _largest_first(pod: Object) -> tuple[int, int, str, str]:
    wanted = pod_requests(pod["spec"])
    return (-wanted.get("cpu", 0), -wanted.get("memory", 0), namespace_of(pod), name_of(pod))


def _terms(pod: Object, kind: str, topology: str) -> list[Object]:
    terms = ((pod["spec"].get("affinity") or {}).get(kind) or {}).get(REQUIRED) or []
    return [term for term in terms if term["topologyKey"] == topology]


def _refuse_each_other(pod: Object, others: Sequence[Object]) -> bool:
    """Whether anti-affinity on the hostname keeps the pod from these."""
    mine = any(selects(term, pod, other) for term in _terms(pod, "podAntiAffinity", HOSTNAME) for other in others)
    return mine or any(selects(term, other, pod) for other in others for term in _terms(other, "podAntiAffinity", HOSTNAME))


def zone_requirements(pod: Object, plans: Sequence[Plan], views: Sequence[NodeView]) -> list[Object]:
    """Zone affinity as requirements: where its peers run, or are planned; each planned claim is then pinned to its first zone."""
    requirements: list[Object] = []
    for term in _terms(pod, "podAffinity", ZONE):
        zones = {view.labels.get(ZONE, "") for view in views if any(selects(term, pod, other) for other in view.pods)}
        if not zones:
            near = [plan for plan in plans if any(selects(term, pod, other) for other in plan.pods)]
            for plan in near[:1]:
                pin_zone(plan)
                zones = {plan.offerings[0].zone}
        if zones:
            requirements.append({"key": ZONE, "operator": "In", "values": sorted(zones)})
    return requirements


def pin_zone(plan: Plan) -> None:
    """Keep only the offerings in the zone of the cheapest."""
    zone = plan.offerings[0].zone
    plan.offerings = [one for one in plan.offerings if one.zone == zone]
    plan.requirements = [*plan.requirements, {"key": ZONE, "operator": "In", "values": [zone]}]


def _planned_capacity(plan: Plan) -> Object:
    """A planned claim as something that counts against limits: its cheapest type."""
    return {"status": {"capacity": capacity_of(INSTANCE_TYPES[plan.instance_types[0]])}}


def claim_object(plan: Plan, suffix: str) -> Object:
    """The NodeClaim of a plan: at most 60 instance types, cheapest first."""
    pool, template = plan.nodepool, template_of(plan.nodepool)
    names = plan.instance_types[:MOST_TYPES]
    single: dict[str, Object] = {}
    for one in plan.requirements:
        single[f"{one['key']} {one['operator']} {one.get('values')}"] = one
    others = [one for one in single.values() if one["key"] != INSTANCE_TYPE]
    requirements = [*others, {"key": INSTANCE_TYPE, "operator": "In", "values": names}]
    spec: Object = {
        "nodeClassRef": template["nodeClassRef"],
        "requirements": requirements,
        "resources": {"requests": written_amounts(plan.requests)},
        "expireAfter": template.get("expireAfter", "720h"),
    }
    spec |= {name: template[name] for name in ("taints", "startupTaints", "terminationGracePeriod") if template.get(name)}
    metadata = {
        "name": f"{name_of(pool)}-{suffix}",
        "labels": template_labels(pool) | {"karpenter.k8s.aws/ec2nodeclass": template["nodeClassRef"]["name"]},
        "annotations": {
            **((pool["spec"]["template"].get("metadata") or {}).get("annotations") or {}),
            "karpenter.sh/nodepool-hash-version": "v3",
        },
        "finalizers": [TERMINATION],
        "ownerReferences": [owner_reference(pool, controller=False)],
    }
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": metadata, "spec": spec}


def offerings_for(claim: Object, is_blocked: Any) -> list[Offering]:
    """The offerings a claim asks for, cheapest first."""
    return suitable(claim["spec"]["requirements"], amounts(claim["spec"]["resources"]["requests"]), labels_of(claim), is_blocked)
