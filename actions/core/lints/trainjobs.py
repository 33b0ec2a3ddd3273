"""TrainJob: three APIs under one version. What the served one drops or refuses, and how each shape is written in another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Rule, at, items, mapping, put
from actions.core.lints.resources import quantity
from actions.core.lints.shapes import MANAGER, listed, patch_entry, shape_in, shape_of, targets
from actions.core.params import nearest
from actions.core.training_jobs import OVERRIDES

SINCE = {"runtimePatches": "2.2 and later", "podTemplateOverrides": "2.1", "podSpecOverrides": "2.0"}
KNOWN_RUNTIMES: Mapping[str, Mapping[str, frozenset[str]]] = {"torch-distributed": {"node": frozenset({"node"})}}
"""Replicated jobs and their containers of runtimes as Kubeflow Trainer ships them."""
OWNED = ("node", "dataset-initializer", "model-initializer")
OLD_SHAPE = Rule(
    "trainjob-old-shape",
    "error",
    "pod settings in a field that the served TrainJob does not have",
    "without strict validation the server drops them silently: shared memory, selectors and do-not-disrupt are gone",
    mends=True,
)
MIXED = Rule("trainjob-mixed-shapes", "error", "pod settings in the fields of several Trainer versions", "no Trainer serves more than one of them")
PROCESSES = Rule(
    "trainjob-processes",
    "error",
    "numProcPerNode is not a number",
    "since Trainer 2.2 it is an int32 of at least 1; left out, it is one process a GPU",
    mends=True,
)
OLD_LABELS = Rule(
    "trainjob-labels", "error", "spec.labels or spec.annotations", "Trainer 2.2 took them away: they belong into runtimePatches", mends=True
)
TARGETS = Rule("trainjob-targets", "error", "targetJobs holds names instead of objects", "the schema wants a list of {name: ...}", mends=True)
OWNED_ENV = Rule(
    "trainjob-env",
    "error",
    "an override sets variables of a container that belongs to the trainer",
    "the webhook refuses it: variables of `node` belong into spec.trainer.env",
    mends=True,
)
RESERVED = Rule("trainjob-pet-env", "error", "spec.trainer.env sets PET_*", "the webhook refuses it: the torch plugin sets them", mends=True)
NO_TRAINER = Rule("trainjob-no-trainer", "error", "there is no spec.trainer", "without it the torch plugin sets no PET_* variable", mends=True)
UNKNOWN_TARGET = Rule("trainjob-unknown-target", "error", "an override of a job or container the runtime does not have", "the webhook refuses it")
RUNTIME = Rule("trainjob-runtime", "error", "the runtime it refers to does not exist", "the webhook refuses a TrainJob without its runtime")
MANAGERS = Rule("trainjob-manager", "error", "a runtimePatches manager is no domain-prefixed path", "the webhook refuses it", mends=True)
RULES = (OLD_SHAPE, MIXED, PROCESSES, OLD_LABELS, TARGETS, OWNED_ENV, RESERVED, NO_TRAINER, UNKNOWN_TARGET, RUNTIME, MANAGERS)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with a TrainJob."""
    if document.kind != "TrainJob":
        return
    used = [name for name in OVERRIDES if name in mapping(document.data, "spec")]
    if len(used) > 1 and (not context.trainer or used != [context.trainer]):
        yield MIXED.at(("spec", used[1]), f"{' and '.join(used)} stand side by side", f"everything in {context.trainer or used[0]}")
    yield from _targets(document)
    yield from _owned_env(document)
    yield from _shape(document, context, used)
    yield from _trainer(document, context)
    yield from _runtime(document, context)
    for index, entry in enumerate(items(document.data, "spec", "runtimePatches")):
        manager = str(mapping(entry).get("manager") or "")
        if "." not in manager.partition("/")[0] or not manager.partition("/")[2]:
            path = ("spec", "runtimePatches", index, "manager")
            name = f"{MANAGER}-{index + 1}" if index else MANAGER
            yield MANAGERS.at(path, f"{manager!r} needs the form example.com/name", f"manager: {name}", partial(put, path=path, value=name))


def _shape(document: Document, context: Context, used: list[str]) -> Iterator[Flaw]:
    if len(used) != 1:
        return
    (shape,), wanted = used, context.trainer
    path = ("spec", shape)
    if wanted and wanted != shape:
        message = f"{shape} is Trainer {SINCE[shape]}; Trainer {SINCE[wanted]} takes {wanted}"
        entries = overrides(document.data, shape)
        lost = wanted == "podSpecOverrides" and any(mapping(template).get("metadata") for _, template in entries)
        mend = None if lost or any(entry is None for entry, _ in entries) else lambda root: convert(root, shape, wanted)
        yield OLD_SHAPE.at(path, message, f"{wanted}: the same settings", mend)
    elif not wanted and shape != OVERRIDES[0]:
        message = f"{shape} is Trainer {SINCE[shape]} alone; which one the cluster serves is not known here (--trainer says it)"
        yield OLD_SHAPE.at(path, message, f"on Trainer {SINCE[OVERRIDES[0]]}: {OVERRIDES[0]}", severity="info")


def overrides(data: Any, shape: str) -> list[tuple[list[str] | None, Any]]:
    """Each override as (the replicated jobs it is for, {metadata, spec}); None for jobs where it cannot be read."""
    found: list[tuple[list[str] | None, Any]] = []
    for entry in items(data, "spec", shape):
        if shape == "podTemplateOverrides":
            found.append((targets(entry) or None, {key: one for key, one in mapping(entry).items() if key in ("metadata", "spec")}))
        elif shape == "podSpecOverrides":
            found.append((targets(entry) or None, {"spec": {key: value for key, value in mapping(entry).items() if key != "targetJobs"}}))
        else:
            jobs = items(entry, "trainingRuntimeSpec", "template", "spec", "replicatedJobs")
            for one in jobs:
                found.append(([str(mapping(one).get("name") or "")], at(one, "template", "spec", "template") or {}))
    return found


def convert(root: Any, shape: str, wanted: str) -> None:
    """Write a TrainJob's overrides in another shape, in the same place."""
    made: list[Any] = []
    for jobs, template in overrides(root, shape):
        for job in jobs or ():
            if wanted == "runtimePatches":
                made.append(patch_entry(MANAGER if not made else f"{MANAGER}-{len(made) + 1}", job, template))
            elif wanted == "podTemplateOverrides":
                made.append({"targetJobs": [{"name": job}], **template})
            else:
                made.append({"targetJobs": [{"name": job}], **mapping(template, "spec")})
    spec = root["spec"]
    order = list(spec).index(shape)
    del spec[shape]
    if hasattr(spec, "insert"):
        spec.insert(order, wanted, made)
    else:
        spec[wanted] = made


def _targets(document: Document) -> Iterator[Flaw]:
    for shape in OVERRIDES[1:]:
        for index, entry in enumerate(items(document.data, "spec", shape)):
            for number, one in enumerate(items(entry, "targetJobs")):
                if not isinstance(one, Mapping):
                    path = ("spec", shape, index, "targetJobs", number)
                    yield TARGETS.at(path, f"{one!r} is a plain name", f"- name: {one}", partial(put, path=path, value={"name": str(one)}))


def _owned_env(document: Document) -> Iterator[Flaw]:
    for shape in OVERRIDES:
        for path, container in _containers(document.data, shape):
            if str(container.get("name")) in OWNED and container.get("env"):
                names = ", ".join(str(mapping(one).get("name")) for one in items(container, "env")) or "what is set"
                mend = partial(_move_env, path=path) if container.get("name") == "node" else None
                yield OWNED_ENV.at((*path, "env"), f"{names} of container {container['name']}", f"in spec.trainer.env: {names}", mend)


def _containers(data: Any, shape: str) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """Every container that overrides of this shape name, with its path."""
    for index, entry in enumerate(items(data, "spec", shape)):
        specs: list[tuple[str | int, ...]] = [("spec",)] if shape == "podTemplateOverrides" else [()]
        if shape == "runtimePatches":
            jobs: tuple[str | int, ...] = ("trainingRuntimeSpec", "template", "spec", "replicatedJobs")
            specs = [(*jobs, number, "template", "spec", "template", "spec") for number in range(len(items(entry, *jobs)))]
        for spec in specs:
            for number, one in enumerate(items(entry, *spec, "containers")):
                if isinstance(one, Mapping):
                    yield ("spec", shape, index, *spec, "containers", number), one


def _move_env(root: Any, path: tuple[str | int, ...]) -> None:
    """Move a container's variables to the trainer; a container that has nothing else left goes too."""
    container = at(root, *path)
    put(root, ("spec", "trainer"), mapping(root, "spec", "trainer") or {})
    env = listed(root["spec"]["trainer"], "env")
    known = {str(mapping(one).get("name")) for one in env}
    env.extend(one for one in container.pop("env") if str(mapping(one).get("name")) not in known)
    if set(container) == {"name"}:
        held = at(root, *path[:-1])
        held.remove(container)
        if not held:
            del at(root, *path[:-2])[path[-2]]


def _trainer(document: Document, context: Context) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    if not isinstance(spec.get("trainer"), Mapping):
        yield NO_TRAINER.at(("spec",), "the runtime's own command runs, as one process that knows of no other", "trainer: {}", _give_trainer)
        return
    mine = [(index, str(mapping(one).get("name") or "")) for index, one in enumerate(items(spec, "trainer", "env"))]
    for index, name in mine:
        if name.startswith("PET_"):
            yield RESERVED.at(("spec", "trainer", "env", index), f"{name} is set by the torch plugin", "leave it out", _without_pet)
    yield from _processes(spec, document, context)
    if shape_of(document, context) == OVERRIDES[0]:
        for part in ("labels", "annotations"):
            if spec.get(part):
                yield OLD_LABELS.at(("spec", part), f"spec.{part} is Trainer 2.1", f"runtimePatches: template.metadata.{part}", _move_labels)


def _give_trainer(root: Any) -> None:
    root["spec"]["trainer"] = {}


def _without_pet(root: Any) -> None:
    env = root["spec"]["trainer"]["env"]
    for one in [one for one in env if str(mapping(one).get("name") or "").startswith("PET_")]:
        env.remove(one)


def _move_labels(root: Any) -> None:
    held = {part: root["spec"].pop(part) for part in ("labels", "annotations") if root["spec"].get(part)}
    patch = {"manager": f"{MANAGER}-labels", "trainingRuntimeSpec": {"template": {"metadata": held}}}
    listed(root["spec"], "runtimePatches").append(patch)


def _processes(spec: Mapping[str, Any], document: Document, context: Context) -> Iterator[Flaw]:
    wish, path = mapping(spec, "trainer").get("numProcPerNode"), ("spec", "trainer", "numProcPerNode")
    shape = shape_of(document, context)
    if wish is None or (isinstance(wish, int) and not isinstance(wish, bool) and wish >= 1):
        return
    if shape == OVERRIDES[0]:
        cpus = quantity(mapping(spec, "trainer", "resourcesPerNode", "limits").get("cpu"))
        number = int(wish) if str(wish).isdigit() else int(cpus) if wish == "cpu" and cpus else None
        if number:
            yield PROCESSES.at(path, f"{wish!r} is text", f"numProcPerNode: {number}", lambda root: put(root, path, number))
        else:
            mend = _auto_processes if wish in ("auto", "gpu") else None
            yield PROCESSES.at(path, f"{wish!r} is text; automatic is what it is when left out", "leave numProcPerNode out", mend)
    elif wish not in ("auto", "cpu", "gpu") and not (isinstance(wish, str) and wish.isdigit()):
        yield PROCESSES.at(path, f"{wish!r} is neither a number nor auto, cpu or gpu", "numProcPerNode: auto", severity="error")
    elif not shape:
        message = f"{wish!r} is for Trainer 2.0 and 2.1; which one the cluster serves is not known here (--trainer says it)"
        yield PROCESSES.at(path, message, "on Trainer 2.2 and later: leave it out, or a number", severity="info")


def _auto_processes(root: Any) -> None:
    del root["spec"]["trainer"]["numProcPerNode"]


def _runtime(document: Document, context: Context) -> Iterator[Flaw]:
    reference = mapping(document.data, "spec", "runtimeRef")
    name, kind = str(reference.get("name") or ""), str(reference.get("kind") or "ClusterTrainingRuntime")
    space = context.space(document) if kind == "TrainingRuntime" else None
    known = context.named(kind, space)
    listed_ = {key.name for key in context.snapshot.runtimes if key.namespace == (space or "")} if context.snapshot else set()
    if not name:
        yield RUNTIME.at(("spec", "runtimeRef"), "it names no runtime", "runtimeRef: {name: torch-distributed}")
    elif name not in known and name not in listed_ and context.snapshot is not None and context.snapshot.sees("served"):
        there = nearest(name, sorted({*known, *listed_}))
        yield RUNTIME.at(("spec", "runtimeRef", "name"), f"no {kind} {name!r}", there)
    jobs = _jobs_of(known[name]) if name in known else KNOWN_RUNTIMES.get(name)
    if jobs is not None:
        yield from _unknown_targets(document, jobs, name, "error" if name in known else "warning")


def _jobs_of(runtime: Mapping[str, Any]) -> Mapping[str, frozenset[str]]:
    """The replicated jobs of a runtime, each with its containers."""
    found = items(runtime, "spec", "template", "spec", "replicatedJobs")
    pod = ("template", "spec", "template", "spec")
    return {
        str(mapping(one).get("name")): frozenset(
            str(mapping(container).get("name")) for part in ("containers", "initContainers") for container in items(one, *pod, part)
        )
        for one in found
    }


def _unknown_targets(document: Document, jobs: Mapping[str, frozenset[str]], runtime: str, severity: str) -> Iterator[Flaw]:
    shape = shape_in(document.data)
    for index, entry in enumerate(items(document.data, "spec", shape) if shape else ()):
        path: tuple[str | int, ...] = ("spec", shape, index)
        names = targets(entry) if shape != "runtimePatches" else [str(job) for job, *_ in _patched(entry)]
        for name in names:
            if name not in jobs:
                yield UNKNOWN_TARGET.at(path, f"runtime {runtime} has no job {name!r}", nearest(name, sorted(jobs)), severity=severity)
    for where, container in _containers(document.data, shape) if shape else ():
        known = set().union(*jobs.values()) if jobs else set()
        if known and str(container.get("name")) not in known:
            message = f"runtime {runtime} has no container {container.get('name')!r}"
            yield UNKNOWN_TARGET.at((*where, "name"), message, nearest(str(container.get("name")), sorted(known)), severity=severity)


def _patched(entry: Any) -> Iterator[tuple[str, Any]]:
    for one in items(entry, "trainingRuntimeSpec", "template", "spec", "replicatedJobs"):
        yield str(mapping(one).get("name") or ""), one
