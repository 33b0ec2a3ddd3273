"""The network: our own Terraform, or the VPC whose subnets already carry the cluster's discovery tag."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.provisioning import Params, eks, heard, look, scope_of, told, tool_note
from actions.core.provisioning.terraform import QUIET, Planned, application, folder_of, has_state, planned
from cockpit.cloud import Subnet
from cockpit.errors import BadInput, NotFound
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

ZONES = 3
NAT_DOLLARS_PER_HOUR = 0.045
"""us-east-1; elsewhere a little more, and each GB that passes costs as much again."""


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """What AWS says of the network, and what Terraform would do about it."""
    scope, (name, region) = scope_of(params), eks(params, clients)
    _checked(params)
    aws = clients.aws.at(region)
    yield look(scope, "place", lambda: (name, aws.region))
    yield look(scope, "subnets", lambda: aws.ask("subnets", discovery=name))
    yield look(scope, "tool:terraform", lambda: clients.shell.which("terraform"))
    yield look(scope, "terraform", lambda: _terraform(clients, aws, name, params))


def _terraform(clients: Clients, aws: Any, name: str, params: Params) -> Planned | None:
    """What Terraform plans; None where the network is someone else's."""
    folder = folder_of(aws.region, name)
    if not has_state(folder) and aws.ask("subnets", discovery=name):
        return None
    clients.shell.require("terraform")
    zones = params.zones or aws.ask("zones")[:ZONES]
    return planned(clients.shell, folder, {"name": name, "region": aws.region, "zones": list(zones), "cidr": params.cidr})


def _checked(params: Params) -> None:
    try:
        network = ipaddress.ip_network(params.cidr)
    except ValueError:
        raise BadInput(f"--cidr {params.cidr!r} is no network", "for example 10.0.0.0/16") from None
    if network.version != 4 or not 16 <= network.prefixlen <= 20:
        raise BadInput(
            f"--cidr {params.cidr} is not between a /16 and a /20", "a VPC holds a /16 at most, and the pods of a training cluster need a /20"
        )


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Use what is there, or apply what Terraform planned."""
    scope = scope_of(params)
    name, region = told(snapshot, scope, "place")
    found: tuple[Subnet, ...] = told(snapshot, scope, "subnets")
    made, _ = heard(snapshot, scope, "terraform")
    if made is None and found:
        return Plan(already=_reused(name, found), notes=_shown(found), real=True)
    if made is None:
        return _untold(snapshot, scope, name, region)
    if not made.actions:
        return Plan(already=f"the VPC of {name} is as it should be: {made.outputs.get('vpc_id') or 'nothing to change'}", real=True)
    counts = {verb: sum(1 for _, one in made.actions if one == verb) for verb in dict.fromkeys(verb for _, verb in made.actions)}
    summary = f"apply Terraform's plan for the VPC of {name} in {region}: " + ", ".join(f"{count} to {verb}" for verb, count in counts.items())
    notes = tuple(f"{verb} {address}" for address, verb in made.actions)
    spends = any("aws_nat_gateway" in address and verb == "create" for address, verb in made.actions)
    dies = any(verb in ("delete", "replace") for _, verb in made.actions)
    return Plan(
        (application(made, summary),),
        notes=(*notes, f"state and outputs are kept in {made.folder}"),
        warnings=("this deletes or replaces what is there",) if dies else (),
        dollars_per_hour=NAT_DOLLARS_PER_HOUR if spends else None,
        confirm=name,
        risk=Risk.DESTROY if dies else Risk.SPEND,
        real=True,
    )


def _untold(snapshot: Snapshot, scope: str, name: str, region: str) -> Plan:
    """What would be run, where Terraform could not plan because it is not there; its own failure otherwise."""
    with contextlib.suppress(NotFound):
        told(snapshot, scope, "terraform")
    folder = folder_of(region, name)
    argv = ("terraform", f"-chdir={folder}", "apply", "-input=false", "-no-color")
    change = Change(
        "shell", "run", Target("Terraform", "vpc"), f"apply Terraform for the VPC of {name} in {region}", " ".join(argv), argv=argv, env=QUIET
    )
    warnings = (*tool_note(snapshot, scope, "terraform"), "what it would make cannot be shown without it")
    return Plan((change,), warnings=warnings, dollars_per_hour=NAT_DOLLARS_PER_HOUR, confirm=name, risk=Risk.SPEND, real=True)


def _reused(name: str, found: tuple[Subnet, ...]) -> str:
    vpcs = ", ".join(sorted({one.vpc for one in found}))
    return f"{vpcs} is tagged for {name}: {len(found)} subnets in {', '.join(sorted({one.zone for one in found}))}"


def _shown(found: tuple[Subnet, ...]) -> tuple[str, ...]:
    return tuple(f"{one.id} {one.zone} {one.cidr} {one.name}, {one.free_addresses} addresses free" for one in found)


def private_by_zone(found: tuple[Subnet, ...]) -> Mapping[str, Subnet]:
    """One private subnet a zone: the one with the most free addresses."""
    best: dict[str, Subnet] = {}
    for one in sorted(found, key=lambda one: one.free_addresses or 0):
        if not one.public:
            best[one.zone] = one
    return dict(sorted(best.items()))
