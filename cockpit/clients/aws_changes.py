"""The changes the cockpit makes in AWS, each of which may be made again, and looks afterwards whether it holds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cockpit.clients import aws_facts
from cockpit.clients.aws import Aws
from cockpit.errors import ActionFailed, Conflict, NotFound, TimedOut

Say = Callable[[str], None]
FILE_SYSTEM_SECONDS, FILE_SYSTEM_POLL_SECONDS = 1800.0, 15.0
HEALTHY = ("AVAILABLE", "UPDATING")


def tag_security_group(aws: Aws, say: Say, cluster: str, key: str, value: str) -> Mapping[str, Any]:
    """Put a tag on the cluster's own security group, by which Karpenter finds it."""
    found = aws_facts.cluster(aws, cluster)
    if found is None or not found.security_group:
        raise NotFound(f"EKS knows no security group of the cluster {cluster}", "is it there, and ACTIVE?")
    aws.call("ec2", "create_tags", Resources=[found.security_group], Tags=[{"Key": key, "Value": value}])
    group = aws_facts.security_groups(aws, ids=[found.security_group])[0]
    if key == aws_facts.DISCOVERY and group.discovery != value:
        raise ActionFailed(f"{group.id} does not carry {key}={value} after it was put there")
    say(f"{group.id} carries {key}={value}")
    return {"security_group": group.id}


def open_to_itself(aws: Aws, say: Say, group: str) -> Mapping[str, Any]:
    """Let a security group send everything to and take everything from itself, as EFA needs."""
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    for operation in ("authorize_security_group_ingress", "authorize_security_group_egress"):
        try:
            aws.call("ec2", operation, GroupId=group, IpPermissions=rule)
        except Conflict:
            say(f"{group}: {operation.rsplit('_', 1)[1]} was open to itself")
    found = aws_facts.security_groups(aws, ids=[group])[0]
    if not (found.open_in and found.open_out):
        raise ActionFailed(f"{group} is not open to itself both in and out after the rules were made")
    return {"security_group": group}


def allow_role(aws: Aws, say: Say, role: str, policy: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write an inline policy of a role."""
    aws.call("iam", "put_role_policy", RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    found = aws.call("iam", "get_role_policy", RoleName=role, PolicyName=policy)["PolicyDocument"]
    if found != document:
        raise ActionFailed(f"the policy {policy} of {role} is not what was written")
    say(f"{role} carries {policy}")
    return {}


def create_placement_group(aws: Aws, say: Say, name: str, strategy: str) -> Mapping[str, Any]:
    """Make a placement group."""
    aws.call("ec2", "create_placement_group", GroupName=name, Strategy=strategy)
    return {}


def delete_placement_group(aws: Aws, say: Say, name: str) -> Mapping[str, Any]:
    """Delete a placement group; one that is gone is gone."""
    _unless_gone(aws, "ec2", "delete_placement_group", GroupName=name)
    return {}


def create_file_system(aws: Aws, say: Say, token: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make an FSx for Lustre file system and wait until it is there; the same token never makes a second one."""
    made = aws.call("fsx", "create_file_system", ClientRequestToken=token, **request)["FileSystem"]
    return wait_file_system(aws, say, made["FileSystemId"])


def wait_file_system(aws: Aws, say: Say, id: str) -> Mapping[str, Any]:
    """Wait until a file system can be mounted; its id, DNS and mount name. One that says nothing of its state is taken as there."""
    deadline, told = time.monotonic() + FILE_SYSTEM_SECONDS, ""
    while True:
        raw = next(iter(aws.call("fsx", "describe_file_systems", FileSystemIds=[id])["FileSystems"]))
        found = aws_facts.to_file_system(raw)
        if found.state in ("", *HEALTHY):
            return {"file_system_id": found.id, "dns_name": found.dns_name, "mount_name": found.mount_name or "fsx"}
        if found.state in ("FAILED", "DELETING", "MISCONFIGURED"):
            raise ActionFailed(f"the file system {id} is {found.state}: {found.why or 'AWS does not say why'}")
        if found.state != told:
            say(f"{id}: {found.state}")
            told = found.state
        if time.monotonic() > deadline:
            raise TimedOut(f"the file system {id} is still {found.state} after {FILE_SYSTEM_SECONDS / 60:.0f} min", "it goes on being made")
        threading.Event().wait(FILE_SYSTEM_POLL_SECONDS)


def delete_file_system(aws: Aws, say: Say, id: str) -> Mapping[str, Any]:
    """Delete a file system and all that is in it."""
    _unless_gone(aws, "fsx", "delete_file_system", FileSystemId=id)
    return {}


def delete_instance_profile(aws: Aws, say: Say, profile: str, role: str) -> Mapping[str, Any]:
    """Take a role out of an instance profile and delete the profile."""
    _unless_gone(aws, "iam", "remove_role_from_instance_profile", InstanceProfileName=profile, RoleName=role)
    _unless_gone(aws, "iam", "delete_instance_profile", InstanceProfileName=profile)
    return {}


def delete_role(aws: Aws, say: Say, role: str) -> Mapping[str, Any]:
    """Delete a role with its policies; it must be in no instance profile."""
    found = aws_facts.role(aws, role)
    if found is None:
        return {}
    for policy in found.policies:
        _unless_gone(aws, "iam", "delete_role_policy", RoleName=role, PolicyName=policy)
    for arn in found.attached:
        _unless_gone(aws, "iam", "detach_role_policy", RoleName=role, PolicyArn=arn)
    _unless_gone(aws, "iam", "delete_role", RoleName=role)
    return {}


def create_repository(aws: Aws, say: Say, name: str) -> Mapping[str, Any]:
    """Make an ECR repository, or find it there; its address."""
    try:
        tags = [{"Key": "app.kubernetes.io/managed-by", "Value": "cockpit"}]
        made = aws.call("ecr", "create_repository", repositoryName=name, imageScanningConfiguration={"scanOnPush": True}, tags=tags)["repository"]
        return {"repository_uri": made["repositoryUri"]}
    except Conflict:
        return {"repository_uri": next(one.uri for one in aws_facts.repositories(aws) if one.name == name)}


def _unless_gone(aws: Aws, service: str, operation: str, **arguments: Any) -> None:
    try:
        aws.call(service, operation, **arguments)
    except NotFound:
        return


CHANGES: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    one.__name__: one
    for one in (
        tag_security_group,
        open_to_itself,
        allow_role,
        create_placement_group,
        delete_placement_group,
        create_file_system,
        wait_file_system,
        delete_file_system,
        delete_instance_profile,
        delete_role,
        create_repository,
    )
}
