"""NodePool and EC2NodeClass status: resources in use, conditions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.karpenter_rules import NODEPOOL
from cockpit.sim.controllers.karpenter_state import CLAIMS, POOLS
from cockpit.sim.controllers.machines import IMAGE_ID
from cockpit.sim.controllers.objects import Object, is_deleting, is_true, labels_of, name_of, status_of, with_condition
from cockpit.sim.controllers.quantities import amounts, total, written_amounts
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.instance_types import ZONE_IDS

CLASSES = "ec2nodeclasses.karpenter.k8s.aws"
CLASS_CONDITIONS = ("AMIsReady", "InstanceProfileReady", "SecurityGroupsReady", "SubnetsReady", "ValidationSucceeded", "Ready")


class NodePools(Reconciler):
    """Counts each pool's nodes and resources, and says whether it is ready."""

    name = "karpenter-nodepools"
    watches = (POOLS, CLAIMS, CLASSES)

    def keys(self, event: Any) -> Iterable[Key]:
        """A claim touches its pool, a node class every pool."""
        if event.resource == POOLS:
            return super().keys(event)
        if event.resource == CLAIMS:
            pool = labels_of(event.object).get(NODEPOOL)
            return [("", pool)] if pool else []
        return [("", name_of(one)) for one in self.cluster.list(POOLS)]

    def reconcile(self, key: Key) -> float | None:
        """One pool's status."""
        pool = self.cluster.find(POOLS, None, key[1])
        if pool is None or is_deleting(pool):
            return None
        claims = self.cluster.list(CLAIMS, labels={NODEPOOL: key[1]})
        used = total(amounts(status_of(claim).get("capacity")) for claim in claims)
        resources = {name: value for name, value in written_amounts(used).items() if not name.startswith("hugepages")}
        resources["nodes"] = str(len(claims))
        conditions = pool_conditions(pool, claims, self._node_class(pool), self.cluster.now())
        self.set_status(POOLS, pool, {"resources": resources, "nodes": len(claims), "conditions": conditions})
        return None

    def _node_class(self, pool: Object) -> Object | None:
        return self.cluster.find(CLASSES, None, pool["spec"]["template"]["spec"]["nodeClassRef"]["name"])


def pool_conditions(pool: Object, claims: list[Object], node_class: Object | None, now: str) -> list[Object]:
    """A NodePool's conditions: Ready needs its node class to be."""
    generation = pool["metadata"].get("generation", 1)
    held = status_of(pool).get("conditions") or []
    ready = node_class is not None and is_true(node_class, "Ready")
    found = "NodeClass not found on cluster" if node_class is None else "NodeClass is not ready"
    missing = ("False", "NodeClassNotFound" if node_class is None else "NodeClassNotReady", found)
    said = [("ValidationSucceeded", "True", "ValidationSucceeded", "")]
    said.append(("NodeClassReady", "True", "NodeClassReady", "") if ready else ("NodeClassReady", *missing))
    if any(is_true(claim, "Registered") for claim in claims):
        said.append(("NodeRegistrationHealthy", "True", "NodeRegistrationHealthy", ""))
    elif not any(one["type"] == "NodeRegistrationHealthy" for one in held):
        said.append(("NodeRegistrationHealthy", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation"))
    said.append(("Ready", "True", "Ready", "") if ready else ("Ready", "False", "UnhealthyDependents", "NodeClassReady=False"))
    for kind, status, reason, message in said:
        held = with_condition(held, kind, status, reason, message, now, observedGeneration=generation)
    return held


class NodeClasses(Reconciler):
    """Resolves each EC2NodeClass to simulated images, subnets and security groups."""

    name = "karpenter-nodeclasses"
    watches = (CLASSES,)

    def reconcile(self, key: Key) -> float | None:
        """One class's status."""
        node_class = self.cluster.find(CLASSES, None, key[1])
        if node_class is None or is_deleting(node_class):
            return None
        now, generation = self.cluster.now(), node_class["metadata"].get("generation", 1)
        conditions = status_of(node_class).get("conditions")
        for kind in CLASS_CONDITIONS:
            conditions = with_condition(conditions, kind, "True", kind, "", now, observedGeneration=generation)
        status = {
            "amis": [{"id": IMAGE_ID, "name": "amazon-eks-node-al2023-SIMULATED", "requirements": []}],
            "subnets": [{"id": f"subnet-0simulated{zone[-1]}", "zone": zone, "zoneID": ZONE_IDS[zone]} for zone in ZONE_IDS],
            "securityGroups": [{"id": "sg-0simulated", "name": "practice-node"}],
            "instanceProfile": "practice_simulated",
            "conditions": conditions,
        }
        self.set_status(CLASSES, node_class, status)
        return None
