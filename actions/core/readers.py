"""A pod that lives for one reading: it mounts a claim, runs a training program that needs no torch, and is deleted whatever happens.

The program travels in the pod's own arguments, so that one object is made and one is deleted. A pod that outlives a killed cockpit is ended by its
deadline.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from actions.core.errands import ENDED, until
from actions.core.places import MOUNT
from actions.core.render import training_files
from cockpit.errors import ActionFailed, CockpitError, NotFound

MODULES = ("__init__.py", "lineage.py", "manifest.py", "inventory.py", "stores.py")
UNPACK = """\
import json, pathlib, runpy, sys, tempfile
with tempfile.TemporaryDirectory() as top:
    for name, text in json.loads(sys.argv[1]).items():
        path = pathlib.Path(top, "training", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    sys.path.insert(0, top)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__")
"""
LOG_BYTES = 16 << 20


@dataclass(frozen=True)
class Setting:
    """How the job's own pods are made, as far as a reader must be made the same; `node` only where the claim can be mounted there alone."""

    image: str
    tolerations: Sequence[Mapping[str, Any]] = ()
    pull_secrets: Sequence[Mapping[str, Any]] = ()
    security: Mapping[str, Any] = field(default_factory=dict)
    node: str = ""


def setting_of(kube: Any, namespace: str, kind: str, name: str, image: str, node: str = "") -> Setting:
    """The image, tolerations, pull secrets and security context of a job's pods; `image` where the job is gone or does not say."""
    spec = _pod_spec(kube, namespace, kind, name)
    containers = [one for one in spec.get("containers") or () if isinstance(one, dict)]
    main = next((one for one in containers if one.get("name") in ("pytorch", "node")), containers[0] if containers else {})
    tolerations = spec.get("tolerations") or [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return Setting(str(main.get("image") or image), tolerations, spec.get("imagePullSecrets") or (), spec.get("securityContext") or {}, node)


def _pod_spec(kube: Any, namespace: str, kind: str, name: str) -> dict[str, Any]:
    """The pod template of a job: a PyTorchJob's own, for a TrainJob that of the JobSet below it."""
    try:
        if kind == "PyTorchJob":
            job = kube.request("GET", f"/apis/kubeflow.org/v1/namespaces/{namespace}/pytorchjobs/{name}")
            roles = (job.get("spec") or {}).get("pytorchReplicaSpecs") or {}
            return ((roles.get("Worker") or roles.get("Master") or {}).get("template") or {}).get("spec") or {}
        if kind == "TrainJob":
            below = kube.request("GET", f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{namespace}/jobsets/{name}")
            jobs = [one for one in (below.get("spec") or {}).get("replicatedJobs") or () if one.get("name") in ("node", "launcher")]
            return jobs[0]["template"]["spec"]["template"]["spec"] if jobs else {}
    except (CockpitError, KeyError, TypeError):
        pass
    return {}


def pod_of(namespace: str, claim: str, words: Sequence[str], setting: Setting, seconds: int, writes: bool) -> dict[str, Any]:
    """The reader as Kubernetes takes it; it can write to the claim only to delete."""
    files = training_files()
    sources = json.dumps({name: files[name] for name in MODULES})
    container = {
        "name": "reader",
        "image": setting.image,
        "command": ["python3"],
        "args": [word.replace("$(", "$$(") for word in ("-c", UNPACK, sources, "training.inventory", *words)],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": [{"name": "checkpoints", "mountPath": MOUNT, "readOnly": not writes}],
    }
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": seconds,
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "tolerations": list(setting.tolerations),
        "containers": [container],
        "volumes": [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": claim, "readOnly": not writes}}],
    }
    more = {
        "imagePullSecrets": list(setting.pull_secrets),
        "securityContext": dict(setting.security),
        "nodeSelector": {"kubernetes.io/hostname": setting.node} if setting.node else {},
    }
    labels = {"app.kubernetes.io/managed-by": "cockpit", "cockpit.dev/reader": "true"}
    name = f"checkpoints-{os.urandom(4).hex()}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": spec | {key: value for key, value in more.items() if value},
    }


@contextmanager
def made(kube: Any, body: Mapping[str, Any]) -> Iterator[str]:
    """The path of a pod that is there as long as it is looked at."""
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods"
    try:
        kube.request("POST", path, params={"fieldManager": "cockpit"}, body=body)
        yield f"{path}/{name}"
    finally:
        with suppress(NotFound):
            kube.request("DELETE", f"{path}/{name}", body={"gracePeriodSeconds": 1, "propagationPolicy": "Background"})


def run_in_pod(kube: Any, body: Mapping[str, Any], stop: threading.Event) -> list[str]:
    """What the program printed; ActionFailed with its last line when it failed, TimedOut when no node takes the pod."""
    with made(kube, body) as path:
        pod = until(kube, path, ENDED, stop, "the pod that reads the checkpoints", "give the job's image to --image")
        text = kube.read(f"{path}/log", limit_bytes=LOG_BYTES).decode("utf-8", "replace")
    lines: list[str] = text.splitlines()
    if pod["status"]["phase"] == "Failed":
        last = next((line for line in reversed(lines) if line.strip()), "it left no word")
        raise ActionFailed(f"the pod that reads the checkpoints failed: {last[:400]}", "its image must hold python3, and its claim must be mountable")
    return lines
