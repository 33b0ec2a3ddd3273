"""Which API the contract is tested on: COCKPIT_TEST_KUBECONFIG, else one started from KUBEBUILDER_ASSETS, else the practice cluster."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.errors import CockpitError, NotFound
from cockpit.session import Options, Session, open_session
from tests.contract.envtest import ApiServer
from tests.servers import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def api_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The kubeconfig of the API under test."""
    given, assets = os.environ.get("COCKPIT_TEST_KUBECONFIG"), os.environ.get("KUBEBUILDER_ASSETS")
    folder = tmp_path_factory.mktemp("api")
    if given:
        yield given
    elif assets:
        with ApiServer(Path(assets), folder) as server:
            yield str(server.kubeconfig)
    else:
        yield from _practice_cluster(folder)


def _practice_cluster(folder: Path) -> Iterator[str]:
    environment = {**os.environ, "COCKPIT_SIM_HOME": str(folder / "sim")}

    def sim(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "cockpit.sim", verb], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)

    started = sim("start")
    assert started.returncode == 0, started.stderr
    try:
        yield json.loads(started.stdout.strip().splitlines()[-1])["kubeconfig"]
    finally:
        stopped = sim("stop")
        assert stopped.returncode == 0, stopped.stderr


@dataclass
class Place:
    """A namespace of the test's own, and everything made for the tests, to be removed."""

    kube: Kube
    path: str
    namespace: str
    mark: str
    made: list[str] = field(default_factory=list)

    def collection(self, plural: str, group: str = "") -> str:
        """The path of a namespaced collection."""
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{plural}"

    def create(self, collection: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object that carries our mark; it is removed in the end."""
        body["metadata"].setdefault("labels", {})["cockpit.dev/contract"] = self.mark
        made = self.kube.request("POST", collection, body=body)
        self.made.append(f"{collection}/{made['metadata']['name']}")
        return made

    def config_map(self, name: str, **data: str) -> dict[str, Any]:
        """Create a ConfigMap."""
        return self.create(self.collection("configmaps"), {"metadata": {"name": name}, "data": data})

    def pod(self, name: str, command: str = "true", **spec: Any) -> dict[str, Any]:
        """Create a pod that asks for nothing."""
        container = {"name": "main", "image": "public.ecr.aws/docker/library/busybox:1.36", "command": ["sh", "-c", command]}
        body = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        }
        return self.create(self.collection("pods"), {"metadata": {"name": name}, "spec": body})

    def gone(self, path: str) -> bool:
        """True when the object is no more."""
        try:
            self.kube.request("GET", path)
        except NotFound:
            return True
        return False

    def remove(self) -> None:
        """Remove what was made, then the namespace."""
        for path in reversed(self.made):
            with contextlib.suppress(CockpitError):
                self.kube.request("DELETE", path, body={"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        path = f"/api/v1/namespaces/{self.namespace}"
        with contextlib.suppress(CockpitError):
            self.kube.request("DELETE", path, body={})
        try:
            until(lambda: self.gone(path), 20.0)
        except AssertionError:
            self._finalise(path)

    def _finalise(self, path: str) -> None:
        """An API without its controllers does not end a namespace; ours is empty by now."""
        with contextlib.suppress(CockpitError):
            found = self.kube.request("GET", path)
            found["spec"] = {"finalizers": []}
            self.kube.request("PUT", f"{path}/finalize", body=found)


@pytest.fixture(scope="session")
def place(api_path: str) -> Iterator[Place]:
    """Our own namespace on the API."""
    kube = Kube.connect(kubeconfig=api_path)
    mark = secrets.token_hex(4)
    found = Place(kube, api_path, f"cockpit-contract-{mark}", mark)
    labels = {"cockpit.dev/contract": mark}
    kube.request("POST", "/api/v1/namespaces", body={"metadata": {"name": found.namespace, "labels": labels}})
    with contextlib.suppress(CockpitError):
        kube.request("POST", found.collection("serviceaccounts"), body={"metadata": {"name": "default"}})
    yield found
    found.remove()
    kube.close()


@pytest.fixture(scope="session")
def node(place: Place) -> str:
    """A node of our own: it has no kubelet, and nothing is scheduled onto it."""
    name = f"cockpit-contract-{place.mark}"
    taint = {"key": "cockpit.dev/contract", "value": place.mark, "effect": "NoSchedule"}
    labels = {"node.kubernetes.io/instance-type": "p5.48xlarge", "topology.kubernetes.io/zone": "zone-1"}
    place.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}})
    amounts = {"cpu": "192", "memory": "2000Gi", "pods": "100", "nvidia.com/gpu": "8"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "posted by a test"}
    status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}
    place.kube.request("PATCH", f"/api/v1/nodes/{name}/status", body=status, content_type="application/merge-patch+json")
    return name


@pytest.fixture
def session(place: Place) -> Iterator[Session]:
    """A session on the API, as the front ends open it."""
    with open_session(Options(kubeconfig=place.path, namespace=place.namespace)) as found:
        yield found


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Set when the test is over."""
    found = threading.Event()
    yield found
    found.set()
