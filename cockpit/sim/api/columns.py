"""Printer columns of the built-in kinds, cell by cell as a real API server prints them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cockpit.sim.api import pod_cells
from cockpit.sim.api.durations import human_duration, parsed_time, since
from cockpit.sim.api.objects import age, at, conditions, images, names, selector_text

Object = dict[str, Any]
Cells = Callable[[Object], list[Any]]
Column = tuple[str, str, int]  # name, type, priority

WORKLOAD: tuple[Column, ...] = (("Containers", "string", 1), ("Images", "string", 1), ("Selector", "string", 1))


def _cols(text: str) -> tuple[Column, ...]:
    """Columns from 'Name, Count:integer, Wide+'."""
    columns = []
    for one in text.split(","):
        name, _, kind = one.strip().partition(":")
        columns.append((name.rstrip("+"), kind.rstrip("+") or "string", 1 if one.endswith("+") else 0))
    return tuple(columns)


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _template(obj: Object) -> list[Any]:
    containers = at(obj, "spec.template.spec.containers") or []
    return [names(containers), images(containers), selector_text(at(obj, "spec.selector"))]


def _node(obj: Object) -> list[Any]:
    found = conditions(obj)
    ready = found.get("Ready")
    words = [{"True": "Ready", "False": "NotReady"}.get(str(ready), "NotReady") if ready else "Unknown"]
    if at(obj, "spec.unschedulable"):
        words.append("SchedulingDisabled")
    labels = obj["metadata"].get("labels") or {}
    roles = sorted({key.partition("/")[2] for key in labels if key.startswith("node-role.kubernetes.io/")} - {""})
    addresses = {one["type"]: one["address"] for one in at(obj, "status.addresses") or ()}
    info = at(obj, "status.nodeInfo") or {}
    unknown = "<unknown>"
    return [
        _name(obj),
        ",".join(words),
        ",".join(roles) or "<none>",
        age(obj),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"),
        info.get("osImage") or unknown,
        info.get("kernelVersion") or unknown,
        info.get("containerRuntimeVersion") or unknown,
    ]


def _event(obj: Object) -> list[Any]:
    involved = obj.get("involvedObject") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    last = obj.get("lastTimestamp") or at(obj, "series.lastObservedTime") or first
    source = obj.get("source") or {}
    where = source.get("component") or obj.get("reportingComponent") or ""
    if source.get("host"):
        where += f", {source['host']}"
    count = at(obj, "series.count") or obj.get("count") or 1
    return [
        since(last),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        where,
        str(obj.get("message", "")).strip(),
        since(first),
        count,
        _name(obj),
    ]


def _job(obj: Object) -> list[Any]:
    done, wanted = at(obj, "status.succeeded") or 0, at(obj, "spec.completions")
    parallel = at(obj, "spec.parallelism") or 1
    text = f"{done}/{wanted}" if wanted is not None else f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    start, end = parsed_time(at(obj, "status.startTime")), parsed_time(at(obj, "status.completionTime"))
    duration = since(at(obj, "status.startTime")) if start and not end else ""
    if start and end:
        duration = human_duration((end - start).total_seconds())
    return [_name(obj), _job_status(obj), text, duration, age(obj), *_template(obj)]


def _job_status(obj: Object) -> str:
    found = conditions(obj)
    for type_ in ("Complete", "Failed"):
        if found.get(type_) == "True":
            return type_
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for type_ in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if found.get(type_) == "True":
            return type_
    return "Running"


def _deployment(obj: Object) -> list[Any]:
    status, wanted = obj.get("status") or {}, at(obj, "spec.replicas") or 0
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{wanted}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj),
        *_template(obj),
    ]


def _daemon_set(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    where = at(obj, "spec.template.spec.nodeSelector") or {}
    text = ",".join(f"{key}={value}" for key, value in sorted(where.items())) or "<none>"
    return [_name(obj), *(status.get(count, 0) for count in counts), text, age(obj), *_template(obj)]


def _replica_set(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    return [_name(obj), at(obj, "spec.replicas") or 0, status.get("replicas", 0), status.get("readyReplicas", 0), age(obj), *_template(obj)]


def _stateful_set(obj: Object) -> list[Any]:
    ready = at(obj, "status.readyReplicas") or 0
    return [_name(obj), f"{ready}/{at(obj, 'spec.replicas') or 0}", age(obj), *_template(obj)[:2]]


def _service(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = [
        f"{p['port']}:{p['nodePort']}/{p.get('protocol', 'TCP')}" if p.get("nodePort") else f"{p['port']}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    ]
    ingress = [one.get("ip") or one.get("hostname") for one in at(obj, "status.loadBalancer.ingress") or ()]
    pending = "<pending>" if spec.get("type") == "LoadBalancer" else "<none>"
    outside = ",".join(filter(None, [*ingress, *(spec.get("externalIPs") or ())])) or spec.get("externalName") or pending
    chosen = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    return [_name(obj), spec.get("type", ""), spec.get("clusterIP") or "<none>", outside, ",".join(ports) or "<none>", age(obj), chosen or "<none>"]


def _endpoints(obj: Object) -> list[Any]:
    places = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    shown = ",".join(places[:3]) + (f" + {len(places) - 3} more..." if len(places) > 3 else "")
    return [_name(obj), shown or "<none>", age(obj)]


def _volume(obj: Object) -> list[Any]:
    spec, claim = obj.get("spec") or {}, at(obj, "spec.claimRef") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else at(obj, "status.phase") or ""
    return [
        _name(obj),
        at(obj, "spec.capacity.storage") or "",
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim['namespace']}/{claim['name']}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        at(obj, "status.reason") or "",
        age(obj),
        spec.get("volumeMode") or "<unset>",
    ]


def _claim(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else at(obj, "status.phase") or ""
    bound = bool(spec.get("volumeName"))
    return [
        _name(obj),
        phase,
        spec.get("volumeName", ""),
        (at(obj, "status.capacity.storage") or "") if bound else "",
        _modes(at(obj, "status.accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or "<unset>",
        age(obj),
        spec.get("volumeMode") or "<unset>",
    ]


def _modes(modes: list[str] | None) -> str:
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    return ",".join(short.get(mode, mode) for mode in modes or ())


def _budget(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    shown = [str(spec.get(key, "N/A")) for key in ("minAvailable", "maxUnavailable")]
    return [_name(obj), *shown, at(obj, "status.disruptionsAllowed") or 0, age(obj)]


def _cron_job(obj: Object) -> list[Any]:
    spec, last = obj.get("spec") or {}, at(obj, "status.lastScheduleTime")
    containers = at(obj, "spec.jobTemplate.spec.template.spec.containers") or []
    return [
        _name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(at(obj, "status.active") or ()),
        since(last) if last else "<none>",
        age(obj),
        names(containers),
        images(containers),
        "<none>",
    ]


def _binding(obj: Object) -> list[Any]:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or []
    by_kind = {kind: ", ".join(one["name"] for one in subjects if one["kind"] == kind) for kind in ("User", "Group")}
    accounts = ", ".join(f"{one.get('namespace', '')}/{one['name']}" for one in subjects if one["kind"] == "ServiceAccount")
    return [_name(obj), f"{role.get('kind', '')}/{role.get('name', '')}", age(obj), by_kind["User"], by_kind["Group"], accounts]


def _created(obj: Object) -> list[Any]:
    return [_name(obj), obj["metadata"].get("creationTimestamp", "")]


BUILTIN: dict[str, tuple[tuple[Column, ...], Cells]] = {
    "pods": (_cols("Name,Ready,Status,Restarts,Age,IP+,Node+,Nominated Node+,Readiness Gates+"), pod_cells.cells),
    "nodes": (_cols("Name,Status,Roles,Age,Version,Internal-IP+,External-IP+,OS-Image+,Kernel-Version+,Container-Runtime+"), _node),
    "events": (_cols("Last Seen,Type,Reason,Object,Subobject+,Source+,Message,First Seen+,Count:integer+,Name+"), _event),
    "jobs.batch": ((*_cols("Name,Status,Completions,Duration,Age"), *WORKLOAD), _job),
    "deployments.apps": ((*_cols("Name,Ready,Up-to-date:integer,Available:integer,Age"), *WORKLOAD), _deployment),
    "daemonsets.apps": (
        (*_cols("Name,Desired:integer,Current:integer,Ready:integer,Up-to-date:integer,Available:integer,Node Selector,Age"), *WORKLOAD),
        _daemon_set,
    ),
    "replicasets.apps": ((*_cols("Name,Desired:integer,Current:integer,Ready:integer,Age"), *WORKLOAD), _replica_set),
    "statefulsets.apps": ((*_cols("Name,Ready,Age"), *WORKLOAD[:2]), _stateful_set),
    "services": (_cols("Name,Type,Cluster-IP,External-IP,Port(s),Age,Selector+"), _service),
    "endpoints": (_cols("Name,Endpoints,Age"), _endpoints),
    "configmaps": (_cols("Name,Data:integer,Age"), lambda obj: [_name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age(obj)]),
    "secrets": (_cols("Name,Type,Data:integer,Age"), lambda obj: [_name(obj), obj.get("type", ""), len(obj.get("data") or {}), age(obj)]),
    "serviceaccounts": (_cols("Name,Secrets:integer,Age"), lambda obj: [_name(obj), len(obj.get("secrets") or ()), age(obj)]),
    "namespaces": (_cols("Name,Status,Age"), lambda obj: [_name(obj), at(obj, "status.phase") or "", age(obj)]),
    "persistentvolumes": (
        _cols("Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age,VolumeMode+"),
        _volume,
    ),
    "persistentvolumeclaims": (_cols("Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,VolumeMode+"), _claim),
    "poddisruptionbudgets.policy": (_cols("Name,Min Available,Max Unavailable,Allowed Disruptions:integer,Age"), _budget),
    "cronjobs.batch": ((*_cols("Name,Schedule,Timezone,Suspend:boolean,Active:integer,Last Schedule,Age"), *WORKLOAD), _cron_job),
    "priorityclasses.scheduling.k8s.io": (
        _cols("Name,Value:integer,Global-Default:boolean,Age,PreemptionPolicy"),
        lambda obj: [_name(obj), obj.get("value", 0), bool(obj.get("globalDefault")), age(obj), obj.get("preemptionPolicy", "")],
    ),
    "storageclasses.storage.k8s.io": (
        _cols("Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age"),
        lambda obj: [
            _name(obj),
            obj.get("provisioner", ""),
            obj.get("reclaimPolicy", ""),
            obj.get("volumeBindingMode", ""),
            bool(obj.get("allowVolumeExpansion")),
            age(obj),
        ],
    ),
    "leases.coordination.k8s.io": (_cols("Name,Holder,Age"), lambda obj: [_name(obj), at(obj, "spec.holderIdentity") or "", age(obj)]),
    "rolebindings.rbac.authorization.k8s.io": (_cols("Name,Role,Age,Users+,Groups+,ServiceAccounts+"), _binding),
    "clusterrolebindings.rbac.authorization.k8s.io": (_cols("Name,Role,Age,Users+,Groups+,ServiceAccounts+"), _binding),
    **{
        resource: (_cols("Name,Created At"), _created)
        for resource in (
            "roles.rbac.authorization.k8s.io",
            "clusterroles.rbac.authorization.k8s.io",
            "limitranges",
            "customresourcedefinitions.apiextensions.k8s.io",
        )
    },
}
