"""Defaults a real API server writes into built-in objects."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cockpit.sim.api import crds, structural
from cockpit.sim.api.kinds import Kind

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

Object = dict[str, Any]
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


def fill(cluster: Cluster, kind: Kind, obj: Object) -> None:
    """Write the defaults of a kind into an object, in place; written ones stay as they are."""
    if not kind.builtin:
        structural.prune_and_default(kind.schemas.get(kind.version) or {}, obj)
        return
    rule = _RULES.get(kind.resource)
    if rule is not None:
        rule(cluster, obj)


def _spec(obj: Object) -> Object:
    if not isinstance(obj.get("spec"), dict):
        obj["spec"] = {}
    spec: Object = obj["spec"]
    return spec


def _set(target: Object, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _container(container: Object) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    _set(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent",
    )
    for port in container.get("ports") or ():
        _set(port, protocol="TCP")
    for env in container.get("env") or ():
        field = (env.get("valueFrom") or {}).get("fieldRef")
        if field:
            _set(field, apiVersion="v1")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe):
            _set(container[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)


def pod_spec(spec: Object) -> None:
    """Defaults of a pod spec or of a pod template's."""
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        _container(container)
    for volume in spec.get("volumes") or ():
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if volume.get(source) is not None:
                _set(volume[source], defaultMode=420)
        if volume.get("hostPath"):
            _set(volume["hostPath"], type="")
    if spec.get("serviceAccountName"):
        _set(spec, serviceAccount=spec["serviceAccountName"])


def _pod(cluster: Cluster, obj: Object) -> None:
    spec = _spec(obj)
    pod_spec(spec)
    _set(spec, serviceAccountName="default", serviceAccount="default", enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority")
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        for name, amount in (container["resources"].get("limits") or {}).items():
            container["resources"].setdefault("requests", {}).setdefault(name, amount)
    _priority(cluster, spec)
    keys = {toleration.get("key") for toleration in spec.get("tolerations") or () if toleration.get("effect") in (None, "NoExecute")}
    if not any(toleration.get("operator") == "Exists" and not toleration.get("key") for toleration in spec.get("tolerations") or ()):
        for key in (NOT_READY, UNREACHABLE):
            if key not in keys:
                seconds = {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                spec.setdefault("tolerations", []).append(seconds)
    status = obj.setdefault("status", {})
    _set(status, phase="Pending", qosClass=qos_class(spec))


def _priority(cluster: Cluster, spec: Object) -> None:
    name = spec.get("priorityClassName")
    chosen = cluster.find("priorityclasses.scheduling.k8s.io", None, name) if name else None
    if spec.get("priority") is None:
        spec["priority"] = chosen.get("value", 0) if chosen else 0


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of the containers."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    resources = [container.get("resources") or {} for container in containers]
    wanted = ("cpu", "memory")
    named = [(one.get("requests") or {}, one.get("limits") or {}) for one in resources]
    if not any(key in requests or key in limits for requests, limits in named for key in wanted):
        return "BestEffort"
    full = all(key in limits and requests.get(key, limits[key]) == limits[key] for requests, limits in named for key in wanted)
    return "Guaranteed" if full else "Burstable"


def _template(obj: Object) -> None:
    template = _spec(obj).setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _rolling(strategy: Object, limits: Object) -> None:
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _set(strategy, rollingUpdate=limits)


def _deployment(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), replicas=1, strategy={}, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    _rolling(obj["spec"]["strategy"], {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(obj)


def _daemon_set(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), updateStrategy={}, revisionHistoryLimit=10)
    _rolling(obj["spec"]["updateStrategy"], {"maxUnavailable": 1, "maxSurge": 0})
    _template(obj)
    zeros = {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}
    obj.setdefault("status", zeros)


def _replica_set(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), replicas=1)
    _template(obj)
    obj.setdefault("status", {"replicas": 0})


def _stateful_set(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), replicas=1, podManagementPolicy="OrderedReady", updateStrategy={}, revisionHistoryLimit=10, serviceName="")
    _rolling(obj["spec"]["updateStrategy"], {"partition": 0})
    _template(obj)
    obj.setdefault("status", {"replicas": 0, "availableReplicas": 0})


def _job(_: Cluster, obj: Object) -> None:
    spec = _spec(obj)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        _set(spec, completions=1)
    _set(
        spec,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed",
    )
    _template(obj)
    meta = obj.get("metadata") or {}
    if not spec.get("manualSelector") and not spec.get("selector") and meta.get("uid"):
        labels = spec["template"]["metadata"].setdefault("labels", {})
        for prefix in ("batch.kubernetes.io/", ""):
            labels[f"{prefix}controller-uid"] = meta["uid"]
            labels[f"{prefix}job-name"] = meta["name"]
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}
    obj.setdefault("status", {})


def _cron_job(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    obj.setdefault("status", {})


def _service(cluster: Cluster, obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    for port in spec.get("ports") or ():
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] != "ExternalName" and not spec.get("clusterIP"):
        spec["clusterIP"] = _free_cluster_ip(cluster)
    if spec.get("clusterIP"):
        _set(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    obj.setdefault("status", {"loadBalancer": {}})


def _free_cluster_ip(cluster: Cluster) -> str:
    taken = {record.fields["spec.clusterIP"] for record in cluster.shelf("services").ordered()}
    offset = 2
    while f"10.100.{offset >> 8}.{offset & 255}" in taken:
        offset += 1
    return f"10.100.{offset >> 8}.{offset & 255}"


def _namespace(_: Cluster, obj: Object) -> None:
    meta = obj["metadata"]
    meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta.get("name", "")
    if not meta.get("deletionTimestamp"):
        _set(_spec(obj), finalizers=["kubernetes"])
    _set(obj.setdefault("status", {}), phase="Active")


def _secret(_: Cluster, obj: Object) -> None:
    _set(obj, type="Opaque")
    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = b64encode(text.encode()).decode()


def _claim(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), volumeMode="Filesystem")
    _set(obj.setdefault("status", {}), phase="Pending")


def _volume(_: Cluster, obj: Object) -> None:
    _set(_spec(obj), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    _set(obj.setdefault("status", {}), phase="Available")


def _budget(_: Cluster, obj: Object) -> None:
    obj.setdefault("status", {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})


def _node(_: Cluster, obj: Object) -> None:
    _spec(obj)
    for taint in obj["spec"].get("taints") or ():
        if taint.get("effect") == "NoExecute" and taint.get("timeAdded") is None:
            taint.pop("timeAdded", None)


def _priority_class(_: Cluster, obj: Object) -> None:
    _set(obj, preemptionPolicy="PreemptLowerPriority")


def _storage_class(_: Cluster, obj: Object) -> None:
    _set(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


def _binding(_: Cluster, obj: Object) -> None:
    group = "rbac.authorization.k8s.io"
    _set(obj.get("roleRef") or {}, apiGroup=group)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup=group)


def _definition(_: Cluster, obj: Object) -> None:
    crds.complete_names(_spec(obj))


_RULES: dict[str, Callable[[Cluster, Object], None]] = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "daemonsets.apps": _daemon_set,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "services": _service,
    "namespaces": _namespace,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "poddisruptionbudgets.policy": _budget,
    "nodes": _node,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "storageclasses.storage.k8s.io": _storage_class,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
