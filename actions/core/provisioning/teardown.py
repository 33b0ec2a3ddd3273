"""Taking a cluster down: what goes, in the order in which AWS lets it go, and what stays."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.provisioning import DISCOVERY, Params, aws_change, eks, eks_place, heard, look, scope_of, told, tool_note
from actions.core.provisioning.cluster import controller_role, node_role
from actions.core.provisioning.terraform import Planned, application, folder_of, has_state, planned
from cockpit.cloud import Cluster, FileSystem, Role
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

DRAIN_SECONDS = 900
POOLS, CLAIMS = ("karpenter.sh", "v1", "nodepools"), ("karpenter.sh", "v1", "nodeclaims")


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """All that belongs to the cluster."""
    scope, (name, region) = scope_of(params), eks(params, clients)
    aws = clients.aws.at(region)
    yield look(scope, "place", lambda: (name, aws.region))
    yield look(scope, "cluster", lambda: aws.ask("cluster", name=name))
    yield look(scope, "role", lambda: aws.ask("role", name=node_role(name)))
    yield look(scope, "controller", lambda: aws.ask("role", name=controller_role(name)))
    yield look(scope, "subnets", lambda: aws.ask("subnets", discovery=name))
    yield look(scope, "file-systems", lambda: aws.ask("file_systems"))
    yield look(scope, "repositories", lambda: aws.ask("repositories"))
    yield look(scope, "pools", lambda: _pools(clients, name, aws.region))
    yield look(scope, "tool:eksctl", lambda: clients.shell.which("eksctl"))
    yield look(scope, "terraform", lambda: _terraform(clients, aws, name, params))


def _pools(clients: Clients, name: str, region: str) -> tuple[str, ...] | None:
    """The NodePools of the cluster, if it is the one the cockpit speaks to; None otherwise."""
    kube = clients.kube
    if kube is None or eks_place(kube.cluster) not in ((name, region), (name, "")) or kube.simulated:
        return None
    listed = kube.request("GET", "/apis/karpenter.sh/v1/nodepools", params={"limit": "500"})
    if kube.simulated:
        return None
    return tuple(str(one["metadata"]["name"]) for one in listed.get("items") or ())


def _terraform(clients: Clients, aws: Any, name: str, params: Params) -> Planned | None:
    folder = folder_of(aws.region, name)
    if not params.with_vpc or not has_state(folder):
        return None
    clients.shell.require("terraform")
    variables = (folder / "cockpit.auto.tfvars.json").read_text(encoding="utf-8")
    return planned(clients.shell, folder, json.loads(variables), destroy=True)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Node pools, then instance profiles, then the role that they hold, then the cluster, then what was asked for besides."""
    scope = scope_of(params)
    name, region = told(snapshot, scope, "place")
    found: Cluster | None = told(snapshot, scope, "cluster")
    role: Role | None = told(snapshot, scope, "role")
    data = [one for one in told(snapshot, scope, "file-systems") if one.cluster == name]
    pools, unseen = heard(snapshot, scope, "pools", None)
    changes = [*_nodes(pools or ()), *_identities(name, region, role), *_cluster(name, region, found)]
    changes += _data(region, data) if params.with_data else []
    changes += _network(snapshot, scope, name, region)
    leaves = tuple(_leaves(snapshot, scope, params, data))
    if not changes:
        return Plan(already=f"nothing of {name} is left in {region}", notes=leaves, real=True)
    warnings = list(tool_note(snapshot, scope, "eksctl")) if found else []
    if found is not None and pools is None:
        warnings.append(
            f"the cockpit does not speak to {name}"
            + (f" ({unseen})" if unseen else "")
            + ": nodes that Karpenter made are not drained first and may outlive the cluster; use its context"
        )
    return Plan(tuple(changes), notes=leaves, warnings=tuple(warnings), confirm=name, risk=Risk.DESTROY, real=True)


def _nodes(pools: tuple[str, ...]) -> Iterator[Change]:
    """Karpenter's nodes go while Karpenter is still there to end them."""
    group, version, plural = POOLS
    for pool in pools:
        target = Target("NodePool", pool, "", group, version, plural)
        yield Change("kube", "delete", target, f"delete NodePool {pool} and its nodes", f"kubectl delete nodepool {pool}")
    if pools:
        target = Target("NodeClaim", "", "", *CLAIMS)
        line = "kubectl wait --for=delete nodeclaims -l karpenter.sh/nodepool"
        summary = "wait until Karpenter has ended every node"
        yield Change("kube", "wait", target, summary, line, selector="karpenter.sh/nodepool", grace_seconds=DRAIN_SECONDS)


def _identities(name: str, region: str, role: Role | None) -> Iterator[Change]:
    """A role cannot go while an instance profile holds it, nor eksctl's stack while the role has what eksctl did not give it."""
    if role is None:
        return
    for profile in role.profiles:
        yield aws_change(
            "delete_instance_profile",
            region,
            {"profile": profile, "role": role.name},
            Target("InstanceProfile", profile),
            f"delete the instance profile {profile}",
            f"aws iam remove-role-from-instance-profile --instance-profile-name {profile} --role-name {role.name}"
            f" && aws iam delete-instance-profile --instance-profile-name {profile}",
        )
    line = f"aws iam delete-role --role-name {role.name}"
    yield aws_change("delete_role", region, {"role": role.name}, Target("Role", role.name), f"delete the role {role.name}", line)


def _cluster(name: str, region: str, found: Cluster | None) -> Iterator[Change]:
    if found is None:
        return
    argv = ("eksctl", "delete", "cluster", "--name", name, "--region", region, "--wait", "--disable-nodegroup-eviction")
    summary = f"delete the EKS cluster {name} with its node groups and CloudFormation stacks"
    yield Change("shell", "run", Target("Cluster", name), summary, " ".join(argv), argv=argv)


def _data(region: str, found: list[FileSystem]) -> list[Change]:
    return [
        aws_change(
            "delete_file_system",
            region,
            {"id": one.id},
            Target("FileSystem", one.id),
            f"delete the file system {one.id} ({one.name}) and all that is in it",
            f"aws fsx delete-file-system --region {region} --file-system-id {one.id}",
        )
        for one in found
    ]


def _network(snapshot: Snapshot, scope: str, name: str, region: str) -> list[Change]:
    made: Planned | None = told(snapshot, scope, "terraform")
    if made is None or not made.actions:
        return []
    return [application(made, f"destroy the VPC of {name} in {region} ({len(made.actions)} things)")]


def _leaves(snapshot: Snapshot, scope: str, params: Params, data: list[FileSystem]) -> Iterator[str]:
    """What stays, and costs on."""
    if data and not params.with_data:
        yield from (f"leaves the file system {one.id} ({one.name}); --with-data deletes it" for one in data)
    subnets, _ = heard(snapshot, scope, "subnets", ())
    made, _ = heard(snapshot, scope, "terraform")
    if subnets and made is None:
        vpcs = ", ".join(sorted({one.vpc for one in subnets}))
        why = "it is not ours: Terraform here has no state of it" if params.with_vpc else "--with-vpc deletes it, if it is ours"
        yield f"leaves the VPC {vpcs}, tagged {DISCOVERY}; {why}"
    repositories, _ = heard(snapshot, scope, "repositories", ())
    if repositories:
        yield f"leaves {len(repositories)} ECR repositories: {', '.join(one.name for one in repositories[:8])}"
    yield "leaves EBS volumes of claims that retain them, placement groups, buckets, and the log group of the control plane"
