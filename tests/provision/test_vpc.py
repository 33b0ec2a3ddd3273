"""The network: Terraform planned in the look and applied as planned, or a VPC that is found by its tag."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.aws import Aws
from cockpit.programs import INSTALL
from tests.provision.aws_endpoint import Endpoint
from tests.provision.conftest import NAME, REGION, SECRET, Said, journal, network
from tests.provision.doubles import Doubles


def shown(*actions: tuple[str, list[str]]) -> str:
    """What `terraform show -json` says of a plan, with a value in it that nobody may keep."""
    changes = [{"address": address, "change": {"actions": verbs, "after": {"password": SECRET}}} for address, verbs in actions]
    outputs = {"vpc_id": {"value": "vpc-1", "sensitive": False}, "key": {"value": SECRET, "sensitive": True}}
    return json.dumps({"format_version": "1.2", "resource_changes": changes, "prior_state": {"values": {"outputs": outputs}}})


@pytest.fixture
def terraform(doubles: Doubles) -> Doubles:
    doubles.answers("show", stdout=[shown(("aws_vpc.this", ["create"]), ("aws_nat_gateway.this", ["create"]), ("aws_eip.nat", ["no-op"]))])
    doubles.answers("apply", stdout=["aws_vpc.this: Creating...", "Apply complete! Resources: 2 added."])
    doubles.place("terraform")
    return doubles


def folder(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "cockpit" / "terraform" / f"{REGION}.{NAME}")


def verbs(doubles: Doubles) -> list[str]:
    return [argv[2] for argv in doubles.argv()]


def test_what_terraform_planned_is_shown_and_applied(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said], tmp_path: Path) -> None:
    said = provision("vpc", "--name", NAME, "--yes")
    assert said.code == 0, said.err
    at = ["terraform", f"-chdir={folder(tmp_path)}"]
    assert terraform.argv() == [
        [*at, "init", "-input=false", "-no-color"],
        [*at, "plan", "-input=false", "-no-color", "-out=cockpit.tfplan"],
        [*at, "show", "-json", "cockpit.tfplan"],
        [*at, "apply", "-input=false", "-no-color", "cockpit.tfplan"],
    ]
    for call in terraform.calls:
        assert (call["env"]["TF_IN_AUTOMATION"], call["env"]["TF_INPUT"], call["stdin"], call["tty"]) == ("1", "0", "", False)
    variables = json.loads((Path(folder(tmp_path)) / "cockpit.auto.tfvars.json").read_text())
    assert variables == {"name": NAME, "region": REGION, "zones": ["us-east-1a", "us-east-1b", "us-east-1c"], "cidr": "10.0.0.0/16"}
    change = said.json["changes"][0]
    assert change["after"] == {"create": ["aws_vpc.this", "aws_nat_gateway.this"]}
    assert "create aws_vpc.this" in said.err
    assert "aws_vpc.this: Creating..." in said.err, "the program's words are told as they come"
    assert change["command"] in journal(tmp_path)


def test_a_dry_run_plans_and_applies_nothing(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said]) -> None:
    said = provision("vpc", "--name", NAME, "--dry-run")
    assert (said.code, said.json["dry_run"], said.json["journal_id"]) == (0, True, None)
    assert verbs(terraform) == ["init", "plan", "show"]


def test_it_costs_so_it_must_be_confirmed(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said]) -> None:
    said = provision("vpc", "--name", NAME)
    assert (said.code, said.json["error"]["code"]) == (4, "refused")
    assert said.json["changes"], "the plan is told"
    assert "apply" not in verbs(terraform)


def test_a_vpc_that_is_tagged_is_used(client: Aws, terraform: Doubles, provision: Callable[..., Said]) -> None:
    vpc = network(client)
    said = provision("vpc", "--name", NAME)
    assert said.code == 0
    assert said.json["result"] == {"already": f"{vpc} is tagged for {NAME}: 2 subnets in us-east-1a, us-east-1b"}
    assert terraform.argv() == []


def test_one_of_ours_that_was_cut_short_goes_on(client: Aws, terraform: Doubles, provision: Callable[..., Said], tmp_path: Path) -> None:
    network(client)
    state = Path(folder(tmp_path))
    state.mkdir(parents=True)
    (state / "terraform.tfstate").write_text(json.dumps({"resources": [{"type": "aws_vpc"}]}))
    assert provision("vpc", "--name", NAME, "--yes").code == 0
    assert verbs(terraform)[-1] == "apply"


def test_a_whole_one_of_ours_has_nothing_to_do(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said]) -> None:
    terraform.answers("show", stdout=[shown(("aws_vpc.this", ["no-op"]))])
    said = provision("vpc", "--name", NAME)
    assert said.json["result"] == {"already": f"the VPC of {NAME} is as it should be: vpc-1"}


def test_replacing_is_destroying(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said]) -> None:
    terraform.answers("show", stdout=[shown(("aws_subnet.private", ["delete", "create"]))])
    said = provision("vpc", "--name", NAME, "--dry-run")
    assert said.json["warnings"] == ["this deletes or replaces what is there"]


def test_without_terraform_the_line_that_installs_it(aws: Endpoint, doubles: Doubles, provision: Callable[..., Said]) -> None:
    dry, real = provision("vpc", "--name", NAME, "--dry-run"), provision("vpc", "--name", NAME, "--yes")
    assert dry.code == 0
    assert any(INSTALL["terraform"] in warning for warning in dry.json["warnings"])
    assert (real.code, real.json["error"]["hint"], real.json["changes"]) == (1, INSTALL["terraform"], [])


def test_a_failure_names_the_step_its_last_lines_and_how_to_go_on(
    aws: Endpoint, terraform: Doubles, provision: Callable[..., Said], tmp_path: Path
) -> None:
    terraform.answers("apply", stdout=["aws_nat_gateway.this: Creating..."], stderr=["Error: AddressLimitExceeded"], exit=1)
    said = provision("vpc", "--name", NAME, "--yes")
    error = said.json["error"]
    assert (said.code, error["code"]) == (1, "action-failed")
    assert error["message"].startswith("step 1 of 1, apply Terraform's plan")
    assert "AddressLimitExceeded" in error["hint"]
    assert "run the same again: it plans from what exists" in error["hint"]
    assert '"state":"failed"' in journal(tmp_path)


@pytest.mark.parametrize(
    ("words", "code", "about"),
    [
        (("--name", NAME, "--cidr", "10.0.0.0/8"), 2, "--cidr"),
        (("--name", NAME, "--cidr", "nonsense"), 2, "--cidr"),
        (("--name", "../../etc"), 2, "no name of an EKS cluster"),
        ((), 2, "which cluster?"),
    ],
)
def test_bad_input(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said], words: Any, code: int, about: str) -> None:
    said = provision("vpc", *words)
    assert said.code == code
    assert about in said.json["error"]["message"]
    assert terraform.argv() == []


def test_aws_that_refuses_stops_the_plan(aws: Endpoint, terraform: Doubles, provision: Callable[..., Said]) -> None:
    aws.denied.add("DescribeSubnets")
    said = provision("vpc", "--name", NAME, "--dry-run")
    assert (said.code, said.json["error"]["code"]) == (3, "forbidden")
