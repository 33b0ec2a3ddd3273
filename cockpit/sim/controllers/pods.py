"""What controllers ask of pods: requests, phase, tolerations, and a pod made from a template."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from cockpit.sim.controllers.objects import Object, annotations_of, condition_of, controller_of, is_deleting, owner_reference, status_of
from cockpit.sim.controllers.quantities import Amounts, amounts, larger, total

SERVED_BY = "sim.cockpit.dev/served-by"
STATIC = "sim.cockpit.dev/static"


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """What a pod spec asks of a node, as the scheduler counts it: sidecars add up, other init containers peak; a pod is one "pods"."""
    sidecars: list[Amounts] = []
    peak: Amounts = {}
    for container in spec.get("initContainers") or []:
        wanted = container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars.append(wanted)
            peak = larger(peak, total(sidecars))
        else:
            peak = larger(peak, total([*sidecars, wanted]))
    running = total([*(container_requests(one) for one in spec.get("containers") or []), *sidecars])
    return total([larger(running, peak), amounts(spec.get("overhead")), {"pods": 1000}])


def container_requests(container: Mapping[str, Any]) -> Amounts:
    """A container's requests, defaulted from its limits."""
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def phase_of(pod: Mapping[str, Any]) -> str:
    """status.phase, Pending when not yet set."""
    return str(status_of(pod).get("phase") or "Pending")


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has succeeded or failed."""
    return phase_of(pod) in ("Succeeded", "Failed")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the Ready condition is True and deletion has not begun."""
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True" and not is_deleting(pod)


def is_of_daemonset(pod: Mapping[str, Any]) -> bool:
    """Whether a DaemonSet controls this pod."""
    owner = controller_of(pod)
    return owner is not None and owner["kind"] == "DaemonSet"


def is_static(pod: Mapping[str, Any]) -> bool:
    """Whether the pod is scenery whose status came with it."""
    return annotations_of(pod).get(STATIC) == "true"


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether any toleration covers this taint."""
    return any(_covers(one, taint) for one in tolerations)


def _covers(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def exit_codes(pod: Mapping[str, Any], container: str | None = None) -> list[int]:
    """The exit codes of the terminated containers, of one container when named."""
    held = status_of(pod).get("containerStatuses") or []
    states = [one.get("state") or {} for one in held if container is None or one.get("name") == container]
    return [int(state["terminated"].get("exitCode", 0)) for state in states if state.get("terminated")]


def pod_from(template: Mapping[str, Any], owner: Mapping[str, Any], name: str | None, generate: str | None = None) -> Object:
    """A pod made from a template, owned by owner, in the owner's namespace."""
    metadata = copy.deepcopy(dict(template.get("metadata") or {}))
    metadata = {key: metadata[key] for key in ("labels", "annotations", "finalizers") if metadata.get(key)}
    metadata |= {"namespace": owner["metadata"]["namespace"], "ownerReferences": [owner_reference(owner)]}
    metadata |= {"name": name} if name else {"generateName": generate}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(dict(template["spec"]))}
