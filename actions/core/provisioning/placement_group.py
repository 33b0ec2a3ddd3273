"""A cluster placement group: nodes of a job close together in one zone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from actions.core import Clients, Plan, Risk, Target
from actions.core.provisioning import Params, aws_change, eks, look, scope_of, told
from cockpit.cloud import PlacementGroup
from cockpit.errors import Refused
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The placement groups that are there."""
    scope, (name, region) = scope_of(params), eks(params, clients)
    aws = clients.aws.at(region)
    yield look(scope, "place", lambda: (params.group or f"{name}-training", aws.region))
    yield look(scope, "placement-groups", lambda: aws.ask("placement_groups"))


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Make it where it is not there."""
    scope = scope_of(params)
    name, region = told(snapshot, scope, "place")
    there: PlacementGroup | None = next((one for one in told(snapshot, scope, "placement-groups") if one.name == name), None)
    use = f"provision --target nodepool --preset gpu-efa --group {name} puts nodes there (Karpenter 1.11 or newer)"
    if there is not None and there.strategy != "cluster":
        raise Refused(f"{name} is there and is a {there.strategy} placement group", "--group OTHER")
    if there is not None:
        return Plan(already=f"placement group {name} is {there.state}", notes=(use,), real=True)
    undo = aws_change(
        "delete_placement_group",
        region,
        {"name": name},
        Target("PlacementGroup", name),
        f"delete the placement group {name}",
        f"aws ec2 delete-placement-group --region {region} --group-name {name}",
    )
    line = f"aws ec2 create-placement-group --region {region} --group-name {name} --strategy cluster"
    target, summary = Target("PlacementGroup", name), f"make the cluster placement group {name} in {region}"
    made = aws_change("create_placement_group", region, {"name": name, "strategy": "cluster"}, target, summary, line, inverse=undo)
    return Plan((made,), notes=(use, "it costs nothing; what runs in it does"), risk=Risk.CHANGE, real=True)
