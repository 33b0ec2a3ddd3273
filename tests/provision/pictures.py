"""A cluster and an AWS that answer from a table, and the plan of a target as the engine comes to it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from actions.core import Clients, Plan
from actions.core.provisioning import Params
from actions.provision import look, plan
from cockpit.clients.shell import Shell
from cockpit.cloud import Offer
from cockpit.errors import CockpitError, NotFound
from cockpit.model import NodePool, Served
from cockpit.store import Store, Upsert

KUEUE = "clusterqueues.kueue.x-k8s.io"
MONITORS = Served("servicemonitors.monitoring.coreos.com", "monitoring.coreos.com", "v1", "ServiceMonitor")
SERVED = (
    Served("nodepools.karpenter.sh", "karpenter.sh", "v1", "NodePool", False),
    Served("ec2nodeclasses.karpenter.k8s.aws", "karpenter.k8s.aws", "v1", "EC2NodeClass", False, {"spec.capacityReservationSelectorTerms": "array"}),
    Served(KUEUE, "kueue.x-k8s.io", "v1beta2", "ClusterQueue", False, {"spec.cohortName": "string"}),
)
P5 = Offer("p5.48xlarge", 8, "h100", 80 << 30, 32, 192, 2 << 40, ("us-east-1a",), 55.04, {"us-east-1a": 20.5})
G6E = Offer("g6e.48xlarge", 8, "l40s", 48 << 30, 4, 192, 1536 << 30, ("us-east-1b",), 30.13)


class Kube:
    """A cluster with these objects."""

    simulated, context, kubeconfig, impersonate, cluster = False, "ctx", "/etc/kube config", None, "train-one.us-east-1.eksctl.io"

    def __init__(self, objects: Mapping[str, Any], forbidden: Iterable[str] = ()) -> None:
        self.objects, self.forbidden = objects, set(forbidden)

    def request(self, method: str, path: str, **_: Any) -> Any:
        if path not in self.objects:
            raise NotFound(path)
        return self.objects[path]

    def may(self, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        return resource not in self.forbidden


@dataclasses.dataclass
class Cloud:
    """An AWS that answers from a table."""

    said: Mapping[str, Any]
    region: str = "us-east-1"

    def at(self, region: str) -> Cloud:
        return self

    def ask(self, name: str, **_: Any) -> Any:
        found = self.said[name]
        if isinstance(found, CockpitError):
            raise found
        return found


def planned(
    params: Params,
    objects: Mapping[str, Any] | None = None,
    served: tuple[Served, ...] = SERVED,
    said: Mapping[str, Any] | None = None,
    pools: tuple[NodePool, ...] = (),
    forbidden: Iterable[str] = (),
) -> Plan:
    """The plan of a target as the engine comes to it: sources, look, plan."""
    store = Store()
    store.apply(Upsert("served", "served", served), Upsert("nodepools", "nodepools", pools))
    cloud: Any = Cloud({"offers": (P5, G6E), "security_groups": (), "reservations": ()} | dict(said or {}))
    clients = Clients(kube=Kube(objects or {}, forbidden), shell=Shell(), aws=cloud)
    for fact in look(clients, store.snapshot(), params, threading.Event()):
        store.apply(fact)
    return plan(store.snapshot(), params)


def bodies(found: Plan) -> dict[str, Any]:
    return {change.target.kind: change.body for change in found.changes}
