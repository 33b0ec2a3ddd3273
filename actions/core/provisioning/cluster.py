"""The cluster: eksctl with a ClusterConfig rendered from the subnets that are there, then what Karpenter and EFA need and eksctl leaves out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.provisioning import DISCOVERY, Params, aws_change, eks, heard, look, scope_of, told, tool_note
from actions.core.provisioning.pins import pin
from actions.core.provisioning.vpc import private_by_zone
from actions.core.render import manifest
from cockpit.cloud import Cluster, Role, SecurityGroup, Subnet
from cockpit.errors import Refused
from cockpit.instance_types import instance_type
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

CONTROL_PLANE_DOLLARS_PER_HOUR = 0.10
SYSTEM_NODES = 2
POLICY = "cockpit-karpenter"


def node_role(name: str) -> str:
    """The role eksctl gives the nodes that Karpenter makes."""
    return f"eksctl-KarpenterNodeRole-{name}"


def controller_role(name: str) -> str:
    """The role eksctl gives Karpenter's own pods."""
    return f"eksctl-{name}-iamservice-role"


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """What EKS, EC2 and IAM have of this cluster already."""
    scope, (name, region) = scope_of(params), eks(params, clients)
    aws = clients.aws.at(region)
    yield look(scope, "place", lambda: (name, aws.region))
    yield look(scope, "account", lambda: aws.ask("account"))
    yield look(scope, "subnets", lambda: aws.ask("subnets", discovery=name))
    yield look(scope, "all-subnets", lambda: _neighbours(aws, name))
    yield look(scope, "cluster", lambda: aws.ask("cluster", name=name))
    yield look(scope, "nodegroups", lambda: aws.ask("nodegroups", name=name) if aws.ask("cluster", name=name) else ())
    yield look(scope, "group", lambda: _group(aws, name))
    yield look(scope, "role", lambda: aws.ask("role", name=controller_role(name)))
    yield look(scope, "tool:eksctl", lambda: clients.shell.which("eksctl"))


def _neighbours(aws: Any, name: str) -> tuple[Subnet, ...]:
    tagged = aws.ask("subnets", discovery=name)
    found: tuple[Subnet, ...] = aws.ask("subnets", vpc=tagged[0].vpc) if tagged else ()
    return found


def _group(aws: Any, name: str) -> SecurityGroup | None:
    found: Cluster | None = aws.ask("cluster", name=name)
    if found is None or not found.security_group:
        return None
    group: SecurityGroup = aws.ask("security_groups", ids=[found.security_group])[0]
    return group


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What is still missing, from the control plane to the policy."""
    scope = scope_of(params)
    name, region = told(snapshot, scope, "place")
    found: Cluster | None = told(snapshot, scope, "cluster")
    if found is not None and found.state in ("CREATING", "DELETING", "PENDING"):
        return Plan(already=f"EKS says that {name} is {found.state}; ask again when it is over", real=True)
    config = cluster_config(snapshot, params, name, region)
    made = list(_made(snapshot, scope, name, region, found, config))
    after = list(_after(snapshot, scope, name, region, found is None))
    if not made and not after:
        return Plan(
            already=f"{name} is {found.state if found else 'there'} and has all that Karpenter and EFA need",
            warnings=_lacks(snapshot, scope, name, found),
            real=True,
        )
    nodes = instance_type(pin("system_type"))
    each = nodes.dollars_per_hour if nodes else None
    hourly = CONTROL_PLANE_DOLLARS_PER_HOUR + SYSTEM_NODES * (each or 0.0)
    return Plan(
        tuple(made + after),
        warnings=(*tool_note(snapshot, scope, "eksctl"), *_lacks(snapshot, scope, name, found)) if made else _lacks(snapshot, scope, name, found),
        notes=_notes(config, each) if made else (),
        dollars_per_hour=hourly if made else None,
        confirm=name,
        risk=Risk.SPEND if made else Risk.CHANGE,
        real=True,
    )


def _notes(config: Mapping[str, Any], each: float | None) -> tuple[str, ...]:
    zones = ", ".join(config["vpc"]["subnets"]["private"])
    price = "price unknown here" if each is None else f"${each:g}/h each in us-east-1"
    return (
        f"Kubernetes {config['metadata']['version']}, Karpenter {config['karpenter']['version']}, private subnets in {zones}",
        f"control plane ${CONTROL_PLANE_DOLLARS_PER_HOUR:g}/h, {SYSTEM_NODES} nodes {pin('system_type')}: {price}",
        "eksctl takes 20 to 30 minutes; ctrl-c asks whether to leave it running",
    )


def cluster_config(snapshot: Snapshot, params: Params, name: str, region: str) -> dict[str, Any]:
    """The ClusterConfig, from the subnets that carry the discovery tag; Refused when they do not make a network for EKS."""
    scope = scope_of(params)
    private = private_by_zone(told(snapshot, scope, "subnets"))
    if len(private) < 2:
        have = f"only {', '.join(private)}" if private else "none"
        raise Refused(f"EKS needs private subnets in two zones tagged {DISCOVERY}={name}; there is {have}", "provision --target vpc makes them")
    neighbours, _ = heard(snapshot, scope, "all-subnets", ())
    public = {one.zone: {"id": one.id} for one in neighbours if one.public and one.zone in private}
    return manifest(
        "eksctl-cluster",
        {
            "name": name,
            "region": region,
            "kubernetes": params.kubernetes or pin("kubernetes"),
            "karpenter": pin("karpenter"),
            "system_type": pin("system_type"),
            "tags": {DISCOVERY: name},
            "vpc": next(iter(private.values())).vpc,
            "private_subnets": {zone: {"id": one.id} for zone, one in private.items()},
            "public_subnets": public or None,
        },
    )


def _made(snapshot: Snapshot, scope: str, name: str, region: str, found: Cluster | None, config: dict[str, Any]) -> Iterator[Change]:
    if found is None:
        yield _eksctl(("create", "cluster"), name, f"create the EKS cluster {name} in {region}", config)
    elif not told(snapshot, scope, "nodegroups"):
        yield _eksctl(("create", "nodegroup"), name, f"create the node group that {name} lacks", config)


def _eksctl(words: tuple[str, ...], name: str, summary: str, config: dict[str, Any]) -> Change:
    argv = ("eksctl", *words, "-f", "-")
    return Change("shell", "run", Target("Cluster", name), summary, " ".join(argv), config, after=config, argv=argv)


def _after(snapshot: Snapshot, scope: str, name: str, region: str, is_new: bool) -> Iterator[Change]:
    """The tag, the rules and the policy, each where it is not there yet."""
    group: SecurityGroup | None = told(snapshot, scope, "group")
    role: Role | None = told(snapshot, scope, "role")
    if is_new or (group is not None and group.discovery != name):
        shown = group.id if group else "SECURITY-GROUP-OF-THE-CLUSTER"
        yield aws_change(
            "tag_security_group",
            region,
            {"cluster": name, "key": DISCOVERY, "value": name},
            Target("SecurityGroup", group.id if group else name),
            f"tag the security group of {name} with {DISCOVERY}={name}, and check it",
            f"aws ec2 create-tags --region {region} --resources {shown} --tags Key={DISCOVERY},Value={name}",
        )
    if is_new or (group is not None and not (group.open_in and group.open_out)):
        yield _opened(name, region, group)
    policy = policy_of(snapshot, scope, name, region)
    if is_new or (role is not None and role.policies.get(POLICY) != policy):
        yield aws_change(
            "allow_role",
            region,
            {"role": controller_role(name), "policy": POLICY, "document": policy},
            Target("Role", controller_role(name)),
            f"let Karpenter read the cluster and keep instance profiles ({POLICY}), and check it",
            f"aws iam put-role-policy --role-name {controller_role(name)} --policy-name {POLICY} --policy-document file://karpenter-policy.json",
        )


def _opened(name: str, region: str, group: SecurityGroup | None) -> Change:
    """EFA needs a rule of the group to itself, in and out; a group that is not made yet is known by the step before."""
    more: dict[str, Any] = {} if group else {"holes": ("security_group",)}
    return aws_change(
        "open_to_itself",
        region,
        {"group": group.id if group else "${security_group}"},
        Target("SecurityGroup", group.id if group else name),
        "let the security group reach itself in and out, which EFA needs, and check it",
        f"aws ec2 authorize-security-group-egress --region {region} --group-id {group.id if group else 'GROUP'} --ip-permissions IpProtocol=-1,...",
        **more,
    )


def policy_of(snapshot: Snapshot, scope: str, name: str, region: str) -> dict[str, Any]:
    """The inline policy of Karpenter's role."""
    partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
    holes = {"partition": partition, "region": region, "account": told(snapshot, scope, "account"), "name": name, "node_role": node_role(name)}
    return manifest("karpenter-policy", holes)


def _lacks(snapshot: Snapshot, scope: str, name: str, found: Cluster | None) -> tuple[str, ...]:
    """What eksctl makes with the cluster alone, and did not when it was cut short."""
    if found is None or told(snapshot, scope, "role") is not None:
        return ()
    return (
        f"{name} has no role {controller_role(name)}: eksctl installs Karpenter only while it creates the cluster, and was cut short before it; "
        "--target teardown and then --target cluster make it whole",
    )
