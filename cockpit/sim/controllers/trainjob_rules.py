"""What the trainer's webhook refuses. Pure but for looking the runtime up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cockpit.sim.controllers.objects import Object, namespace_of
from cockpit.sim.controllers.trainjob_rendering import NODE_CONTAINER, overrides_of
from cockpit.sim.controllers.webhooks import denied, is_dns_1035

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

WEBHOOK = "validator.trainjob.trainer.kubeflow.org"
OWNED_CONTAINERS = (NODE_CONTAINER, "dataset-initializer", "model-initializer")
IMMUTABLE = ("runtimeRef", "initializer", "trainer", "managedBy")
OVERRIDES = ("podTemplateOverrides", "runtimePatches")
MANAGER = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[A-Za-z0-9][-A-Za-z0-9/_.~]*")
KINDS = {"ClusterTrainingRuntime": "clustertrainingruntimes", "TrainingRuntime": "trainingruntimes"}


class TrainJobRules:
    """The validating webhook of TrainJobs."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def refuse(self, verb: str, trainjob: Object, old: Object | None) -> None:
        """ApiError 403 for a TrainJob that breaks a rule."""
        if verb == "DELETE" or not isinstance(trainjob.get("spec"), dict):
            return
        errors = self._faults(trainjob) if verb == "CREATE" or trainjob["spec"] != (old or {}).get("spec") else []
        errors += changes_refused(trainjob, old) if old else []
        if errors:
            raise denied(WEBHOOK, errors)

    def _faults(self, trainjob: Object) -> list[str]:
        name = str(trainjob["metadata"].get("name") or "")
        errors = []
        if name and not is_dns_1035(name):
            errors.append(f'metadata.name: Invalid value: "{name}": must match ^[a-z]([-a-z0-9]*[a-z0-9])?$ and have at most 63 characters')
        errors += reserved_env(trainjob) + bad_managers(trainjob)
        runtime = find_runtime(self.cluster, trainjob)
        if runtime is None:
            reference = trainjob["spec"]["runtimeRef"]
            kind = reference.get("kind", "ClusterTrainingRuntime")
            errors.append(
                f'spec.RuntimeRef: Invalid value: {{"name":"{reference["name"]}","kind":"{kind}"}}: {kind}.trainer.kubeflow.org '
                f'"{reference["name"]}" not found: specified {kind} must be created before the TrainJob is created'
            )
            return errors
        return errors + bad_overrides(trainjob, runtime)


def find_runtime(cluster: Cluster, trainjob: Object) -> Object | None:
    """The runtime a TrainJob refers to."""
    reference = trainjob["spec"]["runtimeRef"]
    plural = KINDS.get(reference.get("kind", "ClusterTrainingRuntime"))
    if plural is None or reference.get("apiGroup", "trainer.kubeflow.org") != "trainer.kubeflow.org":
        return None
    namespace = namespace_of(trainjob) if plural == "trainingruntimes" else None
    return cluster.find(f"{plural}.trainer.kubeflow.org", namespace, reference["name"])


def reserved_env(trainjob: Object) -> list[str]:
    """PET_* variables that a TrainJob may not set itself."""
    env = [one["name"] for one in (trainjob["spec"].get("trainer") or {}).get("env") or []]
    mine = sorted(name for name in env if name.startswith("PET_"))
    return [f"spec.trainer.env: Invalid value: must not have reserved envs, invalid envs configured: [{' '.join(mine)}]"] if mine else []


def bad_managers(trainjob: Object) -> list[str]:
    """runtimePatches managers that are no domain-prefixed path."""
    managers = [str(one["manager"]) for one in trainjob["spec"].get("runtimePatches") or []]
    return [
        f'spec.runtimePatches[{at}].manager: Invalid value: "{manager}": must be a domain-prefixed path (such as "acme.io/foo")'
        for at, manager in enumerate(managers)
        if MANAGER.fullmatch(manager) is None
    ]


def bad_overrides(trainjob: Object, runtime: Object) -> list[str]:
    """Overrides of jobs or containers that the runtime does not have, and of variables that belong to the trainer."""
    field = next((one for one in OVERRIDES if trainjob["spec"].get(one)), OVERRIDES[0])
    jobs: dict[str, Any] = {one["name"]: one for one in runtime["spec"]["template"]["spec"]["replicatedJobs"]}
    errors = []
    for names, _, spec in overrides_of(trainjob):
        for name in names or []:
            if name not in jobs:
                errors.append(f'spec.{field}: Invalid value: "{name}": must not have targetJob that doesn\'t exist in the runtime job template')
                continue
            pod = jobs[name]["template"]["spec"]["template"]["spec"]
            errors += [problem for kind in ("containers", "initContainers") for problem in _container_faults(field, kind, spec, pod)]
    return errors


def _container_faults(field: str, kind: str, spec: Object, pod: Object) -> list[str]:
    have = {one["name"] for one in pod.get(kind) or []}
    errors = []
    for container in spec.get(kind) or []:
        if container["name"] not in have:
            errors.append(f'spec.{field}: Invalid value: "{container["name"]}": must not have {kind} that doesn\'t exist in the runtime job')
        elif container.get("env") and container["name"] in OWNED_CONTAINERS:
            errors.append(f"spec.{field}: Invalid value: must not have envs for the {', '.join(OWNED_CONTAINERS)} containers")
    return errors


def changes_refused(trainjob: Object, old: Object) -> list[str]:
    """Fields that may not change, and overrides that may only change while the job is suspended."""
    new, before = trainjob["spec"], old["spec"]
    errors = [f"spec.{field}: Invalid value: field is immutable" for field in IMMUTABLE if new.get(field) != before.get(field)]
    if not (new.get("suspend") or before.get("suspend")):
        changed = [field for field in OVERRIDES if new.get(field) != before.get(field)]
        errors += [f"spec.{field}: Forbidden: {field} can only be modified when the TrainJob is suspended" for field in changed]
    return errors
