"""A NodeClaim's way up: Launched, Registered, Initialized, with what it waits for in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.karpenter_provisioner import offerings_for
from cockpit.sim.controllers.karpenter_rules import NODEPOOL, template_labels
from cockpit.sim.controllers.karpenter_state import CLAIMS, COMPONENT, POOLS, KarpenterState
from cockpit.sim.controllers.machines import (
    DEVICES,
    IMAGE_ID,
    NOT_READY,
    UNREGISTERED,
    Machine,
    allocatable_of,
    capacity_of,
    node_object,
    offering_labels,
)
from cockpit.sim.controllers.objects import (
    Object,
    condition_of,
    is_deleting,
    is_true,
    labels_of,
    name_of,
    owner_reference,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.quantities import amounts
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.instance_types import INSTANCE_TYPES, Offering

LAUNCH_SECONDS = 1.0
REGISTER_SECONDS = 2.0
SYNC_SECONDS = 0.4
STEPS = ("Launched", "Registered", "Initialized")
EPHEMERAL_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.cloudprovider.kubernetes.io/uninitialized")
ZONE_OCTETS = {"a": 16, "b": 48, "c": 80}


class NodeClaims(Reconciler):
    """Launches each claim on the cheapest offering with capacity, registers its node and waits until that is whole."""

    name = "karpenter-nodeclaim-lifecycle"
    watches = (CLAIMS, "nodes")

    def __init__(self, cluster: Any, options: Any, state: KarpenterState) -> None:
        super().__init__(cluster, options)
        self.state = state
        self._random = random.Random(options.seed + 1)
        self._since: dict[tuple[str, str], float] = {}
        self._machines: dict[str, Machine] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """A node touches the claim that owns it."""
        if event.resource == CLAIMS:
            return super().keys(event)
        owners = event.object["metadata"].get("ownerReferences") or []
        return [("", one["name"]) for one in owners if one["kind"] == "NodeClaim"]

    def reconcile(self, key: Key) -> float | None:
        """One step further for one claim."""
        claim = self.cluster.find(CLAIMS, None, key[1])
        if claim is None or is_deleting(claim):
            self._since = {step: at for step, at in self._since.items() if step[0] != key[1]}
            return None
        if condition_of(claim, "Launched") is None:
            self._set(claim, *((step, "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation") for step in STEPS))
            claim = self.cluster.get(CLAIMS, None, key[1])
        if not is_true(claim, "Launched"):
            return self._wait(claim, "launch", LAUNCH_SECONDS) or self._launch(claim)
        if not is_true(claim, "Registered"):
            return self._register(claim)
        return self._initialize(claim)

    def _wait(self, claim: Object, step: str, seconds: float) -> float | None:
        """Seconds until a step that takes so long is over; None when it is."""
        now = asyncio.get_running_loop().time()
        since = self._since.setdefault((name_of(claim), step), now)
        left = since + seconds * self.options.pace - now
        return left if left > 0 else None

    def _launch(self, claim: Object) -> float | None:
        """Ask EC2 for each offering in turn; without any, say so and give the claim up."""
        wanted = offerings_for(claim, self.state.is_unavailable)
        chosen = next((one for one in wanted if self.state.has_capacity(one)), None)
        for offering in wanted[: wanted.index(chosen) if chosen else len(wanted)]:
            self.state.mark_unavailable(offering)
        if chosen is None:
            self._give_up(claim, wanted)
            return None
        instance = INSTANCE_TYPES[chosen.instance_type]
        machine = self._machine(claim, chosen)
        self._machines[machine.provider_id] = machine
        labels = offering_labels(instance, chosen.zone, chosen.capacity_type)
        self.cluster.patch(CLAIMS, None, name_of(claim), {"metadata": {"labels": labels}})
        status = {
            "providerID": machine.provider_id,
            "imageID": IMAGE_ID,
            "capacity": capacity_of(instance),
            "allocatable": allocatable_of(instance),
        }
        self.set_status(CLAIMS, self.cluster.get(CLAIMS, None, name_of(claim)), status)
        self._set(
            self.cluster.get(CLAIMS, None, name_of(claim)),
            ("Launched", "True", "Launched", ""),
            ("Registered", "Unknown", "NodeNotFound", "Node not registered with cluster"),
            ("Initialized", "Unknown", "NodeNotFound", "Node not registered with cluster"),
        )
        return None

    def _give_up(self, claim: Object, wanted: list[Offering]) -> None:
        zones = ", ".join(sorted({one.zone for one in wanted})) or "any zone"
        types = ", ".join(dict.fromkeys(one.instance_type for one in wanted)) or "any instance type"
        message = (
            f"NodeClaim {name_of(claim)} event: creating instance, insufficient capacity, with fleet error(s), "
            f"InsufficientInstanceCapacity: We currently do not have sufficient {types} capacity "
            f"in the Availability Zone you requested ({zones})."
        )
        self.cluster.event(claim, "InsufficientCapacityError", message, type="Warning", component=COMPONENT)
        self.cluster.delete(CLAIMS, None, name_of(claim))

    def _machine(self, claim: Object, offering: Offering) -> Machine:
        """A machine with an address that no node has."""
        taken = {address["address"] for node in self.cluster.list("nodes") for address in status_of(node).get("addresses") or []}
        nodepool = labels_of(claim).get(NODEPOOL)
        octet = ZONE_OCTETS.get(offering.zone[-1], 112)
        while True:
            address = f"10.0.{octet + self._random.randrange(32)}.{self._random.randrange(4, 255)}"
            if address not in taken:
                return Machine(offering.instance_type, offering.zone, offering.capacity_type, nodepool, address)

    def _register(self, claim: Object) -> float | None:
        """The node appears with its unregistered taint; a moment later Karpenter syncs it and takes the taint away."""
        wait = self._wait(claim, "register", REGISTER_SECONDS)
        if wait is not None:
            return wait
        node = self._node_of(claim)
        if node is None:
            self._create_node(claim)
            return SYNC_SECONDS * self.options.pace
        wait = self._wait(claim, "sync", SYNC_SECONDS)
        if wait is not None:
            return wait
        taints = [one for one in node["spec"].get("taints") or [] if one["key"] != UNREGISTERED["key"]]
        labels = {"karpenter.sh/registered": "true"}
        self.cluster.patch("nodes", None, name_of(node), {"metadata": {"labels": labels}, "spec": {"taints": taints or None}})
        self.set_status(CLAIMS, claim, {"nodeName": name_of(node)})
        self._set(self.cluster.get(CLAIMS, None, name_of(claim)), ("Registered", "True", "Registered", ""))
        return 0.0

    def _create_node(self, claim: Object) -> None:
        labels = labels_of(claim)
        provider_id = status_of(claim)["providerID"]
        machine = self._machine_again(claim, provider_id)
        nodepool = self.cluster.find(POOLS, None, labels.get(NODEPOOL, ""))
        own = template_labels(nodepool) if nodepool else {}
        taints = [*(claim["spec"].get("taints") or []), *(claim["spec"].get("startupTaints") or []), UNREGISTERED, NOT_READY]
        node = node_object(machine, own, taints)
        node["spec"]["providerID"] = provider_id
        node["metadata"]["ownerReferences"] = [owner_reference(claim, controller=False)]
        node["metadata"]["annotations"] = {
            key: value for key, value in (claim["metadata"].get("annotations") or {}).items() if key.startswith("karpenter.sh/")
        }
        self.cluster.create("nodes", node)

    def _machine_again(self, claim: Object, provider_id: str) -> Machine:
        """The machine a claim was launched on; one launched before this process began gets a new address."""
        labels = labels_of(claim)
        offering = Offering(
            labels["node.kubernetes.io/instance-type"], labels["topology.kubernetes.io/zone"], labels["karpenter.sh/capacity-type"], 0.0
        )
        return self._machines.pop(provider_id, None) or self._machine(claim, offering)

    def _node_of(self, claim: Object) -> Object | None:
        provider_id = status_of(claim).get("providerID")
        return next((one for one in self.cluster.list("nodes") if one["spec"].get("providerID") == provider_id), None)

    def _initialize(self, claim: Object) -> float | None:
        """Initialized becomes True once nothing is missing; from then on it stays."""
        if is_true(claim, "Initialized"):
            return None
        node = self._node_of(claim)
        missing = missing_of(claim, node)
        if missing is not None:
            self._set(claim, ("Initialized", "Unknown", *missing))
            return 5.0
        assert node is not None
        self.cluster.patch("nodes", None, name_of(node), {"metadata": {"labels": {"karpenter.sh/initialized": "true"}}})
        self._set(claim, ("Initialized", "True", "Initialized", ""))
        return None

    def _set(self, claim: Object, *said: tuple[str, str, str, str]) -> None:
        """Set conditions, and Ready from what they amount to."""
        now, generation = self.cluster.now(), claim["metadata"].get("generation", 1)
        conditions = status_of(claim).get("conditions")
        for kind, status, reason, message in said:
            conditions = with_condition(conditions, kind, status, reason, message, now, observedGeneration=generation)
        conditions = with_condition(conditions, "Ready", *readiness(conditions or []), now, observedGeneration=generation)
        self.set_status(CLAIMS, claim, {"conditions": conditions})


def readiness(conditions: list[Object]) -> tuple[str, str, str]:
    """Status, reason and message of Ready from the steps."""
    held = {one["type"]: one["status"] for one in conditions}
    open_steps = {step: held.get(step, "Unknown") for step in sorted(STEPS) if held.get(step) != "True"}
    if not open_steps:
        return "True", "Ready", ""
    status = "False" if "False" in open_steps.values() else "Unknown"
    reason = "UnhealthyDependents" if status == "False" else "ReconcilingDependents"
    return status, reason, ", ".join(f"{step}={value}" for step, value in open_steps.items())


def missing_of(claim: Object, node: Object | None) -> tuple[str, str] | None:
    """(reason, message) of what keeps a registered claim from being initialized; None when nothing does."""
    if node is None:
        return "NodeNotFound", "Node not registered with cluster"
    if not is_true(node, "Ready"):
        return "NodeNotReady", "Node status is NotReady"
    taints = {(one["key"], one.get("effect")): one for one in node["spec"].get("taints") or []}
    startup = next((one for one in claim["spec"].get("startupTaints") or [] if (one["key"], one.get("effect")) in taints), None)
    if startup is not None:
        return "StartupTaintsExist", f'StartupTaint "{written_taint(startup)}" still exists'
    ephemeral = next((one for (key, _), one in taints.items() if key in EPHEMERAL_TAINTS), None)
    if ephemeral is not None:
        return "KnownEphemeralTaintsExist", f'KnownEphemeralTaint "{written_taint(ephemeral)}" still exists'
    allocatable = amounts(status_of(node).get("allocatable"))
    wanted = amounts(claim["spec"]["resources"]["requests"])
    absent = next((one for one in DEVICES if wanted.get(one) and not allocatable.get(one)), None)
    return None if absent is None else ("ResourceNotRegistered", f'Resource "{absent}" was requested but not registered')


def written_taint(taint: Object) -> str:
    """key=value:effect."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint.get('effect', '')}"
