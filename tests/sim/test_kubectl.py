"""Unmodified kubectl against the practice cluster: store and API alone, then the whole of it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sim.serving import Served, eventually

KUBECTL = shutil.which("kubectl") or ""
pytestmark = pytest.mark.skipif(not KUBECTL, reason="no kubectl on this machine")
PARTS = ("cockpit.sim.controllers", "cockpit.sim.kubelet", "cockpit.sim.scenarios", "cockpit.sim.faults")
WHOLE = all(importlib.util.find_spec(part) for part in PARTS)
ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {team: red}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1", ports: [{containerPort: 80}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    command: ["/bin/sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done; exec sleep 300"]
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  volumes: [{name: scratch, emptyDir: {}}]
"""
Kubectl = Callable[..., str]


def caller(kubeconfig: Path, home: Path) -> Kubectl:
    """A function that runs kubectl and returns its output; fails on another exit code than `expect`."""
    def kubectl(*arguments: str, stdin: str | None = None, expect: int = 0) -> str:
        env = {"KUBECONFIG": str(kubeconfig), "HOME": str(home), "PATH": os.environ["PATH"]}
        done = subprocess.run([KUBECTL, *arguments], input=stdin, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr
    return kubectl


@pytest.fixture
def kubectl(served: Served, tmp_path: Path) -> Kubectl:
    return caller(served.state.kubeconfig, tmp_path)


def test_discovery_and_version(kubectl: Kubectl) -> None:
    assert "Server Version: v1.34.2+simulated" in kubectl("version")
    resources = kubectl("api-resources")
    assert "deployments" in resources and "customresourcedefinitions" in resources
    assert "apps/v1" in kubectl("api-versions").splitlines()
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "containers" in kubectl("explain", "pods.spec")


def test_apply_on_the_client_side(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 3")) == "deployment.apps/web configured\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    said = kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas:", "replica:"), expect=1)
    assert 'strict decoding error: unknown field "spec.replica"' in said


def test_apply_on_the_server_side(kubectl: Kubectl) -> None:
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=DEPLOYMENT)
    other = DEPLOYMENT.replace("nginx:1", "nginx:2")
    said = kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other, expect=1)
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="web"].image' in said
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other)
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "nginx:2"


def test_create_label_annotate_patch_scale_delete(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "cm", "--from-literal=a=1")
    kubectl("create", "deployment", "web", "--image=nginx")
    kubectl("label", "deploy", "web", "x=y")
    assert "--overwrite is false" in kubectl("label", "deploy", "web", "x=z", expect=1)
    kubectl("annotate", "deploy", "web", "note=hello")
    kubectl("patch", "deploy", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"nginx","image":"n:2"}]}}}}')
    kubectl("scale", "deploy", "web", "--replicas=4")
    deployment = json.loads(kubectl("get", "deploy", "web", "-o", "json"))
    assert deployment["spec"]["replicas"] == 4 and deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "n:2"
    assert "x=y" in kubectl("get", "deploy", "--show-labels", "--sort-by=.metadata.name")
    assert kubectl("get", "deploy", "-l", "x=y", "-o", "custom-columns=N:.metadata.name", "--no-headers") == "web\n"
    assert kubectl("delete", "deploy", "web").startswith('deployment.apps "web" deleted')
    assert 'deployments.apps "web" not found' in kubectl("get", "deploy", "web", expect=1)


def test_access_reviews_and_impersonation(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "delete", "nodes").startswith("yes\n")
    assert kubectl("auth", "can-i", "list", "pods", "--as=jane", expect=1) == "no\n"
    assert 'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"' in kubectl(
        "get", "pods", "--as=jane", expect=1)
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--user=jane")
    assert kubectl("auth", "can-i", "list", "pods", "--as=jane") == "yes\n"
    assert "No resources found" in kubectl("get", "pods", "--as=jane")
    kubectl("get", "pods", "-A", "--as=jane", expect=1)


def test_a_watch_prints_changes(kubectl: Kubectl, served: Served, tmp_path: Path) -> None:
    kubectl("create", "configmap", "a")
    env = {"KUBECONFIG": str(served.state.kubeconfig), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with subprocess.Popen([KUBECTL, "get", "configmaps", "-w"], env=env, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert [watch.stdout.readline().split()[0] for _ in range(2)] == ["NAME", "a"]
        eventually(lambda: served.sim.api.watches.open == 1)
        kubectl("create", "configmap", "b")
        assert watch.stdout.readline().split()[0] == "b"
        watch.terminate()


def test_drain_respects_a_disruption_budget(kubectl: Kubectl, served: Served) -> None:
    node = {"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    served.post("/api/v1/nodes", node)
    kubectl("cordon", "n1")
    assert "Ready,SchedulingDisabled" in kubectl("get", "nodes")
    kubectl("create", "-f", "-", stdin=POD.replace("restartPolicy: Never", "restartPolicy: Never\n  nodeName: n1"))
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    served.run(lambda: served.cluster.patch("pods", "default", "talker", ready, "status"))
    kubectl("create", "pdb", "keep", "--selector=app=talker", "--min-available=1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "talker"}}
    refused = served.post("/api/v1/namespaces/default/pods/talker/eviction", eviction, expect=429)
    assert refused["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert refused["details"]["causes"][0]["message"] == "The disruption budget keep needs 1 healthy pods and has 1 currently"
    kubectl("delete", "pdb", "keep")
    served.run(lambda: served.cluster.patch("pods", "default", "talker", {"status": {"phase": "Succeeded"}}, "status"))
    assert "node/n1 drained" in kubectl("drain", "n1", "--force", "--delete-emptydir-data", "--timeout=20s")
    kubectl("uncordon", "n1")
    assert "SchedulingDisabled" not in kubectl("get", "nodes")


# -- the whole practice cluster -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kubectl, Callable[..., str]]]:
    """kubectl on a whole practice cluster, and its own command line."""
    if not WHOLE:
        pytest.skip("controllers, kubelet, scenarios and faults are not in this tree")
    folder = tmp_path_factory.mktemp("whole")
    env = {**os.environ, "COCKPIT_SIM_HOME": str(folder / "sim")}

    def sim(*arguments: str, expect: int = 0) -> str:
        command = [sys.executable, "-m", "cockpit.sim", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=90)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout
    started = json.loads(sim("start", "--scenario", "empty", "--pace", "0.1"))
    yield caller(Path(started["kubeconfig"]), folder), sim
    sim("stop")


def test_a_pod_talks_is_described_and_goes(whole: tuple[Kubectl, Callable[..., str]]) -> None:
    kubectl, _ = whole
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=30s")
    wide = kubectl("get", "pods", "-o", "wide")
    assert "Running" in wide and "1/1" in wide
    described = kubectl("describe", "pod", "talker")
    assert "Successfully assigned default/talker" in described and "Started container main" in described
    eventually(lambda: kubectl("logs", "talker").splitlines() == ["line 1", "line 2", "line 3"])
    assert kubectl("logs", "talker", "--tail=1") == "line 3\n"
    node = kubectl("get", "pod", "talker", "-o", "jsonpath={.spec.nodeName}")
    assert "talker" in kubectl("describe", "node", node)
    assert 'pod "talker" deleted' in kubectl("delete", "pod", "talker")
    kubectl("get", "pod", "talker", expect=1)


def test_logs_follow_until_the_end(whole: tuple[Kubectl, Callable[..., str]]) -> None:
    kubectl, _ = whole
    kubectl("apply", "-f", "-", stdin=POD.replace("talker", "brief").replace("exec sleep 300", "exit 0"))
    eventually(lambda: kubectl("get", "pod", "brief", "-o", "jsonpath={.status.phase}") in ("Running", "Succeeded"), 30)
    assert kubectl("logs", "-f", "brief").splitlines() == ["line 1", "line 2", "line 3"]
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/brief", "--timeout=20s")
    kubectl("delete", "pod", "brief")


def test_drain_empties_a_node(whole: tuple[Kubectl, Callable[..., str]]) -> None:
    kubectl, _ = whole
    kubectl("apply", "-f", "-", stdin=POD.replace("talker", "guest"))
    kubectl("wait", "--for=condition=Ready", "pod/guest", "--timeout=30s")
    node = kubectl("get", "pod", "guest", "-o", "jsonpath={.spec.nodeName}")
    said = kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=40s")
    assert "evicting pod default/guest" in said and f"node/{node} drained" in said
    kubectl("uncordon", node)


def test_it_survives_kill_and_comes_back_under_the_same_kubeconfig(whole: tuple[Kubectl, Callable[..., str]]) -> None:
    kubectl, sim = whole
    before = json.loads(sim("status"))
    rv = int(json.loads(kubectl("get", "--raw", "/api/v1/namespaces"))["metadata"]["resourceVersion"])
    os.kill(before["pid"], 9)
    eventually(lambda: not Path(f"/proc/{before['pid']}").exists() or "Z" in Path(f"/proc/{before['pid']}/stat").read_text().split()[2])
    after = json.loads(sim("start", "--scenario", "empty", "--pace", "0.1"))
    assert after["server"] == before["server"] and after["pid"] != before["pid"]
    assert int(json.loads(kubectl("get", "--raw", "/api/v1/namespaces"))["metadata"]["resourceVersion"]) > rv
    again = json.loads(sim("start"))
    assert again["pid"] == after["pid"]
