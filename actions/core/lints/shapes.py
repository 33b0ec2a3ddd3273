"""Where each kind keeps its pods: one view of a pod template for all rules, and how a change gets back into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core.lints.flaws import Context, Document, Path, at, items, mapping, strings
from actions.core.lints.resources import EFA, GPU, quantity, right_name, whole
from actions.core.training_jobs import OVERRIDES

MANAGER = "cockpit.dev/lint"
TRAINING = frozenset({"PyTorchJob", "MPIJob", "TrainJob", "JobSet", "Job", "TrainingRuntime", "ClusterTrainingRuntime"})
"""Kinds whose pods work together until they are done."""
_PLAIN: Mapping[str, Path] = {
    **dict.fromkeys(("Job", "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
_REPLICAS = {"PyTorchJob": "pytorchReplicaSpecs", "MPIJob": "mpiReplicaSpecs"}
_JOBS: Mapping[str, Path] = {
    "JobSet": ("spec", "replicatedJobs"),
    **dict.fromkeys(("TrainingRuntime", "ClusterTrainingRuntime"), ("spec", "template", "spec", "replicatedJobs")),
}


@dataclass(frozen=True)
class Container:
    """A container with its path; `body` of a TrainJob's trainer looks like one: command, args, env, resources."""

    path: Path
    body: Mapping[str, Any]
    resources: Path

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body.get("name") or "")

    def amount(self, resource: str) -> float | None:
        """What it asks for of a resource, limit before request, also by a wrong name; None when it asks for nothing that can be read."""
        for part in ("limits", "requests"):
            held = mapping(self.body, "resources", part)
            found = quantity(next((held[name] for name in held if name == resource or right_name(str(name)) == resource), None))
            if found is not None:
                return found
        return None


@dataclass(frozen=True)
class Pods:
    """The pods of one template: `count` of them, `total` in the whole object. `template` is the {metadata, spec} as it stands.

    `edit` gives the same template of a document that may be changed, made where it is missing; None when it cannot be. `annotated` says whether
    the template has room for metadata.
    """

    document: Document
    role: str
    count: int
    total: int
    path: Path
    template: Mapping[str, Any]
    containers: tuple[Container, ...]
    main: Container | None
    edit: Callable[[Any], dict[str, Any]] | None
    annotated: bool = True

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pod spec."""
        return mapping(self.template, "spec")

    @property
    def spec_path(self) -> Path:
        """Where the pod spec stands."""
        bare = self.document.kind == "TrainJob" and (not self.annotated or not self.template)
        return self.path if bare else (*self.path, "spec")

    @property
    def gpus(self) -> int:
        """GPUs one pod asks for."""
        return int(sum(one.amount(GPU) or 0 for one in self.containers))

    @property
    def efa(self) -> int:
        """EFA devices one pod asks for."""
        return int(sum(one.amount(EFA) or 0 for one in self.containers))

    def selected(self, label: str) -> str:
        """The one value of a node label that these pods ask for, by nodeSelector or required affinity; empty when there is not one."""
        found = mapping(self.spec, "nodeSelector").get(label)
        if found is not None:
            return str(found)
        values = [
            str(value)
            for term in items(self.spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
            for one in items(term, "matchExpressions")
            if mapping(one).get("key") == label and mapping(one).get("operator") == "In"
            for value in items(one, "values")
        ]
        return values[0] if len(set(values)) == 1 else ""

    def tolerates(self, key: str, value: str = "", effect: str = "NoSchedule") -> bool:
        """True when these pods may land on a node with that taint."""
        return any(_tolerates(mapping(one), key, value, effect) for one in items(self.spec, "tolerations"))


def _tolerates(one: Mapping[str, Any], key: str, value: str, effect: str) -> bool:
    if one.get("effect") not in (None, "", effect) or one.get("key") not in (None, "", key):
        return False
    return one.get("operator") == "Exists" or (bool(one.get("key")) and str(one.get("value") or "") == value)


def pods_of(document: Document, context: Context) -> Iterator[Pods]:
    """Every pod template of an object."""
    kind = document.kind
    if kind == "TrainJob":
        yield from _of_trainjob(document, context)
    elif kind in _REPLICAS:
        yield from _of_replicas(document, ("spec", _REPLICAS[kind]))
    elif kind in _JOBS:
        yield from _of_jobs(document, _JOBS[kind])
    elif kind in _PLAIN:
        count = whole(at(document.data, "spec", "parallelism"), 1) if kind == "Job" else 1
        yield _pods(document, "", count, count, _PLAIN[kind])


def _pods(document: Document, role: str, count: int, total: int, path: Path) -> Pods:
    template = mapping(document.data, *path)
    spec = (*path, "spec")
    found = tuple(
        Container((*spec, part, index), body, (*spec, part, index, "resources"))
        for part in ("containers", "initContainers")
        for index, body in enumerate(items(document.data, *spec, part))
        if isinstance(body, Mapping)
    )
    mains = [one for one in found if "containers" in one.path]
    main = next((one for one in mains if one.amount(GPU)), mains[0] if mains else None)

    def edit(root: Any) -> dict[str, Any]:
        held: dict[str, Any] = at(root, *path)
        return held

    return Pods(document, role, count, total, path, template, found, main, edit if isinstance(template, dict) and template else None)


def _of_replicas(document: Document, path: Path) -> Iterator[Pods]:
    roles = {role: one for role, one in mapping(document.data, *path).items() if isinstance(one, Mapping)}
    counts = {role: whole(one.get("replicas"), 1) for role, one in roles.items()}
    for role in roles:
        yield _pods(document, str(role), counts[role], sum(counts.values()), (*path, role, "template"))


def _of_jobs(document: Document, path: Path) -> Iterator[Pods]:
    jobs = [(index, one) for index, one in enumerate(items(document.data, *path)) if isinstance(one, Mapping)]
    counts = {index: whole(one.get("replicas"), 1) * whole(at(one, "template", "spec", "parallelism"), 1) for index, one in jobs}
    for index, one in jobs:
        where: Path = (*path, index, "template", "spec", "template")
        yield _pods(document, str(one.get("name") or ""), counts[index], sum(counts.values()), where)


def variables_of(document: Document, context: Context) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every environment variable with its path, each once; also those of override containers."""
    seen: set[Path] = set()
    paths = [one.path for pods in pods_of(document, context) for one in pods.containers]
    if document.kind == "TrainJob":
        paths += [path[: path.index("env")] for path, _ in strings(document.data) if "env" in path]
    for path in paths:
        for index, one in enumerate(items(document.data, *path, "env")):
            where: Path = (*path, "env", index)
            if isinstance(one, Mapping) and where not in seen:
                seen.add(where)
                yield where, one


# -- TrainJob: its pods are the runtime's, changed by the trainer and by overrides of one of three shapes ------------------------------------


def shape_in(data: Any) -> str:
    """The override field a TrainJob uses; empty when it uses none."""
    return next((name for name in OVERRIDES if name in mapping(data, "spec")), "")


def shape_of(document: Document, context: Context) -> str:
    """The override field a TrainJob should use: the served one, else the one it uses itself."""
    return context.trainer or shape_in(document.data)


def node_templates(data: Any, shape: str) -> list[tuple[Path, Mapping[str, Any]]]:
    """The path and the {metadata, spec} of each of a TrainJob's overrides for the replicated job `node`, as they stand."""
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for index, entry in enumerate(items(data, "spec", shape) if shape else ()):
        where: Path = ("spec", shape, index)
        if shape == "runtimePatches":
            jobs: Path = ("trainingRuntimeSpec", "template", "spec", "replicatedJobs")
            for number, one in enumerate(items(entry, *jobs)):
                if mapping(one).get("name") == "node":
                    path: Path = (*where, *jobs, number, "template", "spec", "template")
                    found.append((path, mapping(data, *path)))
        elif "node" in targets(entry):
            found.append((where, {"spec": entry} if shape == "podSpecOverrides" else mapping(entry)))
    return [(path, template) for path, template in found if template]


def _together(templates: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Several overrides of the same pods as one: mappings united, lists one after the other."""
    if len(templates) < 2:
        return templates[0] if templates else {}
    meta, spec = dict[str, Any](), dict[str, Any]()
    for part in ("labels", "annotations"):
        meta[part] = {key: value for one in templates for key, value in mapping(one, "metadata", part).items()}
    for one in templates:
        for key, value in mapping(one, "spec").items():
            held = spec.get(key)
            if isinstance(held, list) and isinstance(value, list):
                spec[key] = [*held, *value]
            else:
                spec[key] = {**held, **value} if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return {"metadata": meta, "spec": spec}


def targets(entry: Any) -> list[str]:
    """The replicated jobs an override is for, whether written as names or as {name}."""
    return [str(mapping(one).get("name") if isinstance(one, Mapping) else one) for one in items(entry, "targetJobs")]


def make_node_template(data: Any, shape: str) -> dict[str, Any]:
    """The {metadata, spec} of a TrainJob's first override for `node`, made when missing, to be changed in place."""
    found = node_templates(data, shape)
    if not found:
        bare: dict[str, Any] = {"targetJobs": [{"name": "node"}]} | ({} if shape == "podSpecOverrides" else {"spec": {}})
        listed(data["spec"], shape).append(patch_entry(MANAGER, "node", {"spec": {}}) if shape == "runtimePatches" else bare)
        found = node_templates(data, shape)
    held: dict[str, Any] = at(data, *found[0][0])
    if shape == "podSpecOverrides":
        return {"spec": held, "metadata": {}}
    if not isinstance(held.get("spec"), dict):
        held["spec"] = {}
    return held


def patch_entry(manager: str, job: str, template: Mapping[str, Any]) -> dict[str, Any]:
    """One runtimePatches entry that changes the pods of one replicated job."""
    held = {"name": job, "template": {"spec": {"template": template}}}
    return {"manager": manager, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [held]}}}}


def _of_trainjob(document: Document, context: Context) -> Iterator[Pods]:
    data, shape = document.data, shape_of(document, context)
    used = shape_in(data) or shape
    found = node_templates(data, used)
    path, template = found[0][0] if found else ("spec",), _together([one for _, one in found])
    trainer = mapping(data, "spec", "trainer")
    body = {key: trainer[key] for key in ("image", "command", "args", "env") if key in trainer} | {"name": "node"}
    body["resources"] = mapping(trainer, "resourcesPerNode")
    extra = [one for one in items(template, "spec", "containers") if mapping(one).get("name") == "node"]
    body |= {"volumeMounts": [mount for one in extra for mount in items(one, "volumeMounts")]}
    main = Container(("spec", "trainer"), body, ("spec", "trainer", "resourcesPerNode"))
    others = tuple(
        Container((*path, "spec", "containers", index), one, ())
        for index, one in enumerate(items(template, "spec", "containers"))
        if isinstance(one, Mapping) and one not in extra
    )
    nodes = whole(trainer.get("numNodes"), 1)

    def edit(root: Any) -> dict[str, Any]:
        return make_node_template(root, shape)

    may_edit = bool(shape) and shape == used and isinstance(mapping(data, "spec"), dict)
    yield Pods(
        document, "node", nodes, nodes, path, template, (main, *others), main, edit if may_edit else None, annotated=used != "podSpecOverrides"
    )


def main_container(template: dict[str, Any], name: str) -> dict[str, Any]:
    """The container of that name in a template that is being changed, made when missing; the first one where names do not matter."""
    spec = template["spec"]
    if not isinstance(spec.get("containers"), list):
        spec["containers"] = []
    for one in spec["containers"]:
        if isinstance(one, dict) and str(one.get("name") or "") == name:
            return one
    spec["containers"].append({"name": name})
    made: dict[str, Any] = spec["containers"][-1]
    return made


def listed(held: dict[str, Any], key: str) -> list[Any]:
    """The list under a key, made when missing."""
    if not isinstance(held.get(key), list):
        held[key] = []
    found: list[Any] = held[key]
    return found
