"""DaemonSets: one pod on every node that fits, with its status counted."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.objects import Object, is_deleting, is_owned_by, labels_of, name_of
from cockpit.sim.controllers.placement import matches_node, untolerated_taint
from cockpit.sim.controllers.pods import is_finished, is_ready, pod_from
from cockpit.sim.controllers.reconcilers import Key, Reconciler

TOLERATIONS = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


class DaemonSets(Reconciler):
    """Keeps one pod of each DaemonSet on each matching node; the scheduler binds it by node affinity, as the real one does."""

    name = "daemonset-controller"
    watches = ("daemonsets.apps", "nodes", "pods")

    def keys(self, event: Any) -> Iterable[Key]:
        """A node touches every DaemonSet, a pod its own."""
        if event.resource == "daemonsets.apps":
            return super().keys(event)
        if event.resource == "pods":
            owners = event.object["metadata"].get("ownerReferences") or []
            return [(event.object["metadata"]["namespace"], one["name"]) for one in owners if one["kind"] == "DaemonSet"]
        return [(one["metadata"]["namespace"], name_of(one)) for one in self.cluster.list("daemonsets.apps")]

    def reconcile(self, key: Key) -> float | None:
        """Create, remove and count the pods of one DaemonSet."""
        daemonset = self.cluster.find("daemonsets.apps", *key)
        if daemonset is None or is_deleting(daemonset):
            return None
        nodes = {name_of(node): node for node in self.cluster.list("nodes") if not is_deleting(node)}
        wanted = {name for name, node in nodes.items() if runs_on(daemonset, node)}
        pods = [pod for pod in self.cluster.list("pods", key[0]) if is_owned_by(pod, daemonset)]
        held = {target_node(pod): pod for pod in pods if not is_finished(pod)}
        for node in sorted(wanted - set(held)):
            self.cluster.create("pods", daemon_pod(daemonset, node))
        for pod in pods:
            host = nodes.get(target_node(pod))
            unwanted = host is not None and not runs_on(daemonset, host, ("NoExecute",))
            if (unwanted or is_finished(pod)) and not is_deleting(pod):
                self.discard("pods", key[0], name_of(pod))
        self._count(daemonset, wanted | (set(held) & set(nodes)), held)
        return None

    def _count(self, daemonset: Object, wanted: set[str], held: dict[str, Object]) -> None:
        here = [pod for node, pod in held.items() if node in wanted]
        ready = sum(1 for pod in here if is_ready(pod))
        status = {
            "currentNumberScheduled": len(here),
            "desiredNumberScheduled": len(wanted),
            "numberAvailable": ready,
            "numberMisscheduled": len(held) - len(here),
            "numberReady": ready,
            "numberUnavailable": len(wanted) - ready,
            "observedGeneration": daemonset["metadata"].get("generation", 1),
            "updatedNumberScheduled": len(here),
        }
        self.set_status("daemonsets.apps", daemonset, status)


def runs_on(daemonset: Object, node: Object, effects: tuple[str, ...] = ("NoSchedule", "NoExecute")) -> bool:
    """Whether the DaemonSet wants a pod on this node: selector, affinity and taints; a pod that runs is only driven off by NoExecute."""
    spec = daemon_spec(daemonset)
    if not matches_node(spec, labels_of(node), name_of(node)):
        return False
    taints = [one for one in node.get("spec", {}).get("taints") or [] if one.get("effect") in effects]
    return untolerated_taint(spec["tolerations"], taints) is None


def daemon_spec(daemonset: Object) -> Object:
    """The pod spec with the tolerations that every daemon pod gets."""
    spec = copy.deepcopy(daemonset["spec"]["template"]["spec"])
    every = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in TOLERATIONS]
    if spec.get("hostNetwork"):
        every.append({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"})
    spec["tolerations"] = [*(spec.get("tolerations") or []), *every]
    return spec


def daemon_pod(daemonset: Object, node: str) -> Object:
    """The pod for one node, pinned to it by affinity on metadata.name."""
    pod = pod_from(daemonset["spec"]["template"], daemonset, None, f"{name_of(daemonset)}-")
    pod["spec"] = daemon_spec(daemonset)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    pod["spec"]["affinity"] = {**(pod["spec"].get("affinity") or {}), "nodeAffinity": required}
    labels = pod["metadata"].setdefault("labels", {})
    labels |= {"controller-revision-hash": template_hash(daemonset), "pod-template-generation": "1"}
    return pod


def target_node(pod: Object) -> str:
    """The node a daemon pod is meant for, bound or not."""
    bound = pod["spec"].get("nodeName")
    if bound:
        return str(bound)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return str(terms[0]["matchFields"][0]["values"][0])


def template_hash(owner: Object) -> str:
    """A stable short hash of a pod template."""
    text = json.dumps(owner["spec"]["template"], sort_keys=True)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:10]
