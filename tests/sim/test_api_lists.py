"""Lists over HTTPS: paging, selectors, forms, gzip."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest

from cockpit.sim.store import Loaded
from tests.sim.serving import Served

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def make(served: Served, count: int) -> None:
    for index in range(count):
        labels = {"parity": "odd" if index % 2 else "even", "n": str(index)}
        body = {"metadata": {"name": f"c{index:03}", "labels": labels}, "data": {"i": str(index)}}
        served.post(CONFIG_MAPS, body)


def names(body: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_pages_show_one_moment(served: Served) -> None:
    make(served, 5)
    first = served.get(f"{CONFIG_MAPS}?limit=2")
    assert names(first) == ["c000", "c001"] and first["metadata"]["remainingItemCount"] == 3
    served.request("DELETE", f"{CONFIG_MAPS}/c003")
    served.post(CONFIG_MAPS, {"metadata": {"name": "c0005"}})
    token = first["metadata"]["continue"]
    second = served.get(f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert names(second) == ["c002", "c003"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = served.get(f"{CONFIG_MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names(third) == ["c004"] and "continue" not in third["metadata"]


def test_an_expired_continue_is_a_410_with_a_way_on(served: Served) -> None:
    make(served, 4)
    token = served.get(f"{CONFIG_MAPS}?limit=2")["metadata"]["continue"]
    served.run(served.sim.api.expire_watches)
    status, body, _ = served.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert status == 410 and body["reason"] == "Expired" and body["code"] == 410
    rest = served.get(f"{CONFIG_MAPS}?continue={body['metadata']['continue']}")
    assert names(rest) == ["c002", "c003"]


def test_limit_is_ignored_with_resource_version_0(served: Served) -> None:
    make(served, 3)
    assert len(served.get(f"{CONFIG_MAPS}?limit=1&resourceVersion=0")["items"]) == 3


@pytest.mark.parametrize(("selector", "wanted"), [
    ("parity=odd", ["c001", "c003"]), ("parity!=odd", ["c000", "c002"]), ("parity in (even),n notin (0)", ["c002"]),
    ("n>1", ["c002", "c003"]), ("!parity", []), ("parity,n==3", ["c003"]),
])
def test_label_selectors(served: Served, selector: str, wanted: list[str]) -> None:
    make(served, 4)
    assert names(served.get(f"{CONFIG_MAPS}?labelSelector={quote(selector)}")) == wanted


def test_field_selectors(served: Served) -> None:
    make(served, 2)
    assert names(served.get("/api/v1/configmaps?fieldSelector=metadata.name%3Dc001")) == ["c001"]
    assert names(served.get("/api/v1/configmaps?fieldSelector=metadata.namespace!%3Ddefault")) == []
    status, body, _ = served.request("GET", f"{CONFIG_MAPS}?fieldSelector=data.i%3D1")
    assert status == 400 and "field label not supported: data.i" in body["message"]


def test_pods_by_node_and_phase(served: Served) -> None:
    for name, node in (("a", "n1"), ("b", "n2"), ("c", None)):
        spec = {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {})}
        served.post("/api/v1/namespaces/default/pods", {"metadata": {"name": name}, "spec": spec})
    assert names(served.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1,status.phase!%3DFailed")) == ["a"]
    assert names(served.get("/api/v1/pods?fieldSelector=spec.nodeName%3D")) == ["c"]


def test_items_of_builtin_lists_carry_no_kind(served: Served) -> None:
    body = served.get("/api/v1/namespaces")
    assert body["kind"] == "NamespaceList" and "kind" not in body["items"][0]


def test_large_lists_are_gzipped_when_asked(served: Served) -> None:
    filler = "x" * 1000
    loaded = [Loaded(None, f"n{i:04}", f"u{i}", json.dumps({"metadata": {"name": f"n{i:04}", "uid": f"u{i}"}, "status": {"x": filler}},
                     separators=(",", ":")).encode()) for i in range(2000)]
    assert served.run(lambda: served.cluster.load("nodes", loaded)) == 2000
    connection = served.connect()
    for given, zipped in (({"Accept-Encoding": "gzip"}, True), ({}, False)):
        connection.request("GET", "/api/v1/nodes", headers={"Authorization": f"Bearer {served.state.token()}", **given})
        response = connection.getresponse()
        body = response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") is zipped
        assert response.headers["Cockpit-Simulated"] == "true"
        items = json.loads(gzip.decompress(body) if zipped else body)["items"]
        assert len(items) == 2000 and items[7]["metadata"]["name"] == "n0007"
    connection.close()


def test_tables(served: Served) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = served.get("/api/v1/namespaces", Accept=accept)
    assert table["kind"] == "Table" and [c["name"] for c in table["columnDefinitions"]] == ["Name", "Status", "Age"]
    row = table["rows"][0]
    assert row["cells"][:2] == ["default", "Active"] and row["object"]["kind"] == "PartialObjectMetadata"
    bare = served.get("/api/v1/namespaces?includeObject=None", Accept=accept)
    assert bare["rows"][0]["object"] is None
    one = served.get("/api/v1/namespaces/default", Accept=accept)
    assert len(one["rows"]) == 1


def test_metadata_only(served: Served) -> None:
    body = served.get("/api/v1/namespaces", Accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    assert body["kind"] == "PartialObjectMetadataList" and "spec" not in body["items"][0]


def test_json_must_be_acceptable(served: Served) -> None:
    status, body, _ = served.request("GET", "/api/v1/namespaces", Accept="application/cbor")
    assert status == 406 and body["reason"] == "NotAcceptable"


def test_a_resource_version_from_the_future_is_a_timeout(served: Served) -> None:
    status, body, _ = served.request("GET", "/api/v1/namespaces?resourceVersion=999999999999")
    assert status == 504 and body["reason"] == "Timeout" and "Too large resource version" in body["message"]
