"""Logs, proxy, eviction, binding, scale, access and virtual endpoints over HTTPS."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from cockpit.sim.api import durations, jsonpaths
from cockpit.sim.api.protobufs import decode_protobuf
from tests.sim.serving import Served, eventually

PODS = "/api/v1/namespaces/default/pods"
LINES = [f"2026-01-01T00:00:0{i}.000000000Z stdout F line {i}" for i in range(5)]


class Runner:
    """A kubelet whose one log is a file and whose pods answer with what they were asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log_path(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path | None:
        return self.path

    async def proxy(self, namespace: str, pod: str, port: int | str, method: str, path: str,
                    body: bytes) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "text/plain"}, f"{method} {namespace}/{pod}:{port}{path}".encode()


@pytest.fixture
def running(served: Served, tmp_path: Path) -> Served:
    served.sim.api.kubelet = Runner(tmp_path / "log")
    (tmp_path / "log").write_text("\n".join(LINES) + "\n")
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 9400}]}]}
    served.post(PODS, {"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": spec})
    set_state(served, {"running": {}})
    return served


def set_state(served: Served, state: dict[str, Any]) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [{"name": "c", "state": state}]}
    served.run(lambda: served.cluster.patch("pods", "default", "p", {"status": None}, "status"))
    served.run(lambda: served.cluster.patch("pods", "default", "p", {"status": status}, "status"))


def text(served: Served, path: str) -> str:
    return str(served.get(path)["text"])


@pytest.mark.parametrize(("query", "wanted"), [
    ("", [0, 1, 2, 3, 4]), ("tailLines=2", [3, 4]), ("tailLines=0", []), ("tailLines=99", [0, 1, 2, 3, 4]),
    ("sinceTime=2026-01-01T00:00:03Z", [3, 4]), ("sinceSeconds=5", []), ("container=c&tailLines=1", [4]),
])
def test_logs(running: Served, query: str, wanted: list[int]) -> None:
    assert text(running, f"{PODS}/p/log?{query}").splitlines() == [f"line {i}" for i in wanted]


def test_log_timestamps_and_byte_limit(running: Served) -> None:
    assert text(running, f"{PODS}/p/log?timestamps=true&tailLines=1") == "2026-01-01T00:00:04.000000000Z line 4\n"
    assert text(running, f"{PODS}/p/log?limitBytes=9") == "line 0\nli"


def test_log_refusals(running: Served) -> None:
    for query, said in (("container=x", "container x is not valid for pod p"), ("tailLines=many", "invalid query parameter tailLines"),
                        ("previous=true", 'previous terminated container "c" in pod "p" not found')):
        status, body, _ = running.request("GET", f"{PODS}/p/log?{query}")
        assert status == 400 and said in body["message"]
    set_state(running, {"waiting": {"reason": "ImagePullBackOff"}})
    body = running.request("GET", f"{PODS}/p/log")[1]
    assert body["message"] == 'container "c" in pod "p" is waiting to start: ImagePullBackOff'


def test_following_ends_with_the_container(running: Served, tmp_path: Path) -> None:
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(text(running, f"{PODS}/p/log?follow=true")))
    reader.start()
    with (tmp_path / "log").open("a") as file:
        file.write("2026-01-01T00:00:05.000000000Z stderr P part\n2026-01-01T00:00:05.000000000Z stderr F ial\n")
    set_state(running, {"terminated": {"exitCode": 0}})
    reader.join(10)
    assert got[0].endswith("partial\n")


def test_proxies(running: Served) -> None:
    assert text(running, f"{PODS}/p:9400/proxy/metrics?a=b") == "GET default/p:9400/metrics?a=b"
    assert text(running, f"{PODS}/http:p:metrics/proxy/x/y") == "GET default/p:metrics/x/y"
    assert text(running, f"{PODS}/p/proxy/") == "GET default/p:9400/"
    ports = [{"name": "http", "port": 80, "targetPort": "metrics"}]
    running.post("/api/v1/namespaces/default/services", {"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "ports": ports}})
    assert text(running, "/api/v1/namespaces/default/services/http:s:http/proxy/m") == "GET default/p:metrics/m"
    running.request("PATCH", "/api/v1/namespaces/default/services/s", {"spec": {"selector": {"app": "y"}}}, "application/merge-patch+json")
    status, body, _ = running.request("GET", "/api/v1/namespaces/default/services/s/proxy/")
    assert status == 503 and body["message"] == 'no endpoints available for service "s"'


def test_binding_and_scale(served: Served) -> None:
    served.post(PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    served.post(f"{PODS}/p/binding", {"target": {"kind": "Node", "name": "n"}})
    assert served.get(f"{PODS}/p")["spec"]["nodeName"] == "n"
    assert served.request("POST", f"{PODS}/p/binding", {"target": {"name": "m"}})[0] == 409
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    served.post(deployments, {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
    body = served.request("PATCH", f"{deployments}/d/scale", {"spec": {"replicas": 3}}, "application/merge-patch+json")[1]
    assert body["kind"] == "Scale" and body["spec"]["replicas"] == 3 and body["status"]["selector"] == "a=b"


def test_without_the_token_nothing(served: Served) -> None:
    status, body, _ = served.request("GET", "/api/v1/pods", Authorization="Bearer wrong")
    assert (status, body["reason"], body["message"]) == (401, "Unauthorized", "Unauthorized")
    assert served.state.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_groups_and_service_accounts_are_judged_by_bindings(served: Served) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"},
               "subjects": [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}]}
    served.post(f"{rbac}/namespaces/default/rolebindings", binding)
    bot = "system:serviceaccount:default:bot"
    assert served.request("GET", PODS, Impersonate_User=bot)[0] == 200
    status, body, _ = served.request("GET", "/api/v1/nodes", Impersonate_User=bot)
    assert status == 403 and body["message"] == (
        f'nodes is forbidden: User "{bot}" cannot list resource "nodes" in API group "" at the cluster scope')
    assert served.request("GET", "/api/v1/nodes", Impersonate_User="x", Impersonate_Group="system:masters")[0] == 200
    ask = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}}
    status, body, _ = served.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ask, Impersonate_User=bot)
    assert status == 201 and body["status"]["allowed"] is False


def test_virtual_endpoints_are_discovered_and_answered(served: Served) -> None:
    resource = {"name": "clusterqueues", "namespaced": False, "kind": "Summary", "verbs": ["get"]}
    served.run(lambda: served.cluster.virtual("/apis/v.example.com/v1", lambda path, query: {"path": path, **query}, [resource]))
    assert eventually(lambda: served.get("/apis/v.example.com/v1")["resources"] == [resource])
    assert served.get("/apis/v.example.com/v1/clusterqueues/q/pendingworkloads?limit=1") == {
        "path": "/clusterqueues/q/pendingworkloads", "limit": "1"}


def test_protobuf_bodies() -> None:
    def part(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value
    entry = part(1, b"a") + part(2, b"1")
    config_map = part(1, part(1, b"cm") + part(3, b"") + part(8, b"")) + part(2, entry)
    body = b"k8s\x00" + part(1, part(1, b"v1") + part(2, b"ConfigMap")) + part(2, config_map)
    assert decode_protobuf(body) == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cm"}, "data": {"a": "1"}}


@pytest.mark.parametrize(("path", "wanted"), [
    (".status.conditions[-1:].type", ["B"]), ('.status.conditions[?(@.type=="A")].status', ["True"]), (".metadata.labels.a\\.b/c", ["x"]),
    (".status.conditions[*].type", ["A", "B"]), (".nothing.here", []), (".status.conditions[0].type", ["A"]),
])
def test_json_paths(path: str, wanted: list[Any]) -> None:
    obj = {"metadata": {"labels": {"a.b/c": "x"}}, "status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B"}]}}
    assert jsonpaths.find(path, obj) == wanted


@pytest.mark.parametrize(("seconds", "wanted"), [
    (0, "0s"), (119, "119s"), (125, "2m5s"), (3600, "60m"), (3 * 3600 + 60, "3h1m"), (10 * 3600, "10h"), (50 * 3600, "2d2h"),
    (30 * 86400, "30d"),
])
def test_human_durations(seconds: float, wanted: str) -> None:
    assert durations.human_duration(seconds) == wanted
