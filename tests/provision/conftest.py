"""What provisioning is tested on: moto behind an endpoint, doubles of the programs, and command lines run to their answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cockpit import cli
from cockpit.clients import aws_changes
from cockpit.clients.aws import Aws
from tests.provision.aws_endpoint import Endpoint, endpoint
from tests.provision.doubles import Doubles, path_with

pytest.importorskip("moto.server", reason="moto is not installed (pip install '.[test]')")

SECRET = "sesame-open-7f3a"
REGION = "us-east-1"
NAME = "train-one"


@pytest.fixture(scope="session")
def moto_port() -> Iterator[int]:
    """A moto server in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def aws(moto_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    """An account with nothing in it but a region's default network, and the environment that leads there."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", moto_port, timeout=30)
    connection.request("POST", "/moto-api/reset")
    assert connection.getresponse().status == 200
    connection.close()
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with endpoint(moto_port) as found:
        for name, value in {
            "AWS_ENDPOINT_URL": found.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(tmp_path),
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(aws_changes, "FILE_SYSTEM_POLL_SECONDS", 0.01)
        yield found


@pytest.fixture
def client(aws: Endpoint) -> Aws:
    """AWS spoken to directly, to make what a test needs and to see what came of it."""
    return Aws(REGION)


@pytest.fixture
def doubles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubles:
    """A folder for programs, first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", path_with(folder))
    found = Doubles(folder)
    found.write()
    return found


@dataclass(frozen=True)
class Said:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def commands(self) -> list[str]:
        return [change["command"] for change in self.json["changes"]]


@pytest.fixture
def provision(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """`provision("--target", ...)` with -o json, to its answer; nothing that was said or kept may hold the secret."""

    def run(*words: str) -> Said:
        code = cli.main(["--action", "provision", "--target", *words, "-o", "json"])
        out, err = capfd.readouterr()
        kept = [path.read_text(errors="replace") for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert not any(SECRET in text for text in (out, err, *kept))
        return Said(code, out, err)

    return run


def network(client: Aws, name: str = NAME, zones: tuple[str, ...] = ("us-east-1a", "us-east-1b")) -> str:
    """A VPC with a tagged private and an untagged public subnet in each zone; its id."""
    vpc: str = client.call("ec2", "create_vpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for index, zone in enumerate(zones):
        for offset, public in ((0, False), (100, True)):
            made = client.call("ec2", "create_subnet", VpcId=vpc, CidrBlock=f"10.0.{index + offset}.0/24", AvailabilityZone=zone)["Subnet"][
                "SubnetId"
            ]
            client.call("ec2", "modify_subnet_attribute", SubnetId=made, MapPublicIpOnLaunch={"Value": public})
            tags = [{"Key": "Name", "Value": f"{name}-{'public' if public else 'private'}-{zone}"}]
            tags += [] if public else [{"Key": "karpenter.sh/discovery", "Value": name}]
            client.call("ec2", "create_tags", Resources=[made], Tags=tags)
    return vpc


def journal(tmp_path: Path) -> str:
    """The journal's text."""
    return (tmp_path / "state" / "cockpit" / "journal.jsonl").read_text()
