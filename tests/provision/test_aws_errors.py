"""What AWS does not say: each failure is one of ours, and the library is loaded with the first call alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cockpit.clients import aws as aws_client
from cockpit.clients.aws import Aws
from cockpit.errors import BadInput, Forbidden, NotAuthorised, Unreachable
from tests.contract.envtest import free_port
from tests.provision.aws_endpoint import Endpoint
from tests.provision.conftest import REGION, SECRET

ROOT = Path(__file__).resolve().parents[2]


def test_the_library_waits_for_the_first_call() -> None:
    code = "import sys, cockpit.session, actions.provision; print('boto3' in sys.modules, 'botocore' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.split() == ["False", "False"]


def test_without_credentials(aws: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(NotAuthorised, match="no AWS credentials"):
        Aws(REGION).ask("account")


def test_without_a_region(aws: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(BadInput, match="no AWS region"):
        Aws().ask("zones")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Aws().region == "eu-west-1"
    assert Aws().at("us-west-2").region == "us-west-2"


def test_nobody_answers(aws: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(aws_client, "ATTEMPTS", 1)
    with pytest.raises(Unreachable, match="did not answer sts get_caller_identity"):
        Aws(REGION).ask("account")


def test_what_is_forbidden_names_the_call_and_no_secret(aws: Endpoint) -> None:
    aws.denied.add("DescribeSubnets")
    with pytest.raises(Forbidden, match="describe_subnets: UnauthorizedOperation") as error:
        Aws(REGION).ask("subnets", discovery="x")
    assert SECRET not in str(error.value) + error.value.hint
    aws.denied.add("DescribeSpotPriceHistory")
    (one,) = Aws(REGION).ask("offers", patterns=["p4d.24xlarge"])
    assert (dict(one.spot), one.dollars_per_hour) == ({}, 21.958), "what may not be read is not known, the rest is"
