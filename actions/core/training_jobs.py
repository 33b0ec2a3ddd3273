"""The objects one launch creates: the training programs as a ConfigMap, and a PyTorchJob or a TrainJob in the shape the cluster serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actions.core import APPLY_PATCH, Change, Target
from actions.core.places import MOUNT, NOWHERE, Place
from actions.core.render import manifest, training_files
from actions.core.scripts import FOLDER, Script
from actions.core.strategies import PROGRAMS
from actions.core.tokens import variable
from cockpit.model import Runtime, Served

METRICS_PORT = 9500
OVERRIDES = ("runtimePatches", "podTemplateOverrides", "podSpecOverrides")
"""Where a TrainJob takes pod settings, newest API first: v2.2 and later, v2.1, v2.0."""
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
LEAVING_SECONDS = 15
"""Of a pod's grace period, for the ranks to leave after they have saved."""
FOR_GPUS = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


@dataclass(frozen=True)
class Spec:
    """Everything a job's manifest needs, settled; resources and selectors as Kubernetes writes them."""

    name: str
    namespace: str
    strategy: str
    image: str
    nodes: int
    nproc: int
    flags: tuple[str, ...]
    resources: Mapping[str, str]
    node_selector: Mapping[str, str]
    shm: str
    threads: int
    queue: str = ""
    max_restarts: int = 0
    max_job_restarts: int = 0
    grace_seconds: int | None = None
    place: Place = NOWHERE
    script: Script | None = None
    resume: str = "auto"
    avoid: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    program: str = ""
    hf_secret: str = ""
    nccl: Mapping[str, str] = field(default_factory=dict)
    priority: str = ""
    one_zone: bool = False


def changes(spec: Spec, kind: str, served: Served, runtime: Runtime | None) -> tuple[Change, ...]:
    """Create the ConfigMap, then the job; deleting them is what undoes it."""
    holes = _holes(spec)
    body = _pytorchjob(holes) if kind == "PyTorchJob" else _trainjob(holes, served, runtime)
    target = Target(kind, spec.name, spec.namespace, served.group, served.version, served.resource.split(".", 1)[0])
    files = f"{len(holes['files'])} files"
    delivery = Target("ConfigMap", f"{spec.name}-training", spec.namespace, plural="configmaps")
    ranks = "1 rank" if spec.nproc == 1 else f"{spec.nproc} ranks"
    what = f"{spec.nodes} pods x {ranks}" if spec.nodes > 1 else f"{ranks} in one pod"
    return (
        _creation("apply", delivery, manifest("training", holes), f"deliver training/ as {delivery} ({files})", APPLY_PATCH),
        _creation("create", target, body, f"create {target}: {spec.strategy}, {what}", "application/json"),
    )


def _creation(verb: str, target: Target, body: dict[str, Any], summary: str, content_type: str) -> Change:
    undo = Change("kube", "delete", target, f"delete {target}", f"kubectl delete {target}")
    command = "kubectl apply --server-side -f -" if verb == "apply" else "kubectl create -f -"
    shown = body if verb == "create" else {key: value for key, value in body.items() if key != "data"}
    return Change("kube", verb, target, summary, command, body, content_type, after=shown, inverse=undo)


def _holes(spec: Spec) -> dict[str, Any]:
    files = training_files()
    items = [{"key": name, "path": f"training/{name}"} for name in files]
    if spec.script is not None:
        files |= {spec.script.key: spec.script.text}
        items.append({"key": spec.script.key, "path": f"script/{spec.script.name}"})
    identity = {"app.kubernetes.io/managed-by": "cockpit", "cockpit.dev/job": spec.name, "cockpit.dev/strategy": spec.strategy}
    queue = {"kueue.x-k8s.io/queue-name": spec.queue} if spec.queue else {}
    queue |= {"kueue.x-k8s.io/priority-class": spec.priority} if spec.queue and spec.priority else {}
    env = {
        "PYTHONPATH": "/opt/cockpit",
        "PYTHONUNBUFFERED": "1",
        "TRAIN_JOB": spec.name,
        "TRAINING_METRICS_PORT": str(METRICS_PORT),
        "OMP_NUM_THREADS": str(spec.threads),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    } | ({"CHECKPOINT_DIR": spec.place.directory, "CHECKPOINT_RESUME": spec.resume} if spec.place.where else {})
    return {
        "job": spec.name,
        "namespace": spec.namespace,
        "labels": identity | queue,
        "pod_labels": identity,
        "annotations": dict(spec.annotations),
        "files": files,
        "items": items,
        "image": spec.image,
        "command": ["torchrun"],
        "args": _words(spec),
        "env": [*({"name": name, "value": value} for name, value in (env | dict(spec.nccl)).items()), *variable(spec.hf_secret)],
        "resources": dict(spec.resources),
        "node_selector": dict(spec.node_selector) or None,
        "affinity": _affinity(spec),
        "priority": None if spec.queue else spec.priority or None,
        "tolerations": None if spec.strategy == "amx" else FOR_GPUS,
        "grace_period": None if spec.grace_seconds is None else spec.grace_seconds + LEAVING_SECONDS,
        "store_mount": {"name": "checkpoints", "mountPath": MOUNT} if spec.place.claim else None,
        "store_volume": {"name": "checkpoints", "persistentVolumeClaim": {"claimName": spec.place.claim}} if spec.place.claim else None,
        "shm": spec.shm,
        "nodes": spec.nodes,
        "nproc": spec.nproc,
        "nproc_text": str(spec.nproc),
        "workers": spec.nodes - 1,
        "max_restarts": spec.max_job_restarts or None,
        "restart_policy": "OnFailure" if spec.max_job_restarts else "Never",
    }


def _words(spec: Spec) -> list[str]:
    """torchrun's words: nodes, node rank and master come from the PET_* variables the operator sets, all else from here."""
    restarts = [f"--max-restarts={spec.max_restarts}"] if spec.max_restarts else []
    program = [f"{FOLDER}/{spec.script.name}", *spec.script.words] if spec.script else ["-m", spec.program or PROGRAMS[spec.strategy], *spec.flags]
    return [f"--nproc-per-node={spec.nproc}", *restarts, *program]


def _affinity(spec: Spec) -> dict[str, Any] | None:
    """Any node but those to avoid, and all pods in one zone where that matters.

    The scheduler and Karpenter let the first pod of a group that selects itself go anywhere, so the zone is chosen where it fits and nobody
    waits for a pod that waits for him.
    """
    found: dict[str, Any] = {}
    if spec.avoid:
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(spec.avoid)}]}
        found["nodeAffinity"] = {REQUIRED: {"nodeSelectorTerms": [term]}}
    if spec.one_zone:
        mine = {"matchLabels": {"cockpit.dev/job": spec.name}}
        found["podAffinity"] = {REQUIRED: [{"labelSelector": mine, "topologyKey": "topology.kubernetes.io/zone"}]}
    return found or None


def _pytorchjob(holes: dict[str, Any]) -> dict[str, Any]:
    body = manifest("pytorchjob", holes | {"pod": manifest("pytorchjob-pod", holes)})
    if not holes["workers"]:
        del body["spec"]["pytorchReplicaSpecs"]["Worker"]
    return json.loads(json.dumps(body))


def _trainjob(holes: dict[str, Any], served: Served, runtime: Runtime | None) -> dict[str, Any]:
    mounts = manifest("trainjob-mounts", holes)
    where = {
        "mounting": mounts["containers"],
        "volumes": mounts["volumes"],
        "runtime": runtime.key.name if runtime else "torch-distributed",
        "runtime_kind": "TrainingRuntime" if runtime and runtime.key.namespace else "ClusterTrainingRuntime",
    }
    body = manifest("trainjob", holes | where)
    shape = override_of(served)
    for name in OVERRIDES:
        if name != shape:
            del body["spec"][name]
    return json.loads(json.dumps(body))


def override_of(served: Served) -> str:
    """The field in which the served TrainJob takes pod settings; the newest one when its schema does not say."""
    return next((name for name in OVERRIDES if f"spec.{name}" in served.fields or name in served.fields), OVERRIDES[0])
