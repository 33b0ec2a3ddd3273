"""An AWS endpoint for tests: moto behind one address, and what moto lacks answered here in the shape AWS answers it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from tests.servers import Request, Server, serving

EC2 = "http://ec2.amazonaws.com/doc/2016-11-15/"
ON_DEMAND = {"p5.48xlarge": 55.04, "p4d.24xlarge": 21.958, "g6e.48xlarge": 30.1312}
MOUNT_NAME = "fsxmnt01"


class Endpoint:
    """What it knows besides moto: placement groups, reservations, the states a file system goes through, and clusters' security groups."""

    def __init__(self, moto_port: int) -> None:
        self.moto_port = moto_port
        self.groups: dict[str, str] = {}
        self.reservations: list[dict[str, str]] = []
        self.cluster_groups: dict[str, str] = {}
        self.states = ["CREATING", "AVAILABLE"]
        self.denied: set[str] = set()
        self.calls: list[str] = []
        self.server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def answer(self, request: Request) -> None:
        """One call: by its EC2 action, its JSON target, or its path."""
        form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        call = form.get("Action") or request.headers.get("X-Amz-Target", "").rpartition(".")[2] or f"{request.method} {request.path}"
        self.calls.append(call)
        if call in self.denied:
            request.bytes(refusal("UnauthorizedOperation", f"you are not authorized to perform {call}"), 403, "text/xml")
        elif call in ANSWERS:
            ANSWERS[call](self, request, form)
        else:
            self.forward(request, call)

    def forward(self, request: Request, call: str) -> None:
        """What moto says, with what it leaves out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.moto_port, timeout=60)
        query = "?" + "&".join(f"{name}={value}" for name, value in request.query.items()) if request.query else ""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "content-length", "connection")}
        connection.request(request.method, request.path + query, request.body, headers | {"Host": request.headers["Host"]})
        said = connection.getresponse()
        body, kind = said.read(), said.headers.get("Content-Type", "text/xml")
        connection.close()
        more = {name: value for name, value in said.headers.items() if name.lower() == "x-amzn-errortype"}
        request.bytes(self.completed(call, body), said.status, kind, **more)

    def completed(self, call: str, body: bytes) -> bytes:
        """The file system's state and mount name, the cluster's security group."""
        cluster = re.fullmatch(r"GET /clusters/([\w-]+)", call)
        if call == "DescribeFileSystems":
            found = json.loads(body)
            for one in found["FileSystems"]:
                one["Lifecycle"] = self.states[0]
                one["LustreConfiguration"] = {**(one.get("LustreConfiguration") or {}), "MountName": MOUNT_NAME}
            if found["FileSystems"] and len(self.states) > 1:
                self.states.pop(0)
            return json.dumps(found).encode()
        if cluster and cluster[1] in self.cluster_groups:
            found = json.loads(body)
            if "cluster" in found:
                found["cluster"]["resourcesVpcConfig"]["clusterSecurityGroupId"] = self.cluster_groups[cluster[1]]
            return json.dumps(found).encode()
        return body


def refusal(code: str, message: str) -> bytes:
    """An error as EC2 words it."""
    return f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>1</RequestID></Response>".encode()


def _xml(request: Request, action: str, body: str) -> None:
    request.bytes(f'<{action}Response xmlns="{EC2}"><requestId>1</requestId>{body}</{action}Response>'.encode(), 200, "text/xml")


def _items(name: str, rows: list[dict[str, str]]) -> str:
    return f"<{name}>{''.join('<item>' + ''.join(f'<{key}>{value}</{key}>' for key, value in row.items()) + '</item>' for row in rows)}</{name}>"


def _describe_groups(endpoint: Endpoint, request: Request, form: dict[str, str]) -> None:
    rows = [{"groupName": name, "strategy": strategy, "state": "available"} for name, strategy in endpoint.groups.items()]
    _xml(request, "DescribePlacementGroups", _items("placementGroupSet", rows))


def _create_group(endpoint: Endpoint, request: Request, form: dict[str, str]) -> None:
    if form["GroupName"] in endpoint.groups:
        request.bytes(refusal("InvalidPlacementGroup.Duplicate", "it is there"), 400, "text/xml")
        return
    endpoint.groups[form["GroupName"]] = form["Strategy"]
    _xml(request, "CreatePlacementGroup", "<return>true</return>")


def _delete_group(endpoint: Endpoint, request: Request, form: dict[str, str]) -> None:
    if endpoint.groups.pop(form["GroupName"], None) is None:
        request.bytes(refusal("InvalidPlacementGroup.Unknown", "it is not there"), 400, "text/xml")
        return
    _xml(request, "DeletePlacementGroup", "<return>true</return>")


def _describe_reservations(endpoint: Endpoint, request: Request, form: dict[str, str]) -> None:
    _xml(request, "DescribeCapacityReservations", _items("capacityReservationSet", endpoint.reservations))


def _products(endpoint: Endpoint, request: Request, form: dict[str, str]) -> None:
    asked = {one["Field"]: one["Value"] for one in json.loads(request.body)["Filters"]}
    price = ON_DEMAND.get(asked["instanceType"])
    dimension: dict[str, Any] = {"priceDimensions": {"d": {"unit": "Hrs", "pricePerUnit": {"USD": str(price)}}}}
    listed = [json.dumps({"product": {}, "terms": {"OnDemand": {"t": dimension}}})] if price else []
    request.bytes(json.dumps({"FormatVersion": "aws_v1", "PriceList": listed}).encode(), 200, "application/x-amz-json-1.1")


ANSWERS = {
    "DescribePlacementGroups": _describe_groups,
    "CreatePlacementGroup": _create_group,
    "DeletePlacementGroup": _delete_group,
    "DescribeCapacityReservations": _describe_reservations,
    "GetProducts": _products,
}


@contextmanager
def endpoint(moto_port: int) -> Iterator[Endpoint]:
    """An endpoint for the length of a block."""
    found = Endpoint(moto_port)
    with serving(found.answer) as found.server:
        yield found
