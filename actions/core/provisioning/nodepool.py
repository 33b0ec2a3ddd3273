"""A NodePool and its EC2NodeClass, by preset: GPUs, GPUs with EFA in one zone, CPUs with AMX."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from actions.core import Clients, Outcome, Plan, Risk, Target
from actions.core.provisioning import Params, applied, check_may, fetched, heard, look, may_write, named, place, scope_of, the_kube, told
from actions.core.provisioning.cluster import node_role
from actions.core.provisioning.presets import CPUS, GPUS, PRESETS, Preset, Reach, known_offers, reaches, room
from actions.core.render import manifest
from cockpit.cloud import Offer, Reservation
from cockpit.errors import BadInput, NotServed, Refused
from cockpit.instance_types import prices_as_of
from cockpit.model import Condition
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

GIB = 1 << 30
SHOWN = 8


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The objects that are there, and what AWS offers; on the practice cluster AWS is not asked."""
    scope, kube, preset = scope_of(params), the_kube(clients), PRESETS[params.preset]
    name, region = place(params, clients)
    yield look(scope, "place", lambda: (named(name), region))
    pool, node_class = _targets(params)
    for target in (pool, node_class):
        yield look(scope, f"object:{target}", fetched, kube, target.path())
        yield look(scope, f"may:{target.resource}:{target.namespace}", may_write, kube, target)
    if kube.simulated:
        yield look(scope, "offers", _no_aws)
        return
    aws = clients.aws.at(region)
    yield look(scope, "offers", lambda: aws.ask("offers", patterns=params.instance_types or preset.patterns))
    if params.reservation:
        yield look(scope, "reservations", lambda: aws.ask("reservations"))
    if params.preset == "gpu-efa":
        yield look(scope, "groups", lambda: aws.ask("security_groups", discovery=name))


def _no_aws() -> None:
    raise Refused("the practice cluster has no AWS behind it")


def _targets(params: Params) -> tuple[Target, Target]:
    name = params.nodepool or params.preset
    pool = Target("NodePool", name, "", "karpenter.sh", "v1", "nodepools")
    return pool, Target("EC2NodeClass", name, "", "karpenter.k8s.aws", "v1", "ec2nodeclasses")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What a pool of that kind would be, and the two objects where they are not so yet."""
    scope, preset = scope_of(params), PRESETS[params.preset]
    name, _ = told(snapshot, scope, "place")
    pool, node_class = _targets(params)
    for target in (pool, node_class):
        if snapshot.believed("served") and target.resource not in snapshot.served:
            raise NotServed(f"the cluster serves no {target.resource}: Karpenter is not installed", "provision --target cluster installs it")
    check_may(snapshot, scope, [pool, node_class])
    zones, reservation, said = _zones(snapshot, scope, params)
    offers, unasked = _offers(snapshot, scope, params, preset, zones)
    limit = (params.cpus or CPUS) if preset.counts == "cpu" else (params.gpus or GPUS)
    reached = _fit(preset, offers, limit)
    bodies = (_class_body(snapshot, params, name, reservation), _pool_body(params, preset, reached, zones, limit))
    found = [told(snapshot, scope, f"object:{target}") for target in (node_class, pool)]
    whats = (f"EC2NodeClass {node_class.name}", f"NodePool {pool.name}: {_limit_words(preset, limit)}, {', '.join(params.capacity)}")
    made = [applied(target, body, before, what) for target, body, before, what in zip((node_class, pool), bodies, found, whats, strict=True)]
    changes = tuple(one for one in made if one is not None)
    notes = (*said, *_notes(preset, reached, limit, bool(unasked)))
    if not changes:
        return Plan(already=f"{pool} is there and is so", notes=notes, params=params)
    warnings = (*unasked, *_warnings(snapshot, scope, params))
    return Plan(changes, notes=notes, warnings=warnings, risk=Risk.CHANGE, params=params)


def _zones(snapshot: Snapshot, scope: str, params: Params) -> tuple[tuple[str, ...], Reservation | None, tuple[str, ...]]:
    """The zones nodes may come up in, the reservation they come from, and why."""
    if not params.reservation:
        return params.zones, None, ()
    found, why = heard(snapshot, scope, "reservations", ())
    one = next((one for one in found if one.id == params.reservation), None)
    if one is None and not why:
        known = ", ".join(f"{one.id} ({one.instance_type}, {one.zone})" for one in found) or "there are none"
        raise BadInput(f"no active reservation {params.reservation!r}", known)
    if one is None:
        return params.zones, None, (f"the reservation could not be looked at: {why}",)
    if params.zones and one.zone not in params.zones:
        raise BadInput(f"the reservation is in {one.zone}, --zones says {', '.join(params.zones)}", f"--zones {one.zone}")
    said = f"{one.id}: {one.available} of {one.total} {one.instance_type} free in {one.zone}"
    return (one.zone,), one, (said,)


def _offers(snapshot: Snapshot, scope: str, params: Params, preset: Preset, zones: tuple[str, ...]) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
    """The types that may be bought, and why AWS did not say which; EFA does not leave a zone, so its pool has one."""
    listed, why = heard(snapshot, scope, "offers", None)
    everything = known_offers(preset) if listed is None else tuple(one for one in listed if preset.takes(one))
    wanted = tuple(one for one in everything if one.name in params.instance_types or not params.instance_types)
    missing = sorted(set(params.instance_types) - {one.name for one in wanted})
    if missing:
        raise BadInput(f"{', '.join(missing)}: no type of the preset {preset.name}", f"it has {', '.join(one.name for one in everything[:SHOWN])}")
    here = tuple(one for one in wanted if not zones or not one.zones or set(zones) & set(one.zones))
    if not here:
        raise Refused(f"none of the {preset.name} types is offered in {', '.join(zones)}", "leave --zones out, or name other zones")
    return here, (f"AWS was not asked: types, EFA counts and prices are from the table ({prices_as_of()}): {why}",) if listed is None else ()


def _fit(preset: Preset, offers: tuple[Offer, ...], limit: int) -> tuple[Reach, ...]:
    """The types of which a whole node fits under the limit; Refused with the arithmetic when none does."""
    found = reaches(preset, offers, limit)
    fits = tuple(one for one in found if one.nodes)
    if not fits:
        least = min(offers, key=lambda one: one.gpus if preset.counts != "cpu" else one.vcpu)
        count = least.vcpu if preset.counts == "cpu" else least.gpus
        flag = "--cpus" if preset.counts == "cpu" else "--gpus"
        raise Refused(f"{flag} {limit} is less than one node: the smallest, {least.name}, has {count}", f"{flag} {count}")
    return fits


def _pool_body(params: Params, preset: Preset, reached: tuple[Reach, ...], zones: tuple[str, ...], limit: int) -> dict[str, Any]:
    cpus, memory = room(reached)
    holes = {
        "name": params.nodepool or params.preset,
        "capacity_types": ["reserved"] if params.reservation else list(params.capacity),
        "instance_types": [one.offer.name for one in reached],
        "zone_requirement": {"key": "topology.kubernetes.io/zone", "operator": "In", "values": list(zones)} if zones else None,
        "cpu_limit": limit if preset.counts == "cpu" else cpus,
        "memory_limit": f"{-(-memory // GIB)}Gi",
        "gpu_limit": limit,
    }
    return manifest(f"nodepools/{preset.name}", holes)


def _class_body(snapshot: Snapshot, params: Params, name: str, reservation: Reservation | None) -> dict[str, Any]:
    served = snapshot.served.get("ec2nodeclasses.karpenter.k8s.aws")
    fields = served.fields if served else {}
    for value, flag, path, since in (
        (params.group, "--group", "spec.placementGroupSelector", "1.11"),
        (params.reservation, "--reservation", "spec.capacityReservationSelectorTerms", "1.3"),
    ):
        if value and fields and path not in fields:
            raise Refused(f"{flag}: this Karpenter has no {path}", f"Karpenter {since} brought it")
    holes = {
        "name": params.nodepool or params.preset,
        "role": node_role(name),
        "cluster": name,
        "reservation_terms": [{"id": reservation.id if reservation else params.reservation}] if params.reservation else None,
        "placement_group": {"name": params.group} if params.group else None,
    }
    return manifest("nodepools/ec2nodeclass", holes)


def _limit_words(preset: Preset, limit: int) -> str:
    return f"at most {limit} {'CPUs' if preset.counts == 'cpu' else 'GPUs'}"


def _notes(preset: Preset, reached: tuple[Reach, ...], limit: int, table: bool) -> tuple[str, ...]:
    """Each type: what it holds, what it costs, and how many nodes of it the limits really allow."""
    cheapest = sorted(reached, key=lambda one: (one.offer.dollars_per_hour is None, one.offer.dollars_per_hour or 0.0))
    lines = [_line(one, preset, limit) for one in cheapest[:SHOWN]]
    if len(cheapest) > SHOWN:
        lines.append(f"and {len(cheapest) - SHOWN} more types")
    return tuple(lines)


def _line(one: Reach, preset: Preset, limit: int) -> str:
    offer = one.offer
    what = f"{offer.gpus} x {offer.gpu_model}, {offer.efa} EFA" if preset.counts != "cpu" else f"{offer.vcpu} CPUs, {offer.efa} EFA"
    price = "price unknown" if offer.dollars_per_hour is None else f"${offer.dollars_per_hour:g}/h"
    spot = f", spot ${min(offer.spot.values()):g}/h" if offer.spot else ""
    reach = one.cpus if preset.counts == "cpu" else one.gpus
    short = "" if reach == limit else f" of {limit}"
    nodes = "node" if one.nodes == 1 else "nodes"
    return f"{offer.name}: {what}, {price}{spot}; {one.nodes} {nodes} = {reach}{short} {'CPUs' if preset.counts == 'cpu' else 'GPUs'}"


def _warnings(snapshot: Snapshot, scope: str, params: Params) -> tuple[str, ...]:
    found = []
    if params.preset == "gpu-efa" and len(params.zones) != 1 and not params.reservation:
        found.append("EFA does not leave a zone: --zones ZONE keeps the nodes of a job together")
    groups, _ = heard(snapshot, scope, "groups", None)
    for group in groups or ():
        if not (group.open_in and group.open_out):
            found.append(f"{group.id} is not open to itself in and out, so EFA will not work; --target cluster mends it")
    if groups is not None and not groups:
        found.append("no security group carries the discovery tag; --target cluster puts it there")
    if params.group and params.capacity != ("on-demand",):
        found.append("a cluster placement group is small: spot and on-demand nodes compete for its room")
    return tuple(found)


def stands(snapshot: Snapshot, params: Params) -> Outcome:
    """Whether the NodePool is Ready, and which condition of it or its EC2NodeClass holds it."""
    name = params.nodepool or params.preset
    pool, node_class = snapshot.nodepools.get(name), snapshot.nodeclasses.get(name)
    result: dict[str, Any] = {"nodepool": name, "ready": pool.ready if pool else None, "holds": []}
    if pool is None:
        return Outcome(False, line=f"nodepool/{name}: not seen yet", result=result)
    if pool.ready:
        return Outcome(True, line=f"nodepool/{name}: Ready", result=result)
    holding = [f"{one.type}: {_why(one)}" for one in (*(node_class.conditions if node_class else ()), *pool.conditions) if _holds(one)]
    result["holds"] = holding
    if node_class is None and snapshot.believed("nodeclasses"):
        holding = [f"there is no EC2NodeClass {name}"]
    return Outcome(False, line=f"nodepool/{name}: waits for {'; '.join(holding) or 'Karpenter, which has said nothing yet'}", result=result)


def _holds(one: Condition) -> bool:
    return one.status != "True" and one.type != "Ready"


def _why(one: Condition) -> str:
    return " ".join(filter(None, (one.reason, one.message))) or one.status
