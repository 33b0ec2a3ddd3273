"""Admission of what holds pods: extended resources bring their toleration, and what is no quantity is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cockpit.sim.controllers.machines import DEVICES
from cockpit.sim.controllers.objects import Object
from cockpit.sim.controllers.pods import pod_requests
from cockpit.sim.controllers.quantities import thousandths
from cockpit.sim.store import ApiError

HOLDERS = (
    "pods",
    "deployments.apps",
    "replicasets.apps",
    "daemonsets.apps",
    "statefulsets.apps",
    "jobs.batch",
    "pytorchjobs.kubeflow.org",
    "jobsets.jobset.x-k8s.io",
    "trainjobs.trainer.kubeflow.org",
    "trainingruntimes.trainer.kubeflow.org",
    "clustertrainingruntimes.trainer.kubeflow.org",
)
PATTERN = "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def install(cluster: Any) -> None:
    """Hook both rules into a cluster."""
    for resource in HOLDERS:
        cluster.admit(resource, refuse_bad_quantities)
    cluster.admit("pods", tolerate_extended_resources)


def refuse_bad_quantities(verb: str, obj: Object, old: Object | None) -> None:
    """ApiError 400 when some requests or limits hold what is no quantity."""
    if verb == "DELETE" or (old is not None and obj.get("spec") == old.get("spec")):
        return
    for value in _quantities(obj.get("spec")):
        try:
            thousandths(value)
        except ValueError as error:
            kind = obj.get("kind") or "object"
            version = obj.get("apiVersion") or "v1"
            message = f'{kind} in version "{version}" cannot be handled as a {kind}: quantities must match the regular expression {PATTERN}'
            raise ApiError(400, "BadRequest", message, {}) from error


def _quantities(value: Any) -> Iterator[Any]:
    """Every requests and limits value anywhere inside."""
    if isinstance(value, list):
        for one in value:
            yield from _quantities(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key in ("requests", "limits") and isinstance(one, dict):
                yield from one.values()
            else:
                yield from _quantities(one)


def tolerate_extended_resources(verb: str, pod: Object, old: Object | None) -> Object | None:
    """The ExtendedResourceToleration plugin: add `key: <resource>, operator: Exists` for every device a new pod requests."""
    if verb != "CREATE":
        return None
    wanted = pod_requests(pod["spec"])
    held = {one.get("key") for one in pod["spec"].get("tolerations") or []}
    more = [{"key": one, "operator": "Exists"} for one in DEVICES if wanted.get(one) and one not in held]
    if not more:
        return None
    return {**pod, "spec": {**pod["spec"], "tolerations": [*(pod["spec"].get("tolerations") or []), *more]}}
