"""The cells of a pod's row: the derived status that `kubectl get pods` shows."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api.durations import parsed_time, since
from cockpit.sim.api.objects import age, at, conditions

Object = dict[str, Any]


def cells(pod: Object) -> list[Any]:
    """Name, ready, status, restarts, age, IP, node, nominated node, readiness gates."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(one.get("ready")) and "running" in (one.get("state") or {}) for one in statuses)
    gates = [one["conditionType"] for one in spec.get("readinessGates") or ()]
    met = sum(conditions(pod).get(gate) == "True" for gate in gates)
    ips = [one["ip"] for one in status.get("podIPs") or ()] or [status.get("podIP")]
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or ())}",
        reason(pod),
        _restarts(pod),
        age(pod),
        ips[0] or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{met}/{len(gates)}" if gates else "<none>",
    ]


def reason(pod: Object) -> str:
    """The one word that says how a pod is."""
    status = pod.get("status") or {}
    word = status.get("reason") or status.get("phase") or ""
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated":
            word = "SchedulingGated"
    starting = _init_reason(pod)
    word = starting or _container_reason(pod, word)
    if pod["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return word


def _init_reason(pod: Object) -> str:
    total = len(at(pod, "spec.initContainers") or ())
    for index, one in enumerate(at(pod, "status.initContainerStatuses") or ()):
        state = one.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            return "Init:" + _ended(ended)
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        if one.get("started") and "running" in state and _restarts_always(pod, one["name"]):
            continue
        return f"Init:{index}/{total}"
    return ""


def _restarts_always(pod: Object, name: str) -> bool:
    return any(one["name"] == name and one.get("restartPolicy") == "Always" for one in at(pod, "spec.initContainers") or ())


def _ended(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _container_reason(pod: Object, word: str) -> str:
    running = False
    for one in reversed(at(pod, "status.containerStatuses") or []):
        state = one.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            word = state["waiting"]["reason"]
        elif state.get("terminated"):
            word = _ended(state["terminated"])
        elif one.get("ready") and "running" in state:
            running = True
    if word == "Completed" and running:
        return "Running" if conditions(pod).get("Ready") == "True" else "NotReady"
    return word


def _restarts(pod: Object) -> str:
    status = pod.get("status") or {}
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    count = sum(one.get("restartCount", 0) for one in statuses)
    ends = [at(one, "lastState.terminated.finishedAt") for one in statuses]
    last = max((end for end in ends if parsed_time(end)), default=None)
    return f"{count} ({since(last)} ago)" if count and last else str(count)
