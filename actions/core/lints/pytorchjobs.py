"""PyTorchJob v1 and its neighbours: what the webhooks refuse, who schedules them, and how often each layer tries again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, drop, items, mapping, put
from actions.core.lints.resources import whole
from actions.core.lints.shapes import TRAINING, pods_of

ROLES = ("Master", "Worker")
GANG_LABELS = ("scheduling.x-k8s.io/pod-group", "pod-group.scheduling.sigs.k8s.io")
CONTAINER = Rule("pytorchjob-container", "error", "no container is named pytorch", "the webhook refuses the job, and no PET_* is set", mends=True)
MASTERS = Rule("pytorchjob-masters", "error", "there is not exactly one Master", "the webhook refuses the job", mends=True)
ROLE = Rule("pytorchjob-role", "error", "a replica type that is neither Master nor Worker", "the webhook refuses the job")
ELASTIC = Rule("pytorchjob-elastic", "error", "an elasticPolicy that contradicts the rest", "the webhook refuses the job", mends=True)
NPROC = Rule("pytorchjob-nproc", "error", "nprocPerNode is not text", "the schema takes auto, cpu, gpu or a number in quotes", mends=True)
CLEANING = Rule("pytorchjob-clean-pods", "info", "cleanPodPolicy All", "the pods of a finished job are deleted at once, and their logs with them")
SCHEDULER = Rule(
    "gang-scheduler",
    "error",
    "a gang scheduler is named and no PodGroup is",
    "the pods wait for ever for a scheduler that is not there, or are scheduled one by one; Kueue admits a job as a whole",
    mends=True,
)
RESTARTS = Rule(
    "jobset-restarts",
    "info",
    "failurePolicy.maxRestarts is not set",
    "the first child Job that fails fails the whole; the 6 people know is backoffLimit, which retries pods inside one Job",
)
RULES = (CONTAINER, MASTERS, ROLE, ELASTIC, NPROC, CLEANING, SCHEDULER, RESTARTS)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with a PyTorchJob, with a JobSet or runtime, and with the scheduler any job asks for."""
    if document.kind == "PyTorchJob":
        yield from _replicas(document)
        yield from _elastic(document)
        yield from _policy(document)
    yield from _restarts(document)
    if document.kind in TRAINING:
        yield from _scheduler(document, context)


def _replicas(document: Document) -> Iterator[Flaw]:
    where: Path = ("spec", "pytorchReplicaSpecs")
    specs = mapping(document.data, *where)
    for role in specs:
        if role not in ROLES:
            yield ROLE.at((*where, role), f"{role!r} is unknown", " or ".join(ROLES))
        else:
            yield from _container((*where, role, "template", "spec", "containers"), document)
    masters = whole(mapping(specs, "Master").get("replicas"), 1)
    if "Master" in specs and masters != 1:
        mended = f"replicas: 1; Worker replicas: {masters - 1 + whole(mapping(specs, 'Worker').get('replicas'), 1)}" if "Worker" in specs else ""
        mend = (lambda root: _one_master(root, masters)) if masters > 1 and "Worker" in specs else None
        yield MASTERS.at((*where, "Master", "replicas"), f"Master has {masters} replicas", mended or "replicas: 1", mend)


def _one_master(root: Any, masters: int) -> None:
    specs = root["spec"]["pytorchReplicaSpecs"]
    specs["Master"]["replicas"] = 1
    specs["Worker"]["replicas"] = whole(specs["Worker"].get("replicas"), 1) + masters - 1


def _container(path: Path, document: Document) -> Iterator[Flaw]:
    found = items(document.data, *path)
    names = [str(mapping(one).get("name") or "") for one in found]
    if "pytorch" not in names:
        mend = (lambda root: put(root, (*path, 0, "name"), "pytorch")) if len(names) == 1 and isinstance(found[0], Mapping) else None
        where = (*path, 0, "name") if names else path
        yield CONTAINER.at(where, f"its containers are named {', '.join(names) or 'nothing'}", "name: pytorch", mend)


def _elastic(document: Document) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    policy, path = spec.get("elasticPolicy"), ("spec", "elasticPolicy")
    if not isinstance(policy, Mapping):
        return
    if "Worker" not in mapping(spec, "pytorchReplicaSpecs"):
        yield ELASTIC.at(path, "it needs Worker replicas, and there are none", "pytorchReplicaSpecs: {Worker: ...}")
    if policy.get("nProcPerNode") is not None and spec.get("nprocPerNode") is not None:
        where = (*path, "nProcPerNode")
        yield ELASTIC.at(where, "spec.nprocPerNode says it already", "leave it out", lambda root: drop(root, where))


def _policy(document: Document) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    nproc = spec.get("nprocPerNode")
    if nproc is not None and not isinstance(nproc, str):
        yield NPROC.at(("spec", "nprocPerNode"), f"{nproc} is not in quotes", f'nprocPerNode: "{nproc}"', _quote_nproc)
    if at(spec, "runPolicy", "cleanPodPolicy") == "All":
        yield CLEANING.at(("spec", "runPolicy", "cleanPodPolicy"), "logs are only kept while a log store is there", "cleanPodPolicy: Running")


def _quote_nproc(root: Any) -> None:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    root["spec"]["nprocPerNode"] = DoubleQuotedScalarString(str(root["spec"]["nprocPerNode"]))


def _restarts(document: Document) -> Iterator[Flaw]:
    spec: Path = ("spec",) if document.kind == "JobSet" else ("spec", "template", "spec")
    if document.kind in ("JobSet", "TrainingRuntime", "ClusterTrainingRuntime"):
        held = mapping(document.data, *spec)
        if held and at(held, "failurePolicy", "maxRestarts") is None:
            yield RESTARTS.at(spec, "a failed Job is not tried again", "failurePolicy: {maxRestarts: 3}")


def _scheduler(document: Document, context: Context) -> Iterator[Flaw]:
    groups = next(context.objects("PodGroup"), None)
    for pods in pods_of(document, context):
        name, path = str(pods.spec.get("schedulerName") or ""), (*pods.spec_path, "schedulerName")
        labels = mapping(pods.template, "metadata", "labels")
        if name not in ("coscheduling", "scheduler-plugins-scheduler", "volcano") or groups or any(label in labels for label in GANG_LABELS):
            continue
        runtime = "; Trainer's way is podGroupPolicy of the runtime" if document.kind == "TrainJob" else ""
        message = f"{name} is asked for, and neither a PodGroup nor its label is there{runtime}"
        yield SCHEDULER.at(path, message, "leave schedulerName out, and name a queue: kueue.x-k8s.io/queue-name", partial(drop, path=path))
