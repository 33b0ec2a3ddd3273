"""scale, eviction, binding and finalize."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cockpit.sim.api import deletions, errors, fields, verbs, writes
from cockpit.sim.api.errors import ApiError, bad_request
from cockpit.sim.api.merges import merge_patch
from cockpit.sim.api.objects import at, conditions
from cockpit.sim.api.records import Record, decode, encode
from cockpit.sim.api.requests import Call, decoded
from cockpit.sim.api.responses import json_response
from cockpit.sim.api.selectors import selects

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

BUDGETS = "poddisruptionbudgets.policy"
CREATED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _put(obj: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value


def scale(cluster: Cluster, call: Call) -> web.Response:
    """GET, PUT or PATCH of an autoscaling/v1 Scale."""
    target = call.where
    paths = target.kind.scale
    if paths is None:
        raise errors.no_such_path()
    record = cluster.require(target.kind.resource, target.namespace, target.name)
    if call.method == "GET":
        return json_response(_scale_of(record, paths))
    current = _scale_of(record, paths)
    content_type = call.headers.get("Content-Type", "").partition(";")[0]
    wanted = call.document() if call.method == "PUT" else merge_patch(current, decoded(call.body, content_type))
    replicas = at(wanted, "spec.replicas") or 0
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request(f"spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0")
    rv = at(wanted, "metadata.resourceVersion")
    if rv and rv != str(record.rv):
        raise errors.stale(target.kind, record.name)
    obj = record.fresh()
    _put(obj, paths["spec"], replicas)
    writes.update(cluster, record, obj, None, call.dry_run)
    fresh = cluster.require(target.kind.resource, target.namespace, target.name)
    return json_response(_scale_of(fresh, paths))


def _scale_of(record: Record, paths: dict[str, str]) -> dict[str, Any]:
    obj = record.object
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    meta = {key: obj["metadata"][key] for key in shown if key in obj["metadata"]}
    status: dict[str, Any] = {"replicas": at(obj, paths.get("status", "").strip(".")) or 0}
    labels = at(obj, "spec.selector.matchLabels") or {}
    chosen = at(obj, paths.get("selector", "").strip(".")) or ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    if chosen:
        status["selector"] = chosen
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": at(obj, paths["spec"].strip(".")) or 0},
        "status": status,
    }


def bind(cluster: Cluster, call: Call) -> web.Response:
    """POST of a Binding: assign a pod to a node."""
    target = call.where
    node = at(fields.require_object(call.document()), "target.name")
    if not node:
        raise bad_request("target.name: Required value")
    record = cluster.require("pods", target.namespace, target.name)
    if at(record.object, "spec.nodeName"):
        taken = f'pod {target.name} is already assigned to node "{record.object["spec"]["nodeName"]}"'
        raise errors.conflict(target.kind, target.name, taken)
    if not call.dry_run:
        cluster.patch("pods", target.namespace, target.name, {"spec": {"nodeName": node}})
        kept = [one for one in at(record.object, "status.conditions") or () if one["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": cluster.now()}
        cluster.patch("pods", target.namespace, target.name, {"status": {"conditions": [*kept, scheduled]}}, "status")
    return json_response(CREATED, 201)


def finalize(cluster: Cluster, call: Call) -> web.Response:
    """PUT of a namespace's finalizers."""
    record = cluster.require("namespaces", None, call.where.name)
    obj = record.fresh()
    obj.setdefault("spec", {})["finalizers"] = at(verbs.body_object(call), "spec.finalizers")
    return json_response(writes.update(cluster, record, decode(encode(obj)), "finalize", call.dry_run))


# -- eviction and disruption budgets -----------------------------------------------------------------------------------------


def evict(cluster: Cluster, call: Call) -> web.Response:
    """POST of an Eviction: delete a pod unless that breaks a disruption budget (429)."""
    target = call.where
    eviction = fields.require_object(call.document())
    record = cluster.require("pods", target.namespace, target.name)
    options = eviction.get("deleteOptions") or {}
    verbs._check_preconditions(record, options.get("preconditions") or {})
    if at(record.object, "status.phase") not in ("Succeeded", "Failed") and not record.object["metadata"].get("deletionTimestamp"):
        _spend_disruption(cluster, record, call.dry_run)
    if not (call.dry_run or "All" in (options.get("dryRun") or ())):
        deletions.delete(cluster, cluster.require("pods", target.namespace, target.name), options.get("gracePeriodSeconds"), "Background")
    return json_response(CREATED, 201)


def _spend_disruption(cluster: Cluster, record: Record, dry_run: bool) -> None:
    budgets = [one for one in cluster.list(BUDGETS, record.namespace) if selects(at(one, "spec.selector"), record.labels)]
    if len(budgets) > 1:
        raise ApiError(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.", {})
    if not budgets or conditions(record.object).get("Ready") != "True":
        return
    budget = budgets[0]
    status = disruption_status(cluster, budget)
    name = budget["metadata"]["name"]
    if status["disruptionsAllowed"] <= 0:
        why = f"The disruption budget {name} needs {status['desiredHealthy']} healthy pods and has {status['currentHealthy']} currently"
        raise ApiError(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {"causes": [{"reason": "DisruptionBudget", "message": why}], "retryAfterSeconds": 1},
        )
    if not dry_run:
        spent = {**status, "disruptionsAllowed": status["disruptionsAllowed"] - 1}
        cluster.patch(BUDGETS, record.namespace, name, {"status": spent}, "status")


def disruption_status(cluster: Cluster, budget: dict[str, Any]) -> dict[str, Any]:
    """The status of a PodDisruptionBudget as the pods are now."""
    spec = budget.get("spec") or {}
    near = cluster.shelf("pods").within(budget["metadata"].get("namespace"))
    records = [one for one in near if selects(spec.get("selector"), one.labels)]
    pods = [one.object for one in records if at(one.object, "status.phase") not in ("Succeeded", "Failed")]
    healthy = sum(conditions(pod).get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp") for pod in pods)
    expected = len(pods)
    if spec.get("maxUnavailable") is not None:
        desired = max(0, expected - _share(spec["maxUnavailable"], expected))
    else:
        desired = _share(spec.get("minAvailable", 1), expected)
    allowed = max(0, healthy - desired) if expected else 0
    condition = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"].get("generation", 1),
        "lastTransitionTime": _since(cluster, budget, bool(allowed)),
    }
    return {
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "conditions": [condition],
    }


def _since(cluster: Cluster, budget: dict[str, Any], allowed: bool) -> str:
    for one in at(budget, "status.conditions") or ():
        if one["type"] == "DisruptionAllowed" and (one["status"] == "True") is allowed:
            return str(one["lastTransitionTime"])
    return cluster.now()


def _share(amount: int | str, of: int) -> int:
    if isinstance(amount, str) and amount.endswith("%"):
        return math.ceil(int(amount[:-1]) * of / 100)
    return int(amount)
