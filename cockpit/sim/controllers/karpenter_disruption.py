"""Why Karpenter takes a node away by itself: it is empty for long enough, or a spot interruption was announced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.karpenter_rules import NODEPOOL
from cockpit.sim.controllers.karpenter_state import CLAIMS, COMPONENT, POOLS, KarpenterState, duration_seconds
from cockpit.sim.controllers.objects import Object, annotations_of, is_deleting, is_true, labels_of, name_of, status_of, with_condition
from cockpit.sim.controllers.pods import is_finished, is_of_daemonset
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.faults.queries import RESOURCE, target
from cockpit.sim.instance_types import Offering

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
LOOK_SECONDS = 10.0


class Disruption(Reconciler):
    """Empties: a node without pods for consolidateAfter goes, unless it is protected or its pool's budget is 0."""

    name = "karpenter-disruption"
    watches = (CLAIMS, POOLS, "pods")

    def __init__(self, cluster: Any, options: Any, state: KarpenterState) -> None:
        super().__init__(cluster, options)
        self.state = state
        self._empty_since: dict[str, float] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches the claim of its node, a pool all its claims."""
        if event.resource == CLAIMS:
            return super().keys(event)
        if event.resource == POOLS:
            return [("", name_of(one)) for one in self.cluster.list(CLAIMS, labels={NODEPOOL: name_of(event.object)})]
        node = event.object["spec"].get("nodeName")
        return [("", name_of(one)) for one in self.cluster.list(CLAIMS) if node and status_of(one).get("nodeName") == node]

    def reconcile(self, key: Key) -> float | None:
        """Whether one claim's node is empty, since when, and what follows."""
        claim = self.cluster.find(CLAIMS, None, key[1])
        node = self.cluster.find("nodes", None, status_of(claim).get("nodeName") or "") if claim else None
        if claim is None or node is None or is_deleting(claim) or not is_true(claim, "Initialized") or not self._is_empty(claim, node):
            self._empty_since.pop(key[1], None)
            self._consolidatable(claim, False)
            return None
        pool = self.cluster.find(POOLS, None, labels_of(claim).get(NODEPOOL, ""))
        disruption = (pool["spec"].get("disruption") or {}) if pool else {}
        after = duration_seconds(str(disruption.get("consolidateAfter", "0s")))
        if pool is None or after is None:
            return None
        now = asyncio.get_running_loop().time()
        left = self._empty_since.setdefault(key[1], now) + after * self.options.pace - now
        if left > 0:
            return left
        self._consolidatable(claim, True)
        return self._remove(claim, node, disruption)

    def _is_empty(self, claim: Object, node: Object) -> bool:
        if name_of(claim) in self.state.nominations.values():
            return False
        here = (pod for pod in self.cluster.list("pods") if pod["spec"].get("nodeName") == name_of(node))
        return not any(not is_of_daemonset(pod) and not is_finished(pod) for pod in here)

    def _consolidatable(self, claim: Object | None, whether: bool) -> None:
        if claim is None or is_true(claim, "Consolidatable") == whether:
            return
        held = status_of(claim).get("conditions") or []
        kept = [one for one in held if one["type"] != "Consolidatable"]
        if whether:
            kept = with_condition(kept, "Consolidatable", "True", "Consolidatable", "", self.cluster.now())
        self.set_status(CLAIMS, claim, {"conditions": kept})

    def _remove(self, claim: Object, node: Object, disruption: Object) -> float | None:
        if any(annotations_of(one).get(DO_NOT_DISRUPT) == "true" for one in (claim, node)):
            for one, kind in ((node, "Node"), (claim, "NodeClaim")):
                message = f'Disruption is blocked by annotation "{DO_NOT_DISRUPT}" on the {kind}'
                self.cluster.event(one, "DisruptionBlocked", message, component=COMPONENT)
            return LOOK_SECONDS
        if _budget_is_zero(disruption):
            self.cluster.event(claim, "DisruptionBlocked", "No allowed disruptions due to blocking budget", component=COMPONENT)
            return LOOK_SECONDS
        now, held = self.cluster.now(), self.cluster.get(CLAIMS, None, name_of(claim))
        conditions = with_condition(status_of(held).get("conditions"), "DisruptionReason", "True", "Empty", "Empty", now)
        self.set_status(CLAIMS, held, {"conditions": conditions})
        self.cluster.event(node, "DisruptionTerminating", "Disrupting Node: Empty", component=COMPONENT)
        self.cluster.event(claim, "DisruptionTerminating", "Disrupting NodeClaim: Empty", component=COMPONENT)
        self.cluster.delete(CLAIMS, None, name_of(claim))
        return None


def _budget_is_zero(disruption: Object) -> bool:
    """Whether a budget without schedule, for any reason or for Empty, allows no node."""
    always = (one for one in disruption.get("budgets") or [] if not one.get("schedule"))
    return any(str(one.get("nodes")) in ("0", "0%") and "Empty" in (one.get("reasons") or ["Empty"]) for one in always)


class Interruption(Reconciler):
    """Spot interruption notices (active Faults): the claim is drained and deleted, and its offering left alone for a while."""

    name = "karpenter-interruption"
    watches = (RESOURCE,)

    def __init__(self, cluster: Any, options: Any, state: KarpenterState) -> None:
        super().__init__(cluster, options)
        self.state = state
        self._seen: set[str] = set()

    def reconcile(self, key: Key) -> float | None:
        """React to one notice once, when its target is known."""
        fault = self.cluster.find(RESOURCE, None, key[1])
        if fault is None or fault["spec"].get("fault") != "spot-interruption" or fault["metadata"]["uid"] in self._seen:
            return None
        node = target(fault).get("node")
        if not node or not status_of(fault).get("phase"):
            return None
        self._seen.add(fault["metadata"]["uid"])
        for claim in self.cluster.list(CLAIMS):
            if status_of(claim).get("nodeName") == node:
                self._interrupt(claim, node)
        return None

    def _interrupt(self, claim: Object, node: str) -> None:
        labels = labels_of(claim)
        said = "Interruption triggered termination for the NodeClaim"
        self.cluster.event(claim, "TerminatingOnInterruption", said, type="Warning", component=COMPONENT)
        held = self.cluster.find("nodes", None, node)
        if held is not None:
            said = "Interruption triggered termination for the Node"
            self.cluster.event(held, "TerminatingOnInterruption", said, type="Warning", component=COMPONENT)
        offering = Offering(labels["node.kubernetes.io/instance-type"], labels["topology.kubernetes.io/zone"], "spot", 0.0)
        self.state.mark_unavailable(offering)
        if not is_deleting(claim):
            self.cluster.delete(CLAIMS, None, name_of(claim))
