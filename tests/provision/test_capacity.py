"""Node pools, placement groups, FSx and teardown, against AWS over HTTP and a practice API in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.aws import Aws
from cockpit.cloud import FileSystem
from tests.provision.aws_endpoint import MOUNT_NAME, Endpoint
from tests.provision.conftest import NAME, REGION, SECRET, Said, network
from tests.provision.doubles import Doubles
from tests.servers import Request, kubeconfig, serving

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]})
NODE_ROLE = f"eksctl-KarpenterNodeRole-{NAME}"


class Objects:
    """An API server that keeps what is applied to it, as one without controllers would."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.writes: list[tuple[str, str, dict[str, str]]] = []

    def answer(self, request: Request) -> None:
        """Reviews are allowed, applies are kept, and what is not there is not there."""
        if request.path.endswith("selfsubjectaccessreviews"):
            request.json({"status": {"allowed": True}})
        elif request.method == "GET" and request.path.endswith("/nodeclaims"):
            request.json({"items": []})
        elif request.method == "GET" and request.path.endswith("/nodepools"):
            pools = [body for path, body in self.kept.items() if "/nodepools/" in path]
            request.json({"kind": "NodePoolList", "metadata": {"resourceVersion": "1"}, "items": pools})
        elif request.method == "GET":
            found = self.kept.get(request.path)
            request.json(found) if found else request.status(404, "NotFound", "not found")
        else:
            self.writes.append((request.method, request.path, request.query))
            self.write(request)

    def write(self, request: Request) -> None:
        if request.method == "DELETE":
            self.kept.pop(request.path, None)
            request.json({"kind": "Status", "status": "Success"})
            return
        body = json.loads(request.body)
        if "dryRun" not in request.query:
            self.kept[request.path] = body
        request.json(body)


@pytest.fixture
def api(aws: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    """The API of the cluster that AWS knows under the same name."""
    objects = Objects()
    objects.kept["/apis/storage.k8s.io/v1/csidrivers/fsx.csi.aws.com"] = {"kind": "CSIDriver", "metadata": {"name": "fsx.csi.aws.com"}}
    with serving(objects.answer) as server:
        path = Path(kubeconfig(tmp_path, server.url))
        path.write_text(path.read_text().replace("test-cluster", f"arn:aws:eks:{REGION}:123456789012:cluster/{NAME}"))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield objects


def tagged_group(client: Aws, vpc: str) -> str:
    group: str = client.call("ec2", "create_security_group", GroupName="nodes", Description="x", VpcId=vpc)["GroupId"]
    client.call("ec2", "create_tags", Resources=[group], Tags=[{"Key": "karpenter.sh/discovery", "Value": NAME}])
    return group


def test_fsx_is_made_waited_for_and_mounted(api: Objects, aws: Endpoint, client: Aws, provision: Callable[..., Said]) -> None:
    group = tagged_group(client, network(client))
    said = provision("fsx", "--deployment", "PERSISTENT_2", "--storage-gib", "2400", "--throughput", "500", "--yes")
    assert said.code == 0, said.err
    (made,) = client.ask("file_systems")
    assert isinstance(made, FileSystem)
    assert made.cluster == NAME
    assert (made.name, made.deployment, made.capacity_bytes) == (f"{NAME}-default-fsx-pvc", "PERSISTENT_2", 2400 << 30)
    assert "CREATING" in said.err, "the wait is told"
    volume = api.kept["/api/v1/persistentvolumes/fsx-pvc-default"]["spec"]
    assert volume["csi"] == {
        "driver": "fsx.csi.aws.com",
        "volumeHandle": made.id,
        "volumeAttributes": {"dnsname": made.dns_name, "mountname": MOUNT_NAME},
    }
    assert volume["mountOptions"] == ["flock", "lazystatfs", "noatime"]
    claim = api.kept["/api/v1/namespaces/default/persistentvolumeclaims/fsx-pvc"]["spec"]
    assert (claim["volumeName"], claim["storageClassName"], claim["accessModes"]) == ("fsx-pvc-default", "", ["ReadWriteMany"])
    raw = client.call("fsx", "describe_file_systems")["FileSystems"][0]
    assert raw["SubnetIds"][0] in {one.id for one in client.ask("subnets", discovery=NAME)}
    assert group
    again = provision("fsx")
    assert again.json["result"]["already"].startswith(f"{made.id} is AVAILABLE")


def test_fsx_in_a_dry_run_touches_nothing_and_the_server_judges(api: Objects, aws: Endpoint, client: Aws, provision: Callable[..., Said]) -> None:
    tagged_group(client, network(client))
    said = provision("fsx", "--dry-run")
    assert said.code == 0, said.err
    assert client.ask("file_systems") == ()
    assert [query.get("dryRun") for _, _, query in api.writes] == ["All", "All"]
    assert "CreateFileSystem" not in aws.calls


def test_fsx_that_was_cut_short_is_waited_for(api: Objects, aws: Endpoint, client: Aws, provision: Callable[..., Said]) -> None:
    tagged_group(client, network(client))
    assert provision("fsx", "--yes").code == 0
    for path in list(api.kept):
        if "persistentvolume" in path:
            del api.kept[path]
    aws.states[:] = ["CREATING", "CREATING", "AVAILABLE"]
    said = provision("fsx", "--yes")
    assert said.code == 0, said.err
    assert [change["summary"].split()[0] for change in said.json["changes"]] == ["wait", "create", "create"]
    assert len(client.ask("file_systems")) == 1


@pytest.mark.parametrize(("words", "hint"), [(("--storage-gib", "3000"), "--storage-gib 4800"), (("--efa",), "--deployment PERSISTENT_2")])
def test_fsx_that_aws_does_not_make(api: Objects, client: Aws, provision: Callable[..., Said], words: tuple[str, ...], hint: str) -> None:
    network(client)
    said = provision("fsx", *words)
    assert (said.code, said.json["error"]["hint"]) == (2, hint)


def test_a_placement_group_is_made_once(aws: Endpoint, provision: Callable[..., Said]) -> None:
    said = provision("placement-group", "--name", NAME)
    assert said.code == 0, said.err
    assert aws.groups == {f"{NAME}-training": "cluster"}
    assert provision("placement-group", "--name", NAME).json["result"] == {"already": f"placement group {NAME}-training is available"}
    aws.groups["other"] = "spread"
    assert provision("placement-group", "--name", NAME, "--group", "other").code == 4


def test_reservations_types_prices_and_rules_as_aws_tells_them(aws: Endpoint, client: Aws) -> None:
    aws.reservations.append(
        {
            "capacityReservationId": "cr-1",
            "instanceType": "p5.48xlarge",
            "availabilityZone": "us-east-1b",
            "totalInstanceCount": "4",
            "availableInstanceCount": "2",
            "state": "active",
            "reservationType": "capacity-block",
            "endDate": "2027-01-01T00:00:00.000Z",
        }
    )
    (one,) = client.ask("reservations")
    assert (one.id, one.available, one.total, one.kind, one.ends) == ("cr-1", 2, 4, "capacity-block", 1798761600.0)
    offers = {one.name: one for one in client.ask("offers", patterns=["p5.48xlarge", "p4d.*"])}
    p5 = offers["p5.48xlarge"]
    assert (p5.gpus, p5.gpu_model, p5.efa, p5.vcpu, p5.dollars_per_hour) == (8, "h100", 32, 192, 55.04)
    assert p5.zones
    assert set(p5.spot) <= {f"us-east-1{letter}" for letter in "abcdef"}
    assert offers["p4d.24xlarge"].efa == 4
    group = tagged_group(client, network(client))
    (found,) = client.ask("security_groups", discovery=NAME)
    assert (found.id, found.open_in, found.open_out) == (group, False, False), "a range of addresses is not enough for EFA"
    assert client.change("create_repository", {"name": "train"}) == client.change("create_repository", {"name": "train"})
    assert [one.name for one in client.ask("repositories")] == ["train"]


def make_all(client: Aws, aws: Endpoint, vpc: str) -> None:
    """A cluster, a node role in two instance profiles, and a file system."""
    role = client.call("iam", "create_role", RoleName=NODE_ROLE, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    client.call("iam", "put_role_policy", RoleName=NODE_ROLE, PolicyName="more", PolicyDocument=POLICY)
    for profile in ("prof-1", "prof-2"):
        client.call("iam", "create_instance_profile", InstanceProfileName=profile)
        client.call("iam", "add_role_to_instance_profile", InstanceProfileName=profile, RoleName=NODE_ROLE)
    client.call("eks", "create_cluster", name=NAME, roleArn=role, resourcesVpcConfig={"subnetIds": []})
    subnets = [one.id for one in client.ask("subnets", discovery=NAME)]
    for owner in (NAME, f"{NAME}-two"):
        tags = [{"Key": "Name", "Value": f"{owner}-default-fsx-pvc"}, {"Key": "cockpit.dev/cluster", "Value": owner}]
        client.call("fsx", "create_file_system", FileSystemType="LUSTRE", StorageCapacity=1200, SubnetIds=subnets[:1], Tags=tags)


@pytest.fixture
def eksctl(doubles: Doubles, tmp_path: Path) -> Doubles:
    effect = tmp_path / "gone.py"
    effect.write_text(f"import boto3\nboto3.client('eks', region_name={REGION!r}).delete_cluster(name={NAME!r})\n")
    doubles.answers("delete", "cluster", stdout=["all cluster resources were deleted"], effect=str(effect))
    doubles.place("eksctl")
    return doubles


def test_teardown_in_the_order_in_which_aws_lets_go(
    api: Objects, aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]
) -> None:
    vpc = network(client)
    make_all(client, aws, vpc)
    api.kept["/apis/karpenter.sh/v1/nodepools/gpu"] = {"metadata": {"name": "gpu"}}
    aws.calls.clear()
    asked = provision("teardown")
    assert (asked.code, asked.json["error"]["code"]) == (4, "refused")
    assert not [call for call in aws.calls if call.startswith(("Delete", "Remove"))]
    said = provision("teardown", "--yes")
    assert said.code == 0, said.err
    kinds = [change["object"]["kind"] for change in said.json["changes"]]
    assert kinds == ["NodePool", "NodeClaim", "InstanceProfile", "InstanceProfile", "Role", "Cluster"]
    assert eksctl.argv() == [["eksctl", "delete", "cluster", "--name", NAME, "--region", REGION, "--wait", "--disable-nodegroup-eviction"]]
    removed = [call for call in aws.calls if call.startswith(("Delete", "Remove", "DELETE"))]
    pair = ["RemoveRoleFromInstanceProfile", "DeleteInstanceProfile"]
    assert removed == [*pair, *pair, "DeleteRolePolicy", "DeleteRole", f"DELETE /clusters/{NAME}"]
    assert (client.ask("cluster", name=NAME), client.ask("role", name=NODE_ROLE)) == (None, None)
    (left, other) = sorted(client.ask("file_systems"), key=lambda one: len(one.name))
    assert other.id not in said.err, "a cluster whose name begins alike keeps its data and is not spoken of"
    assert f"leaves the file system {left.id}" in said.err
    assert f"leaves the VPC {vpc}" in said.err
    assert provision("teardown").json["result"]["already"] == f"nothing of {NAME} is left in {REGION}"
    gone = provision("teardown", "--with-data", "--yes")
    assert [change["object"]["kind"] for change in gone.json["changes"]] == ["FileSystem"]
    assert client.ask("file_systems") == (other,)


def test_teardown_of_a_cluster_nobody_speaks_to_says_what_may_outlive_it(
    aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]
) -> None:
    make_all(client, aws, network(client))
    said = provision("teardown", "--name", NAME, "--dry-run")
    assert said.code == 0, said.err
    assert [change["object"]["kind"] for change in said.json["changes"]] == ["InstanceProfile", "InstanceProfile", "Role", "Cluster"]
    assert any("may outlive the cluster" in warning for warning in said.json["warnings"])
    assert eksctl.argv() == []


def test_no_secret_in_what_the_doubles_were_told(aws: Endpoint, client: Aws, eksctl: Doubles, provision: Callable[..., Said]) -> None:
    make_all(client, aws, network(client))
    assert provision("teardown", "--name", NAME, "--yes").code == 0
    (call,) = eksctl.calls
    assert SECRET not in json.dumps([call["argv"], call["stdin"]])
    assert call["env"]["AWS_SECRET_ACCESS_KEY"] == SECRET, "credentials go the way every AWS tool takes them: by the environment alone"
