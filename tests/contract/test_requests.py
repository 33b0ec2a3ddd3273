"""What the cockpit asks of any Kubernetes API through its client: list, page, watch, 410, conflict, apply, dry run, eviction, logs, forbidden."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.clients.pages import list_meta
from cockpit.errors import ActionFailed, CockpitError, Conflict, Forbidden, Gone, Invalid, NotFound, NotServed
from tests.contract.conftest import Place
from tests.contract.definitions import ANYTHING, crd, install
from tests.servers import until

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
"""A kubeconfig may ask for that; the client silences it for the process, and pytest undoes it for each test."""

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
LEASE_SECONDS = 180.0


def test_list_by_label(place: Place) -> None:
    for name in ("list-a", "list-b", "list-c"):
        place.create(place.collection("configmaps"), {"metadata": {"name": name, "labels": {"set": "list" if name != "list-c" else "other"}}})
    found = place.kube.request("GET", place.collection("configmaps"), params={"labelSelector": "set=list", "limit": "10"})
    assert sorted(item["metadata"]["name"] for item in found["items"]) == ["list-a", "list-b"]
    assert found["metadata"]["resourceVersion"]
    one = place.kube.request("GET", place.collection("configmaps"), params={"fieldSelector": "metadata.name=list-c"})
    assert [item["metadata"]["name"] for item in one["items"]] == ["list-c"]


def test_pages_follow_the_continue_token(place: Place) -> None:
    names = {f"page-{number}" for number in range(7)}
    for name in names:
        place.create(place.collection("configmaps"), {"metadata": {"name": name, "labels": {"set": "pages"}}})
    pages = list(place.kube.pages(place.collection("configmaps"), params={"labelSelector": "set=pages"}, limit=3))
    assert len(pages) >= 3
    assert all(list_meta(page).continue_ for page in pages[:-1])
    assert {item["metadata"]["name"] for page in pages for item in json.loads(page)["items"]} == names


def test_a_watch_tells_what_happens_in_order_and_ends_when_asked(place: Place, stop: threading.Event) -> None:
    collection = place.collection("configmaps")
    version = place.kube.request("GET", collection, params={"limit": "1"})["metadata"]["resourceVersion"]
    seen: list[tuple[str, str]] = []
    params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "labelSelector": "set=watch", "timeoutSeconds": "120"}

    def follow() -> None:
        for line in place.kube.lines(collection, params=params, stop=stop, timeout_seconds=100.0):
            event = json.loads(line)
            if event["type"] != "BOOKMARK":
                seen.append((event["type"], event["object"]["metadata"]["name"]))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    place.create(collection, {"metadata": {"name": "watched", "labels": {"set": "watch"}}})
    place.kube.request("PATCH", f"{collection}/watched", body={"data": {"a": "1"}}, content_type=MERGE)
    place.kube.request("DELETE", f"{collection}/watched")
    until(lambda: len(seen) >= 3, 30.0)
    assert seen == [("ADDED", "watched"), ("MODIFIED", "watched"), ("DELETED", "watched")]
    stop.set()
    reader.join(10)
    assert not reader.is_alive()


def test_a_version_long_gone_is_a_410(place: Place, stop: threading.Event) -> None:
    """Asked of a kind younger than the version: an API that has just started still knows its first version of the others."""
    group = f"old{place.mark}.cockpit.dev"
    install(place, crd("relics", "Relic", group, "v1", ANYTHING))
    params = {"watch": "1", "resourceVersion": "1", "timeoutSeconds": "2"}
    try:
        lines = place.kube.lines(place.collection("relics", f"{group}/v1"), params=params, stop=stop, timeout_seconds=30.0)
        events = [json.loads(line) for line in lines]
    except Gone:
        return
    assert [(event["type"], event["object"].get("code")) for event in events] == [("ERROR", 410)]


def test_a_stale_write_is_a_conflict_and_a_second_create_is_not(place: Place) -> None:
    old = place.config_map("conflict", a="1")
    path = f"{place.collection('configmaps')}/conflict"
    place.kube.request("PATCH", path, body={"data": {"a": "2"}}, content_type=MERGE)
    with pytest.raises(Conflict):
        place.kube.request("PUT", path, body=old | {"data": {"a": "3"}})
    with pytest.raises(Conflict):
        stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "4"}}
        place.kube.request("PATCH", path, body=stale, content_type=MERGE)
    with pytest.raises(ActionFailed) as caught:
        place.kube.request("POST", place.collection("configmaps"), body={"metadata": {"name": "conflict"}})
    assert caught.value.code == "already-exists"
    assert place.kube.request("GET", path)["data"] == {"a": "2"}


def applied(place: Place, manager: str, data: dict[str, str], **params: str) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied", "namespace": place.namespace}, "data": data}
    path = f"{place.collection('configmaps')}/applied"
    asked = {"fieldManager": manager, "fieldValidation": "Strict", "force": "false"} | params
    return place.kube.request("PATCH", path, params=asked, body=body, content_type=APPLY)


def test_server_side_apply_owns_its_fields(place: Place) -> None:
    place.made.append(f"{place.collection('configmaps')}/applied")
    first = applied(place, "cockpit", {"a": "1", "b": "1"})
    assert first["data"] == {"a": "1", "b": "1"}
    assert applied(place, "cockpit", {"a": "2"})["data"] == {"a": "2"}
    with pytest.raises(Conflict, match="cockpit"):
        applied(place, "another", {"a": "3"})
    assert applied(place, "another", {"a": "3"}, force="true")["data"]["a"] == "3"


def test_a_dry_run_judges_and_changes_nothing(place: Place) -> None:
    collection = place.collection("configmaps")
    judged = place.kube.request("POST", collection, params={"dryRun": "All"}, body={"metadata": {"name": "dry"}, "data": {"a": "1"}})
    assert judged["metadata"]["name"] == "dry"
    with pytest.raises(NotFound):
        place.kube.request("GET", f"{collection}/dry")
    with pytest.raises(Invalid):
        place.kube.request("POST", collection, params={"dryRun": "All"}, body={"metadata": {"name": "Not A Name"}})


@pytest.mark.usefixtures("validates_fields")
def test_a_field_nobody_knows_is_refused_when_asked_strictly(place: Place) -> None:
    strict = {"dryRun": "All", "fieldValidation": "Strict"}
    with pytest.raises(Invalid, match="unknown"):
        place.kube.request("POST", place.collection("configmaps"), params=strict, body={"metadata": {"name": "dry"}, "nonsense": {"a": "1"}})
    group = f"strict{place.mark}.cockpit.dev"
    install(place, crd("gauges", "Gauge", group, "v1", {"type": "object", "properties": {"nodes": {"type": "integer"}}}))
    gauge = {"apiVersion": f"{group}/v1", "kind": "Gauge", "metadata": {"name": "g"}, "spec": {"gpus": 1}}
    with pytest.raises(Invalid, match="unknown"):
        place.kube.request("POST", place.collection("gauges", f"{group}/v1"), params=strict, body=gauge)


@pytest.mark.usefixtures("validates_fields")
def test_an_eviction_removes_a_pod(place: Place) -> None:
    place.pod("evicted", "sleep 1000", schedulerName="nobody")
    path = f"{place.collection('pods')}/evicted"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": place.namespace}}
    place.kube.request("POST", f"{path}/eviction", params={"dryRun": "All"}, body=eviction)
    assert not place.gone(path)
    place.kube.request("POST", f"{path}/eviction", body=eviction)
    until(lambda: place.gone(path), 60.0)
    with pytest.raises(NotFound):
        place.kube.request("POST", f"{path}/eviction", body=eviction)


def kubelet_runs(place: Place) -> bool:
    """Whether any node's kubelet has renewed its lease lately."""
    place.kube.version()
    if place.kube.simulated:
        return True
    found = place.kube.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", params={"limit": "200"})
    renewed = [(item.get("spec") or {}).get("renewTime") for item in found["items"]]
    return any(text and (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds() < LEASE_SECONDS for text in renewed)


@pytest.fixture
def logged(place: Place) -> Iterator[str]:
    """The path of a pod that has said three lines."""
    if not kubelet_runs(place):
        pytest.skip("no kubelet of this cluster is running, so no pod has a log")
    place.pod("logged", "echo one; echo two; printf three", tolerations=[{"operator": "Exists"}])
    path = f"{place.collection('pods')}/logged"
    try:
        until(lambda: place.kube.request("GET", path)["status"].get("phase") in ("Succeeded", "Failed"), 150.0)
    except AssertionError:
        pytest.skip(f"the pod did not run here: {place.kube.request('GET', path)['status']}")
    yield path


def test_logs_are_read_and_followed(place: Place, logged: str, stop: threading.Event) -> None:
    assert place.kube.read(f"{logged}/log").rstrip(b"\n") == b"one\ntwo\nthree"
    assert place.kube.read(f"{logged}/log", params={"tailLines": "2"}).rstrip(b"\n") == b"two\nthree"
    stamped = place.kube.read(f"{logged}/log", params={"timestamps": "true", "tailLines": "1"}).decode()
    assert datetime.fromisoformat(stamped.split(" ", 1)[0][:26].rstrip("Z") + "+00:00").year >= 2024
    assert list(place.kube.lines(f"{logged}/log", params={"follow": "true"}, stop=stop)) == [b"one", b"two", b"three"]


def test_a_stranger_is_forbidden(place: Place) -> None:
    stranger = Kube.connect(kubeconfig=place.path, impersonate=f"cockpit-contract-stranger-{place.mark}")
    with pytest.raises(Forbidden) as caught:
        stranger.request("GET", place.collection("pods"), params={"limit": "1"})
    assert "pods" in caught.value.message
    with pytest.raises(Forbidden):
        list(stranger.lines("/api/v1/nodes", params={"watch": "1"}, stop=threading.Event(), timeout_seconds=20.0))


def test_to_a_stranger_too_what_is_not_served_is_not_forbidden(place: Place) -> None:
    stranger = Kube.connect(kubeconfig=place.path, impersonate=f"cockpit-contract-stranger-{place.mark}")
    for path in ("/apis/nothing.cockpit.dev/v1/gadgets", "/apis/apps/v1/gadgets"):
        with pytest.raises(NotServed):
            list(stranger.pages(path))
    with pytest.raises(Forbidden):
        list(stranger.pages("/apis/apps/v1/deployments"))


def test_access_reviews_answer_for_us_and_for_strangers(place: Place) -> None:
    stranger = Kube.connect(kubeconfig=place.path, impersonate=f"cockpit-contract-stranger-{place.mark}")
    assert place.kube.may("list", "", "pods", place.namespace)
    assert not stranger.may("delete", "", "nodes")


def test_what_is_not_served_and_what_is_not_there_are_told_apart(place: Place) -> None:
    with pytest.raises(NotServed):
        place.kube.request("GET", "/apis/nothing.cockpit.dev/v1/gadgets")
    with pytest.raises(NotServed):
        place.kube.request("GET", "/api/v1/gadgets")
    with pytest.raises(NotFound) as caught:
        place.kube.request("GET", f"{place.collection('configmaps')}/absent")
    assert "absent" in caught.value.message


def test_errors_are_short_and_have_a_code(place: Place) -> None:
    with pytest.raises(CockpitError) as caught:
        place.kube.request("POST", place.collection("configmaps"), body={"metadata": {"name": "x" * 5000}})
    assert caught.value.to_dict()["code"] == "invalid"
    assert len(caught.value.message) <= 2000
