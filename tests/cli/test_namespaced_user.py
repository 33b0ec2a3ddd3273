"""An engineer with rights in one namespace, on a practice cluster: what is seen is told, what is not is never taken for nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.session import Options, open_session

ROOT = Path(__file__).resolve().parents[2]
RBAC = "rbac.authorization.k8s.io"
SPACE = "team-a"
ALL = ["get", "list", "watch", "create", "patch", "delete", "deletecollection"]
RULES = (
    {"apiGroups": [""], "resources": ["pods", "events", "configmaps", "pods/log"], "verbs": ALL},
    {"apiGroups": ["kubeflow.org"], "resources": ["pytorchjobs"], "verbs": ALL},
)
Ada = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A practice cluster in which ada may work in one namespace."""
    folder = tmp_path_factory.mktemp("home")
    environment = os.environ | {"COCKPIT_SIM_HOME": str(folder / "sim")}

    def sim(verb: str) -> None:
        done = subprocess.run([sys.executable, "-m", "cockpit.sim", verb], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr

    sim("start")
    try:
        grant(Kube.connect(kubeconfig=str(folder / "sim" / "kubeconfig")))
        yield folder
    finally:
        sim("stop")


def grant(kube: Kube) -> None:
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "ml"}, "rules": list(RULES)}
    subjects = [{"kind": "User", "name": "ada", "apiGroup": RBAC}]
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "ml"}
    binding = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": "ml"}, "roleRef": reference, "subjects": subjects}
    kube.request("POST", "/api/v1/namespaces", body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    kube.request("POST", f"/apis/{RBAC}/v1/namespaces/{SPACE}/roles", body=role)
    kube.request("POST", f"/apis/{RBAC}/v1/namespaces/{SPACE}/rolebindings", body=binding)
    kube.close()


@pytest.fixture
def ada(home: Path) -> Ada:
    """`ada(*words)` runs an action as ada; exit code, the object, what was narrated."""

    def run(*words: str) -> tuple[int, dict[str, Any], str]:
        environment = os.environ | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
        who = ("--kubeconfig", str(home / "sim" / "kubeconfig"), "--as", "ada")
        space = () if "-n" in words else ("-n", SPACE)
        command = [sys.executable, "-m", "cockpit", *who, *space, "-o", "json", "--action", *words]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
        return done.returncode, json.loads(done.stdout), done.stderr

    return run


def test_launch_jobs_logs_and_stop_work_within_the_namespace(ada: Ada) -> None:
    code, found, said = ada("launch", "--name", "mine", "--nodes", "2", "--nproc", "2", "--steps", "5", "--wait")
    assert code == 0, said
    assert (found["result"]["phase"], found["result"]["ranks"], found["result"]["steps"]) == ("succeeded", 4, 5)
    assert any("nodes may not be listed" in warning for warning in found["warnings"]), "what was not checked is told"
    code, found, said = ada("jobs")
    assert code == 0, said
    assert [row["name"] for row in found["result"]] == ["mine"]
    assert any("only namespace team-a: listing all is forbidden" in warning for warning in found["warnings"])
    code, found, said = ada("logs", "--job", "mine", "--grep", "end", "--tail", "1")
    assert code == 0 and len(found["result"]) == 1, said
    code, found, said = ada("stop", "--job", "mine", "--yes", "--wait")
    assert code == 0 and found["result"]["phase"] == "gone", said


def test_what_cannot_be_seen_is_never_said_to_be_gone(ada: Ada) -> None:
    code, found, _ = ada("stop", "--job", "llama-pretrain", "--yes", "-n", "default")
    assert (code, found["error"]["code"], found["changes"]) == (3, "forbidden", [])
    code, found, _ = ada("stop", "--job", "nobody", "--yes")
    assert (code, found["error"]["code"]) == (3, "forbidden"), "it may be a TrainJob, which ada may not list"
    code, found, _ = ada("stop", "--job", "nobody", "--kind", "PyTorchJob", "--yes")
    assert (code, found["result"]) == (0, {"already": "nobody already gone"})
    code, found, _ = ada("nodes")
    assert (code, found["error"]["code"]) == (3, "forbidden")


def test_sources_follow_the_namespace_and_say_so(home: Path) -> None:
    with open_session(Options(kubeconfig=str(home / "sim" / "kubeconfig"), impersonate="ada", namespace=SPACE)) as session:
        session.watch(("pods", "jobs", "events", "nodes", "queues"))
        deadline = time.monotonic() + 20
        while not ((seen := session.store.snapshot()).sees("pods", SPACE) and seen.limits("jobs") and seen.forbidden("nodes")):
            assert time.monotonic() < deadline, seen.health
            threading.Event().wait(0.05)
        picture = session.store.snapshot()
        assert picture.limits("pods") == "only namespace team-a: listing all is forbidden"
        assert picture.health["jobs"].unread == ("trainjobs.trainer.kubeflow.org", "jobsets.jobset.x-k8s.io")
        assert {key.namespace for key in picture.pods} <= {SPACE}
