"""Deployments and ReplicaSets: enough for create, scale, roll out, drain and delete."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.daemonsets import template_hash
from cockpit.sim.controllers.objects import (
    Object,
    is_deleting,
    is_owned_by,
    labels_of,
    matches_labels,
    name_of,
    namespace_of,
    owner_reference,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.pods import is_finished, is_ready, pod_from
from cockpit.sim.controllers.reconcilers import Key, Reconciler

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


class Deployments(Reconciler):
    """One ReplicaSet a template; the old ones shrink as the new one becomes ready."""

    name = "deployment-controller"
    watches = ("deployments.apps", "replicasets.apps")

    def keys(self, event: Any) -> Iterable[Key]:
        """A ReplicaSet touches its Deployment."""
        if event.resource == "deployments.apps":
            return super().keys(event)
        owners = event.object["metadata"].get("ownerReferences") or []
        return [(namespace_of(event.object), one["name"]) for one in owners if one["kind"] == "Deployment"]

    def reconcile(self, key: Key) -> float | None:
        """Make the current ReplicaSet, scale all, count."""
        deployment = self.cluster.find("deployments.apps", *key)
        if deployment is None or is_deleting(deployment):
            return None
        owned = [one for one in self.cluster.list("replicasets.apps", key[0]) if is_owned_by(one, deployment)]
        digest = template_hash(deployment)
        current = next((one for one in owned if labels_of(one).get(HASH) == digest), None) or self._create(deployment, digest, len(owned) + 1)
        wanted = int(deployment["spec"].get("replicas", 1))
        self._scale(deployment, current, wanted)
        ready = int(status_of(current).get("readyReplicas") or 0)
        for old in owned:
            if name_of(old) != name_of(current) and int(old["spec"].get("replicas", 0)) and ready >= wanted:
                self._scale(deployment, old, 0)
        self._count(deployment, owned, current)
        return None

    def _create(self, deployment: Object, digest: str, revision: int) -> Object:
        template = copy.deepcopy(deployment["spec"]["template"])
        labels = {**(template["metadata"].get("labels") or {}), HASH: digest}
        template["metadata"]["labels"] = labels
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
        metadata = {
            "name": f"{name_of(deployment)}-{digest}",
            "namespace": namespace_of(deployment),
            "labels": labels,
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [owner_reference(deployment)],
        }
        spec = {"replicas": 0, "selector": selector, "template": template}
        self.cluster.patch(
            "deployments.apps", namespace_of(deployment), name_of(deployment), {"metadata": {"annotations": {REVISION: str(revision)}}}
        )
        return self.cluster.create("replicasets.apps", {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})

    def _scale(self, deployment: Object, replicaset: Object, replicas: int) -> None:
        held = int(replicaset["spec"].get("replicas", 0))
        if held == replicas:
            return
        self.cluster.patch("replicasets.apps", namespace_of(replicaset), name_of(replicaset), {"spec": {"replicas": replicas}})
        way = "up" if replicas > held else "down"
        message = f"Scaled {way} replica set {name_of(replicaset)} from {held} to {replicas}"
        self.cluster.event(deployment, "ScalingReplicaSet", message, component="deployment-controller")

    def _count(self, deployment: Object, owned: list[Object], current: Object) -> None:
        every = {name_of(one): one for one in [*owned, current]}.values()
        replicas = sum(int(status_of(one).get("replicas") or 0) for one in every)
        ready = sum(int(status_of(one).get("readyReplicas") or 0) for one in every)
        wanted = int(deployment["spec"].get("replicas", 1))
        now, held = self.cluster.now(), status_of(deployment).get("conditions")
        enough = ready >= wanted - wanted // 4
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        lacking = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        conditions = with_condition(held, "Available", *(available if enough else lacking), now)
        done = ready >= wanted and int(status_of(current).get("replicas") or 0) == wanted
        verb, reason = ("has successfully progressed", "NewReplicaSetAvailable") if done else ("is progressing", "ReplicaSetUpdated")
        conditions = with_condition(conditions, "Progressing", "True", reason, f'ReplicaSet "{name_of(current)}" {verb}.', now)
        counts = {
            "replicas": replicas or None,
            "readyReplicas": ready or None,
            "availableReplicas": ready or None,
            "updatedReplicas": int(status_of(current).get("replicas") or 0) or None,
            "unavailableReplicas": max(0, wanted - ready) or None,
        }
        self.set_status(
            "deployments.apps",
            deployment,
            {**counts, "observedGeneration": deployment["metadata"].get("generation", 1), "conditions": conditions},
        )


class ReplicaSets(Reconciler):
    """Keeps the wanted number of pods."""

    name = "replicaset-controller"
    watches = ("replicasets.apps", "pods")

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches its ReplicaSet."""
        if event.resource == "replicasets.apps":
            return super().keys(event)
        owners = event.object["metadata"].get("ownerReferences") or []
        return [(namespace_of(event.object), one["name"]) for one in owners if one["kind"] == "ReplicaSet"]

    def reconcile(self, key: Key) -> float | None:
        """Create or delete pods until the number is right."""
        replicaset = self.cluster.find("replicasets.apps", *key)
        if replicaset is None or is_deleting(replicaset):
            return None
        owned = [pod for pod in self.cluster.list("pods", key[0]) if is_owned_by(pod, replicaset)]
        pods = [pod for pod in owned if not is_finished(pod) and not is_deleting(pod)]
        wanted = int(replicaset["spec"].get("replicas", 1))
        for _ in range(wanted - len(pods)):
            pod = self.cluster.create("pods", pod_from(replicaset["spec"]["template"], replicaset, None, f"{name_of(replicaset)}-"))
            self.cluster.event(replicaset, "SuccessfulCreate", f"Created pod: {name_of(pod)}", component=self.name)
            pods.append(pod)
        for pod in sorted(pods, key=lambda one: (is_ready(one), bool(one["spec"].get("nodeName"))))[: max(0, len(pods) - wanted)]:
            self.cluster.delete("pods", key[0], name_of(pod))
            self.cluster.event(replicaset, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", component=self.name)
            pods.remove(pod)
        ready = sum(1 for pod in pods if is_ready(pod))
        counts = {"replicas": len(pods), "readyReplicas": ready or None, "availableReplicas": ready or None}
        labels = (replicaset["spec"]["template"].get("metadata") or {}).get("labels") or {}
        fully = len(pods) if matches_labels(replicaset["spec"].get("selector"), labels) else 0
        generation = replicaset["metadata"].get("generation", 1)
        self.set_status("replicasets.apps", replicaset, {**counts, "fullyLabeledReplicas": fully or None, "observedGeneration": generation})
        return None
