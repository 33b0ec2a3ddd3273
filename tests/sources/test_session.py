"""Sessions and the sources that ask: fill, watch, heartbeat, discovery, places in the queue, and the practice cluster's start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit import session as sessions
from cockpit.clients.shell import Shell
from cockpit.errors import ActionFailed, BadInput, Forbidden, NoKubeconfig, NotServed, Unreachable
from cockpit.model import PodKey, State
from cockpit.session import Options, Session, open_session
from cockpit.sources import SOURCES, api, load, reflect
from tests.servers import Request, Server, kubeconfig, until


class Api:
    """Lists by path; what is not there is not served."""

    def __init__(self, folder: Path) -> None:
        self.lists: dict[str, Any] = {}
        self.broken: dict[str, tuple[int, str, str]] = {}
        self.server = Server(self.answer)
        self.path = kubeconfig(folder, self.server.url)

    def answer(self, request: Request) -> None:
        if request.path in self.broken:
            request.status(*self.broken[request.path])
        elif request.query.get("watch"):
            with request.stream():
                self.server.closing.wait(20)
        elif request.path in self.lists:
            found = self.lists[request.path]
            request.json(found if isinstance(found, dict) else {"metadata": {"resourceVersion": "1"}, "items": found})
        elif request.path == "/readyz":
            request.bytes(b"ok")
        else:
            request.bytes(b"404 page not found\n", 404)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(api, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(api, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(reflect, "BACKOFF_SECONDS", (0.01, 0.05))
    found = Api(tmp_path)
    yield found
    found.server.close()


@pytest.fixture
def opened(server: Api) -> Iterator[Session]:
    with open_session(Options(kubeconfig=server.path, timeout_seconds=5.0)) as found:
        yield found


NODES, PODS, JOBS = "/api/v1/nodes", "/api/v1/pods", "/apis/kubeflow.org/v1/pytorchjobs"


def named(*names: str) -> list[dict[str, Any]]:
    return [{"metadata": {"name": name, "namespace": "ml", "uid": name}} for name in names]


def test_opening_asks_nothing_of_the_api(server: Api) -> None:
    open_session(Options(kubeconfig=server.path)).close()
    assert server.server.requests == []


def test_no_kubeconfig_stops_before_anything(tmp_path: Path) -> None:
    with pytest.raises(NoKubeconfig):
        open_session(Options(kubeconfig=str(tmp_path / "absent")))


def test_fill_reads_what_is_needed(server: Api, opened: Session) -> None:
    server.lists = {NODES: named("n1"), PODS: named("p1", "p2")}
    opened.fill(["nodes", "pods"])
    picture = opened.store.snapshot()
    assert (len(picture.nodes), len(picture.pods)) == (1, 2)
    assert {name: health.state for name, health in picture.health.items()} == {"nodes": State.LIVE, "pods": State.LIVE}


def test_one_failed_need_fails_the_fill(server: Api, opened: Session) -> None:
    server.lists = {NODES: named("n1")}
    server.broken = {PODS: (403, "Forbidden", "pods is forbidden")}
    with pytest.raises(Forbidden, match="pods is forbidden"):
        opened.fill(["nodes", "pods"])


def test_an_absent_crd_is_no_failure_beside_others_but_alone_it_is(server: Api, opened: Session) -> None:
    server.lists = {NODES: named("n1")}
    opened.fill(["nodes", "nodepools"])
    assert opened.store.snapshot().absent("nodepools")
    with pytest.raises(NotServed, match=r"nodepools\.karpenter\.sh"):
        opened.fill(["nodepools"])


def test_a_dead_api_is_unreachable(tmp_path: Path) -> None:
    gone = Server(lambda request: None)
    gone.close()
    with open_session(Options(kubeconfig=kubeconfig(tmp_path, gone.url))) as found, pytest.raises(Unreachable):
        found.fill(["nodes"])


def test_a_source_that_stumbles_is_never_taken_for_a_picture(server: Api, opened: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clumsy:
        name = "nodes"

        def list(self, kube: Any, store: Any) -> None:
            raise KeyError("a secret")

    monkeypatch.setattr(sessions, "load", lambda name: Clumsy())
    with pytest.raises(ActionFailed, match="KeyError") as caught:
        opened.fill(["nodes"])
    assert "secret" not in caught.value.message


def test_an_unknown_source_is_bad_input(opened: Session) -> None:
    with pytest.raises(BadInput):
        opened.fill(["nods"])


def test_every_source_loads_under_its_own_name() -> None:
    assert [load(name).name for name in SOURCES] == list(SOURCES)


def test_watch_starts_each_source_once_and_close_ends_them(server: Api) -> None:
    server.lists = {NODES: named("n1"), PODS: named("p1")}
    told: list[int] = []
    found = open_session(Options(kubeconfig=server.path), on_change=lambda: told.append(1))
    found.watch(["nodes", "api"])
    assert found.store.snapshot().health.keys() == {"nodes", "api"}
    found.watch(["nodes", "pods", "api"])
    until(lambda: found.store.snapshot().believed("nodes") and found.store.snapshot().believed("pods"))
    threads = [thread for thread in threading.enumerate() if thread.name in ("watch-nodes", "watch-pods", "watch-api")]
    assert len(threads) == 3
    assert all(thread.daemon for thread in threads)
    found.close()
    until(lambda: not any(thread.is_alive() for thread in threads))
    assert told


def test_a_heart_that_stops_makes_the_watches_notice(server: Api, opened: Session) -> None:
    server.lists = {NODES: named("n1")}
    opened.watch(["nodes", "api"])
    until(lambda: opened.store.snapshot().believed("nodes") and opened.store.snapshot().believed("api"))
    until(lambda: any(request.query.get("watch") for request in server.server.requests))
    server.broken = {"/readyz": (503, "ServiceUnavailable", "shutting down"), NODES: (503, "ServiceUnavailable", "shutting down")}
    until(lambda: opened.store.snapshot().health["nodes"].state is State.STALE and opened.store.snapshot().health["api"].state is State.STALE)
    assert len(opened.store.snapshot().nodes) == 1
    server.broken = {}
    until(lambda: opened.store.snapshot().believed("nodes") and opened.store.snapshot().believed("api"))


def test_an_api_that_forbids_the_heartbeat_still_beats(server: Api, opened: Session) -> None:
    server.broken = {"/readyz": (403, "Forbidden", "no")}
    opened.fill(["api"])
    server.broken = {"/readyz": (401, "Unauthorized", "expired")}
    with pytest.raises(Exception, match="expired"):
        opened.fill(["api"])


# -- discovery and runtimes --------------------------------------------------------------------------------------------------------------


def resource(plural: str, kind: str) -> dict[str, Any]:
    return {"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["list"]}


def trainer(server: Api, field: str) -> None:
    kinds = [resource("trainjobs", "TrainJob"), resource("clustertrainingruntimes", "ClusterTrainingRuntime")]
    group = {"metadata": {"name": "trainer.kubeflow.org"}, "versions": [{"version": "v1alpha1", "resources": kinds}]}
    schema = {"properties": {"spec": {"type": "object", "properties": {field: {"type": "array"}}}}}
    runtime = {
        "metadata": {"name": "torch-distributed", "labels": {"trainer.kubeflow.org/framework": "torch", "trainer.kubeflow.org/support": "deprecated"}}
    }
    crd = {"spec": {"versions": [{"name": "v1alpha1", "schema": {"openAPIV3Schema": schema}}]}}
    server.lists |= {
        "/api": {"kind": "APIGroupDiscoveryList", "items": []},
        "/apis": {"kind": "APIGroupDiscoveryList", "items": [group]},
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainjobs.trainer.kubeflow.org": crd,
        "/apis/trainer.kubeflow.org/v1alpha1/clustertrainingruntimes": [runtime, None, {"metadata": {}}],
        "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": {
            "components": {"schemas": {"x": schema | {"x-kubernetes-group-version-kind": [{"kind": "TrainJob", "group": "trainer.kubeflow.org"}]}}}
        },
    }


@pytest.mark.parametrize("crds", ["readable", "forbidden"])
def test_the_version_of_the_trainer_is_read_from_its_schema(server: Api, opened: Session, crds: str) -> None:
    trainer(server, "podTemplateOverrides")
    if crds == "forbidden":
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
        server.broken = {path + f"{plural}.trainer.kubeflow.org": (403, "Forbidden", "no") for plural in ("trainjobs", "clustertrainingruntimes")}
    opened.fill(["served"])
    picture = opened.store.snapshot()
    found = picture.served["trainjobs.trainer.kubeflow.org"]
    assert (found.kind, found.version, found.fields["spec.podTemplateOverrides"]) == ("TrainJob", "v1alpha1", "array")
    runtime = picture.runtimes[PodKey("", "torch-distributed")]
    assert (runtime.framework, runtime.deprecated, len(picture.runtimes)) == ("torch", True, 1)


def test_a_crd_that_is_removed_is_served_no_more(server: Api, opened: Session) -> None:
    trainer(server, "runtimePatches")
    source = load("served")
    source.list(opened.kube, opened.store)
    server.lists["/apis"] = {"kind": "APIGroupDiscoveryList", "items": []}
    source.list(opened.kube, opened.store)
    assert (len(opened.store.snapshot().served), len(opened.store.snapshot().runtimes)) == (0, 0)


# -- queues ------------------------------------------------------------------------------------------------------------------------------


def test_places_in_the_queue_count_from_one(server: Api, opened: Session) -> None:
    kueue, visibility = "/apis/kueue.x-k8s.io/v1beta2", "/apis/visibility.kueue.x-k8s.io/v1beta2/clusterqueues/cq/pendingworkloads"
    pending = [{"metadata": {"namespace": "ml", "name": name}, "positionInClusterQueue": place} for place, name in enumerate(("first", "second"))]
    server.lists = {
        f"{kueue}/clusterqueues": [{"metadata": {"name": "cq"}, "status": {"pendingWorkloads": 2}}],
        f"{kueue}/localqueues": [],
        f"{kueue}/workloads": named("first", "second", "third"),
        visibility: pending,
    }
    opened.fill(["queues"])
    assert {key.name: row.position for key, row in opened.store.snapshot().workloads.items()} == {"first": 1, "second": 2, "third": None}


def test_without_the_visibility_api_there_are_no_places(server: Api, opened: Session) -> None:
    kueue = "/apis/kueue.x-k8s.io/v1beta2"
    server.lists = {f"{kueue}/clusterqueues": [{"metadata": {"name": "cq"}, "status": {"pendingWorkloads": 1}}], f"{kueue}/workloads": named("w")}
    opened.fill(["queues"])
    assert [row.position for row in opened.store.snapshot().workloads.values()] == [None]


# -- the practice cluster ----------------------------------------------------------------------------------------------------------------


def test_sim_starts_the_practice_cluster_and_uses_its_kubeconfig(server: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    argv: list[Any] = []

    def run(self: Shell, words: Any, **options: Any) -> str:
        argv.append((words, options["env"]))
        return "starting\n" + json.dumps({"kubeconfig": server.path, "context": "practice"}) + "\n"

    monkeypatch.setattr(Shell, "run", run)
    with open_session(Options(sim=True, context="mine", kubeconfig="/elsewhere")) as found:
        assert found.kube.context == "test"
    assert argv[0][0][1:] == ["-m", "cockpit.sim", "start"]
    assert (Path(argv[0][1]["PYTHONPATH"].split(":")[0]) / "cockpit").is_dir()


def test_a_practice_cluster_that_says_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shell, "run", lambda self, words, **options: "")
    with pytest.raises(ActionFailed, match="did not say where it is"):
        open_session(Options(sim=True))


def test_closing_a_session_whose_server_is_silent_is_quick(tmp_path: Path) -> None:
    silent = Server(lambda request: silent.closing.wait(20) and None)
    found = open_session(Options(kubeconfig=kubeconfig(tmp_path, silent.url)))
    found.watch(["nodes", "pods", "events"])
    until(lambda: silent.requests)
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 10
    silent.close()
