"""What pods ask nodes for: resource names, GPUs and EFA devices against the instance type, tolerations, zones, and who may disturb them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, mapping, put, rename
from actions.core.lints.resources import EFA, GPU, quantity, right_name
from actions.core.lints.shapes import TRAINING, Container, Pods, listed, pods_of
from cockpit.instance_types import InstanceType, instance_type

TYPE_LABEL, ZONE, POOL = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "karpenter.sh/nodepool"
HOSTNAME = "kubernetes.io/hostname"
DISRUPT = "karpenter.sh/do-not-disrupt"
TOPOLOGY_ANNOTATIONS = ("kueue.x-k8s.io/podset-required-topology", "kueue.x-k8s.io/podset-preferred-topology")
JOB_LABELS: Mapping[str, str] = {
    "PyTorchJob": "training.kubeflow.org/job-name",
    "MPIJob": "training.kubeflow.org/job-name",
    "TrainJob": "jobset.sigs.k8s.io/jobset-name",
    "JobSet": "jobset.sigs.k8s.io/jobset-name",
    "Job": "batch.kubernetes.io/job-name",
}
"""The label that all pods of a job carry and no pod of another."""
NAMES = Rule("resource-name", "error", "a resource no node has", "the API refuses it, or the pod waits for ever", mends=True)
UNEQUAL = Rule("gpu-request", "error", "requests and limits of devices differ", "the API takes extended resources only as equal pairs", mends=True)
COUNT = Rule("gpu-count", "error", "more GPUs than the instance type has", "no node of that type can ever take the pod")
EFA_COUNT = Rule("efa-count", "error", "more EFA devices than the instance type has", "no node of that type can ever take the pod", mends=True)
EFA_FEW = Rule("efa-few", "warning", "all GPUs of a node and not all of its EFA devices", "the rest of its network lies idle", mends=True)
EFA_NONE = Rule("efa-none", "info", "whole nodes with EFA, several of them, and no EFA asked for", "NCCL falls back to TCP: half the speed or less")
EFA_ZONES = Rule(
    "efa-zones", "warning", "EFA between pods that may land in several zones", "EFA does not leave a zone: NCCL hangs or fails", mends=True
)
TOLERATION = Rule(
    "gpu-toleration", "warning", "no toleration of nvidia.com/gpu", "GPU nodes are tainted with it, and the pods stay Pending", mends=True
)
POOL_TAINT = Rule("pool-toleration", "error", "a taint of the chosen NodePool is not tolerated", "its nodes refuse the pods", mends=True)
DISRUPTED = Rule(
    "do-not-disrupt",
    "warning",
    "Karpenter may move the pods",
    "consolidation and drift end a rank in the middle of a step; karpenter.sh/do-not-disrupt holds them off",
    mends=True,
)
QOS = Rule("not-guaranteed", "info", "CPU or memory requests and limits differ", "the pod is not Guaranteed: it is among the first to be killed")
RULES = (NAMES, UNEQUAL, COUNT, EFA_COUNT, EFA_FEW, EFA_NONE, EFA_ZONES, TOLERATION, POOL_TAINT, DISRUPTED, QOS)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with what an object's pods ask for."""
    for pods in pods_of(document, context):
        for one in pods.containers:
            yield from _names(one)
            yield from _pairs(one)
        yield from _counts(pods)
        yield from _pool_taints(pods, context)
        if pods.gpus and document.kind in TRAINING:
            yield from _placement(pods, context)


def _names(one: Container) -> Iterator[Flaw]:
    for part in ("requests", "limits"):
        for name in mapping(one.body, "resources", part):
            right = right_name(str(name))
            if right is None:
                continue
            path = (*one.resources, part, name)
            known = mapping(one.body, "resources", part)
            mend = partial(rename, path=path, name=right) if right and right not in known else None
            yield NAMES.at(path, f"{name!r} is no resource" + (f"; {right} is" if right else ""), f"{right or GPU}: {known[name]}", mend)


def _pairs(one: Container) -> Iterator[Flaw]:
    requests, limits = (mapping(one.body, "resources", part) for part in ("requests", "limits"))
    for name in dict.fromkeys((*requests, *limits)):
        asked, most = requests.get(name), limits.get(name)
        path = (*one.resources, "limits", name)
        if "/" in str(name) and asked is not None and quantity(asked) != quantity(most):
            said = "no limit" if most is None else f"a limit of {most}"
            yield UNEQUAL.at(path, f"{name}: a request of {asked} and {said}", f"{name}: {asked}", partial(put, path=path, value=asked))
        elif "/" in str(name) and quantity(most) is not None and (quantity(most) or 0) % 1:
            yield UNEQUAL.at(path, f"{name}: {most} is no whole number", f"{name}: 1")
    if one.amount(GPU):
        uneven = [name for name in ("cpu", "memory") if quantity(requests.get(name)) != quantity(limits.get(name)) and name in requests]
        if uneven:
            mended = "limits: {" + ", ".join(f"{name}: {requests[name]}" for name in uneven) + "}"
            yield QOS.at(one.resources, f"{' and '.join(uneven)} have another limit than request, or none", mended)


def _counts(pods: Pods) -> Iterator[Flaw]:
    name = pods.selected(TYPE_LABEL)
    one = instance_type(name) if name else None
    main = pods.main
    if one is None or main is None:
        return
    if pods.gpus > one.gpus:
        yield COUNT.at((*main.resources, "limits", GPU), f"{pods.gpus} GPUs a pod; {name} has {one.gpus}", f"{GPU}: {one.gpus}")
    elif pods.efa > one.efa:
        yield EFA_COUNT.at(_efa_path(main), f"{pods.efa} EFA devices a pod; {name} has {one.efa}", f"{EFA}: {one.efa}", _set_efa(main, one.efa))
    elif pods.gpus and pods.gpus == one.gpus and pods.total > 1:
        yield from _share(pods, main, one)


def _share(pods: Pods, main: Container, one: InstanceType) -> Iterator[Flaw]:
    if one.efa and not pods.efa:
        yield EFA_NONE.at(main.resources, f"{one.name} has {one.efa} EFA devices", f"{EFA}: {one.efa}")
    elif 0 < pods.efa < one.efa:
        message = f"{pods.efa} of the {one.efa} EFA devices of {one.name}, with all of its {one.gpus} GPUs"
        yield EFA_FEW.at(_efa_path(main), message, f"{EFA}: {one.efa}", _set_efa(main, one.efa))


def _efa_path(main: Container) -> Path:
    part = "limits" if EFA in mapping(main.body, "resources", "limits") else "requests"
    return (*main.resources, part, EFA)


def _set_efa(main: Container, count: int) -> Any:
    def mend(root: Any) -> None:
        for part in ("requests", "limits"):
            held = at(root, *main.resources, part)
            if isinstance(held, dict) and EFA in held:
                held[EFA] = count
                if not count:
                    del held[EFA]

    return mend


def _placement(pods: Pods, context: Context) -> Iterator[Flaw]:
    """Tolerations, disruption and zones of pods that train on GPUs."""
    if not pods.tolerates(GPU, "present"):
        where = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
        yield TOLERATION.at(
            (*pods.spec_path, "tolerations"), "GPU nodes keep other pods off by a taint", f"- {_flow(where)}", _tolerating(pods, where)
        )
    if pods.annotated and str(mapping(pods.template, "metadata", "annotations").get(DISRUPT) or "").lower() in ("", "false"):
        path = (*(pods.path if pods.template else ()), "metadata", "annotations")
        path = path if pods.template else ("spec",)
        mend = None if pods.edit is None else lambda root: _annotate(pods.edit(root))  # type: ignore[misc]
        yield DISRUPTED.at(path, f"the pods lack {DISRUPT}", f'{DISRUPT}: "true"', mend)
    if pods.efa and pods.total > 1 and not _together(pods, context):
        yield EFA_ZONES.at(
            pods.spec_path, f"{pods.total} pods with EFA, and nothing keeps them in one zone", f"nodeSelector: {{{ZONE}: ...}}", _near(pods)
        )


def _flow(value: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}"


def _tolerating(pods: Pods, toleration: Mapping[str, str]) -> Any:
    if pods.edit is None:
        return None
    edit = pods.edit
    return lambda root: listed(edit(root)["spec"], "tolerations").append(dict(toleration))


def _annotate(template: dict[str, Any]) -> None:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if not isinstance(template.get("metadata"), dict):
        if hasattr(template, "insert"):
            template.insert(0, "metadata", {})
        else:
            template["metadata"] = {}
    put(template, ("metadata", "annotations", DISRUPT), DoubleQuotedScalarString("true"))


def _together(pods: Pods, context: Context) -> bool:
    """True when something keeps the pods in one zone."""
    if pods.selected(ZONE) or pods.selected("topology.k8s.aws/zone-id") or pods.selected(HOSTNAME):
        return True
    annotations = mapping(pods.template, "metadata", "annotations")
    affinity = mapping(pods.spec, "affinity", "podAffinity")
    terms = [one for held in affinity.values() if isinstance(held, list) for one in held]
    near = {str(mapping(one).get("topologyKey") or mapping(one, "podAffinityTerm").get("topologyKey")) for one in terms}
    if near & {ZONE, HOSTNAME, "topology.k8s.aws/zone-id"} or any(name in annotations for name in TOPOLOGY_ANNOTATIONS):
        return True
    return len(_zones(pods, context)) == 1


def _zones(pods: Pods, context: Context) -> set[str]:
    """The zones the chosen NodePool may use, or without one those of every GPU node there is or may come, as far as input and cluster tell."""
    pool = pods.selected(POOL)
    if not pool and context.snapshot and context.snapshot.sees("nodes") and context.snapshot.sees("nodepools"):
        standing = {node.zone for node in context.snapshot.nodes.values() if node.gpu_allocatable}
        return standing.union(*(one.zones or (f"any of {one.name}",) for one in context.snapshot.nodepools.values()))
    held = context.snapshot.nodepools.get(pool) if context.snapshot and pool else None
    if held is not None and held.zones:
        return set(held.zones)
    for one in mapping(context.named("NodePool").get(pool), "spec", "template", "spec").get("requirements") or ():
        if mapping(one).get("key") == ZONE and mapping(one).get("operator") == "In":
            return {str(value) for value in mapping(one).get("values") or ()}
    return set()


def _near(pods: Pods) -> Any:
    """Keep the pods of the job in one zone by affinity to each other; Kubernetes lets the first of them through."""
    label, edit = JOB_LABELS.get(pods.document.kind), pods.edit
    if label is None or edit is None or not pods.annotated or not pods.document.name or mapping(pods.spec, "affinity").get("podAffinity"):
        return None
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {label: pods.document.name}}}

    def mend(root: Any) -> None:
        put(edit(root), ("spec", "affinity", "podAffinity", "requiredDuringSchedulingIgnoredDuringExecution"), [term])

    return mend


def _pool_taints(pods: Pods, context: Context) -> Iterator[Flaw]:
    pool = pods.selected(POOL)
    held = context.named("NodePool").get(pool) if pool else None
    for one in mapping(held, "spec", "template", "spec").get("taints") or ():
        key, value, effect = (str(mapping(one).get(part) or "") for part in ("key", "value", "effect"))
        if effect not in ("NoSchedule", "NoExecute") or pods.tolerates(key, value, effect) or (key == GPU and pods.gpus):
            continue
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        message = f"NodePool {pool} taints its nodes with {key}={value}:{effect}"
        yield POOL_TAINT.at((*pods.spec_path, "tolerations"), message, f"- {_flow(toleration)}", _tolerating(pods, toleration))
