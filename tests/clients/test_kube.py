"""The transport against real sockets: pages, and errors by their Status; what an API serves and allows."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.clients.pages import AHEAD, HEAD_BYTES, list_meta
from cockpit.clients.transport import BUSY_TRIES
from cockpit.errors import (
    ActionFailed,
    CockpitError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotAuthorised,
    NotFound,
    NotServed,
    Unreachable,
)
from tests.servers import Request, kubeconfig, serving, until


def test_pages_are_followed_and_gzip_is_asked_for(connected: Any) -> None:
    def answer(request: Request) -> None:
        token = "" if request.query.get("continue") else "next"
        page = {"kind": "PodList", "metadata": {"resourceVersion": "9", "continue": token}, "items": [{"metadata": {"name": token or "last"}}]}
        request.bytes(gzip.compress(json.dumps(page).encode()), 200, "application/json", Content_Encoding="gzip")

    kube, server = connected(answer)
    pages = [json.loads(page) for page in kube.pages("/api/v1/pods", params={"labelSelector": "a=b"}, limit=2)]
    assert [page["items"][0]["metadata"]["name"] for page in pages] == ["next", "last"]
    assert [request.query for request in server.requests] == [
        {"labelSelector": "a=b", "limit": "2"},
        {"labelSelector": "a=b", "limit": "2", "continue": "next"},
    ]
    assert all("gzip" in request.headers["Accept-Encoding"] for request in server.requests)
    assert all("resourceVersion" not in request.query for request in server.requests)


def test_the_next_page_is_asked_for_while_this_one_is_still_coming(connected: Any) -> None:
    last = threading.Event()

    def answer(request: Request) -> None:
        if request.query.get("continue"):
            last.set()
            request.json({"metadata": {}, "items": ["last"]})
            return
        with request.stream() as send:
            send(b'{"metadata":{"continue":"next"},"items":["%s"' % (b"x" * HEAD_BYTES))
            assert last.wait(10.0)
            send(b"]}")

    kube, _ = connected(answer)
    assert [len(json.loads(page)["items"][0]) for page in kube.pages("/api/v1/pods")] == [HEAD_BYTES, len("last")]


def test_a_list_nobody_reads_on_is_not_read_to_its_end(connected: Any) -> None:
    kube, server = connected(lambda request: request.json({"metadata": {"continue": "next"}, "items": []}))
    pages = kube.pages("/api/v1/pods")
    next(pages)
    pages.close()
    until(lambda: not any(thread.name == "page" for thread in threading.enumerate()))
    assert len(server.requests) <= 2 * AHEAD


@pytest.mark.parametrize(("after", "refusals", "asked"), [("0", 3, 4), ("0", 99, BUSY_TRIES), ("60", 99, 1), ("", 99, 1)])
def test_a_server_too_busy_to_look_is_asked_again_when_it_says_so(connected: Any, after: str, refusals: int, asked: int) -> None:
    """Priority and fairness turns requests away before it looks at them; what comes with a long wait, or none, is told."""

    def answer(request: Request) -> None:
        if len(server.requests) > refusals:
            request.json({"kind": "Node"})
        else:
            request.bytes(b"Too many requests, please try again later.\n", 429, **({"Retry_After": after} if after else {}))

    kube, server = connected(answer)
    if refusals < BUSY_TRIES:
        assert kube.request("GET", "/api/v1/nodes/n") == {"kind": "Node"}
    else:
        with pytest.raises(ActionFailed, match="Too many requests") as caught:
            kube.request("GET", "/api/v1/nodes/n")
        assert caught.value.code == "too-many-requests"
    assert len(server.requests) == asked


@pytest.mark.parametrize(
    ("resources", "says"),
    [([{"name": "nodeclaims"}], NotServed), ([{"name": "nodepools"}], Forbidden), ("404", NotServed), ("403", Forbidden)],
)
def test_forbidden_of_what_is_not_even_served_is_told_apart(connected: Any, resources: Any, says: type[CockpitError]) -> None:
    """A server asks for rights before it looks for the kind, so that with few rights everything absent is forbidden."""

    def answer(request: Request) -> None:
        if request.path != "/apis/karpenter.sh/v1":
            request.status(403, "Forbidden", "nodepools.karpenter.sh is forbidden")
        elif resources == "404":
            request.bytes(b"404 page not found\n", 404)
        elif resources == "403":
            request.status(403, "Forbidden", "no discovery for you")
        else:
            request.json({"kind": "APIResourceList", "resources": resources})

    kube, _ = connected(answer)
    with pytest.raises(CockpitError, match=r"nodepools\.karpenter\.sh") as caught:
        list(kube.pages("/apis/karpenter.sh/v1/nodepools"))
    assert caught.type is says


@pytest.mark.parametrize(
    "page",
    [
        b'{"kind":"L","metadata":{"resourceVersion":"1","continue":"abc"},"items":[{"metadata":{"name":"x","continue":"no"}}]}',
        b'{"items":[{"metadata":{"name":"x","continue":"no"}}],"metadata":{"continue":"abc"}}',
        b'{"items":[' + b'{"metadata":{}},' * 2000 + b'{}],"metadata":{"continue":"abc"}}',
    ],
)
def test_the_continue_token_is_found_wherever_the_server_writes_it(page: bytes) -> None:
    assert list_meta(page).continue_ == "abc"


def test_a_list_without_metadata_ends() -> None:
    assert list_meta(b'{"items":[]}').continue_ is None
    assert list_meta(b"not json").continue_ is None


@pytest.mark.parametrize(
    ("code", "reason", "details", "error", "name"),
    [
        (400, "BadRequest", {}, Invalid, "invalid"),
        (401, "Unauthorized", {}, NotAuthorised, "not-authorised"),
        (403, "Forbidden", {"kind": "pods"}, Forbidden, "forbidden"),
        (404, "NotFound", {"name": "x", "kind": "pods"}, NotFound, "not-found"),
        (409, "Conflict", {"name": "x"}, Conflict, "conflict"),
        (409, "AlreadyExists", {"name": "x"}, ActionFailed, "already-exists"),
        (410, "Expired", {}, Gone, "gone"),
        (422, "Invalid", {"name": "x"}, Invalid, "invalid"),
        (429, "TooManyRequests", {}, ActionFailed, "too-many-requests"),
        (500, "InternalError", {}, ActionFailed, "action-failed"),
        (503, "ServiceUnavailable", {}, Unreachable, "unreachable"),
    ],
)
def test_a_status_becomes_its_error(connected: Any, code: int, reason: str, details: dict[str, str], error: type, name: str) -> None:
    kube, _ = connected(lambda request: request.status(code, reason, f"because {reason}", **details))
    with pytest.raises(CockpitError) as caught:
        kube.request("GET", "/api/v1/namespaces/a/pods/x")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.message) == (name, f"because {reason}")


def test_an_unserved_resource_is_told_from_a_missing_object(connected: Any) -> None:
    def answer(request: Request) -> None:
        if request.path.startswith("/apis/karpenter.sh"):
            request.bytes(b"404 page not found\n", 404)
        else:
            request.status(404, "NotFound", "the server could not find the requested resource")

    kube, _ = connected(answer)
    for path, resource in (("/apis/karpenter.sh/v1/nodepools", "nodepools.karpenter.sh"), ("/api/v1/namespaces/a/gadgets/x", "gadgets")):
        with pytest.raises(NotServed, match=f"^{resource} is not served"):
            kube.request("GET", path)


def test_a_long_hostile_error_page_is_cut(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"\xff<html>" * 100_000, 500))
    with pytest.raises(ActionFailed) as caught:
        kube.request("GET", "/x")
    assert len(caught.value.message) < 1000


def test_not_json_is_an_error_and_not_an_empty_answer(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"<html>login</html>"))
    with pytest.raises(ActionFailed, match="not a JSON object"):
        kube.version()


def test_a_redirect_is_not_followed_with_our_token(connected: Any) -> None:
    kube, server = connected(lambda request: request.bytes(b"", 302, Location="http://127.0.0.1:1/steal"))
    with pytest.raises(CockpitError):
        kube.version()
    assert len(server.requests) == 1


def test_nobody_there_is_unreachable_with_what_was_tried(tmp_path: Path) -> None:
    with serving(lambda request: None) as server:
        url = server.url
    with pytest.raises(Unreachable) as caught:
        Kube.connect(kubeconfig=kubeconfig(tmp_path, url)).version()
    assert url in caught.value.message
    assert "refused" in caught.value.message
    assert "context test" in caught.value.hint


def test_a_silent_server_times_out(connected: Any) -> None:
    kube, server = connected(lambda request: server_box[0].closing.wait(10), timeout_seconds=0.2)
    server_box = [server]
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        kube.version()


def test_a_kept_connection_that_died_is_tried_again_for_a_get_only(connected: Any) -> None:
    dropped: list[str] = []

    def answer(request: Request) -> None:
        if len(dropped) < 1 and request.path == "/again":
            dropped.append(request.method)
            request.drop()
        elif request.method == "POST":
            request.drop()
        else:
            request.json({"ok": True})

    kube, server = connected(answer)
    assert kube.request("GET", "/again") == {"ok": True}
    with pytest.raises(Unreachable, match="broke off"):
        kube.request("POST", "/once", body={})
    assert [request.method for request in server.requests] == ["GET", "GET", "POST"]


def test_the_practice_cluster_tells_itself(connected: Any) -> None:
    kube, _ = connected(lambda request: request.json({}, 200, Cockpit_Simulated="true" if request.path == "/version" else "no"))
    assert kube.simulated is None
    kube.version()
    assert kube.simulated is True


def test_access_is_asked_once(connected: Any) -> None:
    kube, server = connected(
        lambda request: request.json({"status": {"allowed": json.loads(request.body)["spec"]["resourceAttributes"]["verb"] == "get"}})
    )
    assert [kube.may("get", "", "pods"), kube.may("get", "", "pods"), kube.may("delete", "", "pods", "ns")] == [True, True, False]
    assert len(server.requests) == 2


# -- discovery ---------------------------------------------------------------------------------------------------------------------------

AGGREGATED = {
    "/api": {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
        {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "verbs": ["list"]}]}]}]},
    "/apis": {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "kueue.x-k8s.io"}, "versions": [
        {"version": version, "resources": [{"resource": "clusterqueues", "responseKind": {"kind": "ClusterQueue"}, "scope": "Cluster", "verbs": []}]}
        for version in ("v1beta2", "v1beta1")]}]},
}  # fmt: skip
PLAIN = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]}, {"name": "pods/log", "kind": "Pod"}]},
    "/apis": {"kind": "APIGroupList", "groups": [{"name": "kueue.x-k8s.io", "preferredVersion": {"version": "v1beta2"},
              "versions": [{"version": "v1beta1"}, {"version": "v1beta2"}]}]},
    "/apis/kueue.x-k8s.io/v1beta1": {"resources": [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False}]},
    "/apis/kueue.x-k8s.io/v1beta2": {"resources": [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False}]},
}  # fmt: skip


@pytest.mark.parametrize("documents", [AGGREGATED, PLAIN], ids=["aggregated", "plain"])
def test_discovery(connected: Any, documents: dict[str, Any]) -> None:
    kube, server = connected(lambda request: request.json(documents[request.path]))
    served = kube.served()
    assert sorted(served) == ["clusterqueues.kueue.x-k8s.io", "pods"]
    queues = served["clusterqueues.kueue.x-k8s.io"]
    assert (queues.version, sorted(queues.versions), queues.namespaced) == ("v1beta2", ["v1beta1", "v1beta2"], False)
    assert (served["pods"].path, queues.path) == ("/api/v1/pods", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues")
    before = len(server.requests)
    kube.served()
    assert len(server.requests) == before


def test_a_missing_crd_is_none(connected: Any) -> None:
    kube, _ = connected(lambda request: request.status(404, "NotFound", "no such crd", name="x"))
    assert kube.crd("x.y") is None


def test_many_threads_share_one_kube(connected: Any) -> None:
    kube, server = connected(lambda request: request.json({"path": request.path}))
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: kube.request("GET", f"/{n}")})) for n in range(40)]
    for thread in threads:
        thread.start()
    until(lambda: len(found) == 40)
    assert all(found[n] == {"path": f"/{n}"} for n in range(40))
    assert len(server.requests) == 40
