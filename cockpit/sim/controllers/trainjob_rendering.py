"""From a TrainJob and its runtime to a JobSet: trainer fields, PET_* variables, overrides of the served version. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from cockpit.sim.controllers.objects import Object, name_of, namespace_of, owner_reference
from cockpit.sim.controllers.quantities import thousandths

ANCESTOR = "trainer.kubeflow.org/trainjob-ancestor-step"
NODE_CONTAINER = "node"
PORT = 29500
RANK_FIELD = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
GPUS = ("nvidia.com/gpu", "amd.com/gpu")
APPENDED = ("tolerations", "volumes", "imagePullSecrets", "schedulingGates")


def jobset_of(trainjob: Object, runtime: Object) -> Object:
    """The JobSet of a TrainJob."""
    spec = trainjob["spec"]
    template = copy.deepcopy(runtime["spec"]["template"])
    jobset_spec: Object = template.get("spec") or {}
    labels = {**((template.get("metadata") or {}).get("labels") or {}), **(spec.get("labels") or {})}
    annotations = {**((template.get("metadata") or {}).get("annotations") or {}), **(spec.get("annotations") or {})}
    policy = runtime["spec"].get("mlPolicy") or {}
    for replicated in jobset_spec["replicatedJobs"]:
        replicated.setdefault("replicas", 1)
        if replicated["name"] == ("node" if "mpi" in policy else trainer_job(runtime)):
            _set_nodes(replicated, nodes_of(trainjob, runtime))
        if ancestor_of(replicated) == "trainer":
            _apply_trainer(replicated, trainjob, runtime)
        elif ancestor_of(replicated):
            _apply_initializer(replicated, trainjob)
    jobset_spec["suspend"] = bool(spec.get("suspend"))
    jobset = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": name_of(trainjob),
            "namespace": namespace_of(trainjob),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(trainjob)],
        },
        "spec": jobset_spec,
    }
    apply_overrides(jobset, trainjob)
    return jobset


def ancestor_of(replicated: Mapping[str, Any]) -> str | None:
    """The step of a TrainJob that a replicated job is: trainer, dataset-initializer or model-initializer."""
    labels = ((replicated.get("template") or {}).get("metadata") or {}).get("labels") or {}
    step: str | None = labels.get(ANCESTOR)
    return step


def pod_template(replicated: Object) -> Object:
    """The pod template of a replicated job."""
    template: Object = replicated["template"].setdefault("spec", {}).setdefault("template", {})
    template.setdefault("spec", {})
    return template


def nodes_of(trainjob: Object, runtime: Object) -> int:
    """How many nodes a TrainJob trains on."""
    asked = (trainjob["spec"].get("trainer") or {}).get("numNodes")
    return int(asked or (runtime["spec"].get("mlPolicy") or {}).get("numNodes") or 1)


def trainer_job(runtime: Object) -> str | None:
    """The name of the replicated job that trains."""
    replicated = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return next((one["name"] for one in replicated if ancestor_of(one) == "trainer"), None)


def _set_nodes(replicated: Object, nodes: int) -> None:
    replicated["template"].setdefault("spec", {}).update({"parallelism": nodes, "completions": nodes})


def _apply_trainer(replicated: Object, trainjob: Object, runtime: Object) -> None:
    """Image, command, resources and environment of the training nodes; PET_* only when the TrainJob has a trainer."""
    nodes, trainer = nodes_of(trainjob, runtime), trainjob["spec"].get("trainer")
    policy = runtime["spec"].get("mlPolicy") or {}
    spec = pod_template(replicated)["spec"]
    container = next((one for one in spec.get("containers") or [] if one["name"] == NODE_CONTAINER), None)
    if trainer is None or container is None:
        return
    container |= {key: trainer[key] for key in ("image", "command", "args") if trainer.get(key)}
    if trainer.get("resourcesPerNode"):
        container["resources"] = trainer["resourcesPerNode"]
    container["env"] = merged_by_name(container.get("env") or [], trainer.get("env") or [])
    if "torch" in policy:
        container["env"] = merged_by_name(container["env"], rendezvous(trainjob, container, nodes, policy, replicated["name"]))
        container["ports"] = [*(container.get("ports") or []), {"containerPort": PORT, "protocol": "TCP"}]


def _apply_initializer(replicated: Object, trainjob: Object) -> None:
    """Storage and environment of a dataset or model initializer."""
    step = str(ancestor_of(replicated))
    wanted = (trainjob["spec"].get("initializer") or {}).get(step.removesuffix("-initializer"))
    container = next((one for one in pod_template(replicated)["spec"].get("containers") or [] if one["name"] == step), None)
    if wanted and container:
        own = [{"name": "STORAGE_URI", "value": wanted["storageUri"]}] if wanted.get("storageUri") else []
        container["env"] = merged_by_name(container.get("env") or [], [*own, *(wanted.get("env") or [])])


def rendezvous(trainjob: Object, container: Object, nodes: int, policy: Object, replicated: str) -> list[Object]:
    """The PET_* variables that lead all nodes to the first pod of the set."""
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": RANK_FIELD}}
    address = f"{name_of(trainjob)}-{replicated}-0-0.{name_of(trainjob)}"
    return [
        {"name": "PET_NNODES", "value": str(nodes)},
        {"name": "PET_NPROC_PER_NODE", "value": processes_per_node(trainjob, container, policy)},
        {"name": "PET_NODE_RANK", "valueFrom": source},
        {"name": "PET_MASTER_ADDR", "value": address},
        {"name": "PET_MASTER_PORT", "value": str(PORT)},
    ]


def processes_per_node(trainjob: Object, container: Object, policy: Object) -> str:
    """numProcPerNode: a number, or auto; without GPUs auto is the number of CPUs asked for."""
    asked = (trainjob["spec"].get("trainer") or {}).get("numProcPerNode") or (policy.get("torch") or {}).get("numProcPerNode") or "auto"
    resources = container.get("resources") or {}
    held = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    has_gpu = any(thousandths(held[name]) for name in GPUS if name in held)
    if str(asked) == "cpu" or (str(asked) == "auto" and not has_gpu):
        return str(max(1, thousandths(held.get("cpu", 1)) // 1000))
    return str(asked)


def merged_by_name(base: list[Object], more: list[Object]) -> list[Object]:
    """Two named lists as one: later entries replace earlier ones of the same name."""
    named = {one["name"]: one for one in [*base, *more]}
    return list(named.values())


def overrides_of(trainjob: Object) -> Iterator[tuple[list[str] | None, Object, Object]]:
    """(replicated jobs or None for all, pod metadata, pod spec) of every override, whichever version wrote it."""
    for one in trainjob["spec"].get("podTemplateOverrides") or []:
        yield [job["name"] for job in one["targetJobs"]], one.get("metadata") or {}, one.get("spec") or {}
    for patch in trainjob["spec"].get("runtimePatches") or []:
        for job in patched_jobs(patch):
            template = ((job.get("template") or {}).get("spec") or {}).get("template") or {}
            yield [job["name"]], template.get("metadata") or {}, template.get("spec") or {}


def patched_jobs(patch: Object) -> list[Object]:
    """The replicated jobs that one runtimePatches entry changes."""
    template = (patch.get("trainingRuntimeSpec") or {}).get("template") or {}
    return list((template.get("spec") or {}).get("replicatedJobs") or [])


def apply_overrides(jobset: Object, trainjob: Object) -> None:
    """Change the pod templates of a JobSet in place as the TrainJob asks."""
    for patch in trainjob["spec"].get("runtimePatches") or []:
        _merge_metadata(jobset["metadata"], ((patch.get("trainingRuntimeSpec") or {}).get("template") or {}).get("metadata") or {})
        for job in patched_jobs(patch):
            for replicated in jobset["spec"]["replicatedJobs"]:
                if replicated["name"] == job["name"]:
                    _merge_metadata(replicated["template"].setdefault("metadata", {}), (job.get("template") or {}).get("metadata") or {})
    for names, metadata, spec in overrides_of(trainjob):
        for replicated in jobset["spec"]["replicatedJobs"]:
            if names is None or replicated["name"] in names:
                template = pod_template(replicated)
                _merge_metadata(template.setdefault("metadata", {}), metadata)
                merge_pod_spec(template["spec"], spec)


def _merge_metadata(target: Object, more: Object) -> None:
    for key in ("labels", "annotations"):
        if more.get(key):
            target[key] = {**(target.get(key) or {}), **more[key]}


def merge_pod_spec(target: Object, more: Object) -> None:
    """Merge an override into a pod spec: maps merge, lists append by name, scalars replace."""
    for key, value in more.items():
        if key in ("containers", "initContainers"):
            for override in value:
                _merge_container(target.get(key) or [], override)
        elif key == "nodeSelector":
            target[key] = {**(target.get(key) or {}), **value}
        elif key in APPENDED:
            named = all("name" in one for one in value)
            target[key] = merged_by_name(target.get(key) or [], value) if named else [*(target.get(key) or []), *value]
        else:
            target[key] = value


def _merge_container(containers: list[Object], override: Object) -> None:
    for container in containers:
        if container["name"] != override["name"]:
            continue
        if override.get("env"):
            container["env"] = merged_by_name(container.get("env") or [], override["env"])
        if override.get("volumeMounts"):
            container["volumeMounts"] = [*(container.get("volumeMounts") or []), *override["volumeMounts"]]
        if override.get("securityContext"):
            container["securityContext"] = override["securityContext"]
