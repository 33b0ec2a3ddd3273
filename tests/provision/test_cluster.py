"""The cluster: eksctl told what it needs on its standard input, then the tag, the rules and the policy, each looked at afterwards."""

from __future__ import annotations

import _thread
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cockpit import calls
from cockpit.clients.aws import Aws
from tests.provision.aws_endpoint import Endpoint
from tests.provision.conftest import NAME, REGION, Said, journal, network
from tests.provision.doubles import Doubles
from tests.servers import until

ROLE = f"eksctl-{NAME}-iamservice-role"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
EFFECT = """
import boto3, json
role = boto3.client("iam", region_name="{region}").create_role(RoleName="{role}", AssumeRolePolicyDocument='{trust}')["Role"]["Arn"]
boto3.client("eks", region_name="{region}").create_cluster(name="{name}", roleArn=role, resourcesVpcConfig={{"subnetIds": []}})
"""


def cluster_group(client: Aws, aws: Endpoint, vpc: str) -> str:
    """The security group EKS would make with the cluster."""
    group: str = client.call("ec2", "create_security_group", GroupName=f"eks-cluster-sg-{NAME}", Description="x", VpcId=vpc)["GroupId"]
    aws.cluster_groups[NAME] = group
    return group


def creates(tmp_path: Path) -> str:
    """What eksctl leaves behind in AWS, as a program for its double."""
    effect = tmp_path / "effect.py"
    effect.write_text(EFFECT.format(role=ROLE, trust=TRUST, region=REGION, name=NAME))
    return str(effect)


@pytest.fixture
def eksctl(doubles: Doubles, tmp_path: Path) -> Doubles:
    doubles.answers("create", "cluster", stdout=["building cluster stack", "EKS cluster is ready"], effect=creates(tmp_path))
    doubles.place("eksctl")
    return doubles


def make(client: Aws) -> None:
    """A cluster that is there."""
    role = client.call("iam", "create_role", RoleName=ROLE, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    client.call("eks", "create_cluster", name=NAME, roleArn=role, resourcesVpcConfig={"subnetIds": []})


def nodegroup(client: Aws, vpc: str) -> None:
    subnets = [one.id for one in client.ask("subnets", vpc=vpc)]
    client.call("eks", "create_nodegroup", clusterName=NAME, nodegroupName="system", subnets=subnets, nodeRole="arn:aws:iam::123456789012:role/node")


def test_the_cluster_its_tag_its_rules_and_its_policy(
    aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said], tmp_path: Path
) -> None:
    vpc = network(client)
    group = cluster_group(client, aws, vpc)
    said = provision("cluster", "--name", NAME, "--yes")
    assert said.code == 0, said.err
    (call,) = eksctl.calls
    assert call["argv"] == ["eksctl", "create", "cluster", "-f", "-"]
    config = yaml.safe_load(call["stdin"])
    assert (config["kind"], config["metadata"]["name"], config["metadata"]["version"], config["karpenter"]["version"]) == (
        "ClusterConfig",
        NAME,
        "1.34",
        "1.8.1",
    )
    named = {one.id: one for one in client.ask("subnets", vpc=vpc)}
    private, public = (config["vpc"]["subnets"][kind] for kind in ("private", "public"))
    assert list(private) == list(public) == ["us-east-1a", "us-east-1b"]
    assert all(not named[one["id"]].public for one in private.values())
    assert all(named[one["id"]].public for one in public.values())
    assert [change["summary"].split()[0] for change in said.json["changes"]] == ["create", "tag", "let", "let"]
    (found,) = client.ask("security_groups", ids=[group])
    assert (found.discovery, found.open_in, found.open_out) == (NAME, True, True)
    policy = client.ask("role", name=ROLE).policies["cockpit-karpenter"]
    assert policy["Statement"][0]["Resource"] == f"arn:aws:eks:{REGION}:123456789012:cluster/{NAME}"
    assert "iam:CreateInstanceProfile" in policy["Statement"][1]["Action"]
    assert "EKS cluster is ready" in said.err
    assert "eksctl create cluster" in journal(tmp_path)


def test_the_order_of_the_calls(aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    cluster_group(client, aws, network(client))
    aws.calls.clear()
    assert provision("cluster", "--name", NAME, "--yes").code == 0
    made = [call for call in aws.calls if call.startswith(("Create", "Authorize", "Put", "POST /clusters"))]
    assert made == ["CreateRole", "POST /clusters", "CreateTags", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "PutRolePolicy"]


def test_a_cluster_that_was_cut_short_after_eksctl_is_finished(aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    vpc = network(client)
    cluster_group(client, aws, vpc)
    make(client)
    nodegroup(client, vpc)
    said = provision("cluster", "--name", NAME)
    assert said.code == 0, said.err
    assert [change["object"]["kind"] for change in said.json["changes"]] == ["SecurityGroup", "SecurityGroup", "Role"]
    assert eksctl.argv() == []
    again = provision("cluster", "--name", NAME)
    assert "has all that Karpenter and EFA need" in again.json["result"]["already"]


def test_a_node_group_that_is_missing_is_made(aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    cluster_group(client, aws, network(client))
    make(client)
    said = provision("cluster", "--name", NAME, "--dry-run")
    assert said.commands[0] == "eksctl create nodegroup -f -"


def test_without_subnets_in_two_zones_it_says_what_makes_them(client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    network(client, zones=("us-east-1a",))
    said = provision("cluster", "--name", NAME, "--dry-run")
    assert (said.code, said.json["error"]["hint"]) == (4, "provision --target vpc makes them")
    assert "only us-east-1a" in said.json["error"]["message"]


def test_eksctl_that_fails_leaves_the_rest_undone(aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    cluster_group(client, aws, network(client))
    eksctl.answers("create", "cluster", stderr=["Error: quota", "Error: failed to create cluster"], exit=1)
    said = provision("cluster", "--name", NAME, "--yes")
    assert said.code == 1
    assert said.json["error"]["message"].startswith(f"step 1 of 4, create the EKS cluster {NAME}")
    assert said.json["error"]["hint"].splitlines()[:2] == ["Error: quota", "Error: failed to create cluster"]
    assert said.json["changes"] == []
    assert "CreateTags" not in aws.calls[-5:]


@pytest.mark.parametrize("answer", [None, "y", "n"])
def test_ctrl_c_asks_whether_to_leave_it_running(
    aws: Endpoint,
    client: Aws,
    eksctl: Doubles,
    provision: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answer: str | None,
) -> None:
    cluster_group(client, aws, network(client))
    go, over = tmp_path / "go", tmp_path / "over.py"
    over.write_text(f"open({str(tmp_path / 'started')!r}, 'w').close()")
    eksctl.answers("create", "cluster", stdout=["building cluster stack"], effect=str(over), hold=str(go))
    questions: list[str] = []

    def asked(question: str) -> str | None:
        questions.append(question)
        return answer

    monkeypatch.setattr(calls, "ask", asked)

    def interrupt() -> None:
        until((tmp_path / "started").exists)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    said = provision("cluster", "--name", NAME, "--yes")
    assert (said.code, said.json["error"]["code"]) == (130, "interrupted")
    assert questions == ["leave eksctl running? [Y/n]"]
    message = said.json["error"]["message"]
    assert ("was stopped" in message) is (answer == "n")
    assert "run the same" in said.json["error"]["hint"]
    if answer != "n":
        pid = int(message.split("process ")[1].split(")")[0])
        assert Path(f"/proc/{pid}").exists(), "it goes on"
        go.touch()
        until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
    (log,) = (tmp_path / "state" / "cockpit" / "steps").iterdir()
    assert (log.stat().st_mode & 0o777, "building cluster stack" in log.read_text()) == (0o600, True)


def arguments() -> Any:
    return {"cluster": NAME, "key": "karpenter.sh/discovery", "value": NAME}


def test_a_tag_on_a_cluster_that_is_not_there_is_an_error(aws: Endpoint, client: Aws) -> None:
    from cockpit.errors import NotFound

    with pytest.raises(NotFound, match="knows no security group"):
        client.change("tag_security_group", arguments())
