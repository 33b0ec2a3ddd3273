"""Namespaces, default ServiceAccounts and PodDisruptionBudgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.objects import Object, is_deleting, labels_of, matches_labels, name_of, namespace_of, status_of, with_condition
from cockpit.sim.controllers.pods import is_finished, is_ready
from cockpit.sim.controllers.reconcilers import Key, Reconciler


class Namespaces(Reconciler):
    """Gives each namespace its default ServiceAccount; the store itself empties a dying namespace."""

    name = "serviceaccount-controller"
    watches = ("namespaces", "serviceaccounts")

    def keys(self, event: Any) -> Iterable[Key]:
        """A lost default ServiceAccount is made anew."""
        if event.resource == "namespaces":
            return super().keys(event)
        return [("", namespace_of(event.object))] if event.type == "DELETED" else []

    def reconcile(self, key: Key) -> float | None:
        """Create the ServiceAccount that lacks."""
        namespace = self.cluster.find("namespaces", None, key[1])
        if namespace is None or is_deleting(namespace) or self.cluster.find("serviceaccounts", key[1], "default") is not None:
            return None
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key[1]}}
        self.cluster.create("serviceaccounts", account)
        return None


class DisruptionBudgets(Reconciler):
    """Counts what each PodDisruptionBudget allows."""

    name = "disruption-controller"
    watches = ("poddisruptionbudgets.policy", "pods")

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches the budgets of its namespace that select it."""
        if event.resource != "pods":
            return super().keys(event)
        budgets = self.cluster.list("poddisruptionbudgets.policy", namespace_of(event.object))
        labels = labels_of(event.object)
        return [(namespace_of(one), name_of(one)) for one in budgets if matches_labels(one["spec"].get("selector"), labels)]

    def reconcile(self, key: Key) -> float | None:
        """Write one budget's status."""
        budget = self.cluster.find("poddisruptionbudgets.policy", *key)
        if budget is None or is_deleting(budget):
            return None
        selector = budget["spec"].get("selector")
        pods = [pod for pod in self.cluster.list("pods", key[0]) if matches_labels(selector, labels_of(pod)) and not is_finished(pod)]
        status = budget_status(budget["spec"], len(pods), sum(1 for pod in pods if is_ready(pod)))
        allowed = status["disruptionsAllowed"] > 0
        verdict = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        conditions = with_condition(status_of(budget).get("conditions"), "DisruptionAllowed", *verdict, "", self.cluster.now())
        generation = budget["metadata"].get("generation", 1)
        self.set_status("poddisruptionbudgets.policy", budget, {**status, "conditions": conditions, "observedGeneration": generation})
        return None


def budget_status(spec: Object, expected: int, healthy: int) -> dict[str, int]:
    """The counts of a PodDisruptionBudget for so many expected and healthy pods."""
    if spec.get("minAvailable") is not None:
        desired = _share(spec["minAvailable"], expected)
    else:
        desired = max(0, expected - _share(spec.get("maxUnavailable", 0), expected))
    allowed = max(0, healthy - desired) if expected else 0
    return {"currentHealthy": healthy, "desiredHealthy": desired, "disruptionsAllowed": allowed, "expectedPods": expected}


def _share(value: int | str, whole: int) -> int:
    """An int-or-percentage of a whole, percentages rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return -(-int(value[:-1]) * whole // 100)
    return int(value)
