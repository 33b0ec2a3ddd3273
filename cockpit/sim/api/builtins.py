"""The built-in kinds of a Kubernetes 1.34 API that the practice cluster serves."""

from __future__ import annotations

from collections.abc import Iterator

from cockpit.sim.api.kinds import Kind

REPLICAS = {"spec": ".spec.replicas", "status": ".status.replicas", "selector": ".status.selector"}

# group, version, kind, plural, namespaced, short names, categories, status, generation, scale
_TABLE: list[tuple[str, str, str, str, bool, str, str, bool, bool, bool]] = [
    ("", "v1", "Namespace", "namespaces", False, "ns", "", True, False, False),
    ("", "v1", "Node", "nodes", False, "no", "", True, False, False),
    ("", "v1", "Pod", "pods", True, "po", "all", True, True, False),
    ("", "v1", "Service", "services", True, "svc", "all", True, False, False),
    ("", "v1", "Endpoints", "endpoints", True, "ep", "", False, False, False),
    ("", "v1", "ConfigMap", "configmaps", True, "cm", "", False, False, False),
    ("", "v1", "Secret", "secrets", True, "", "", False, False, False),
    ("", "v1", "Event", "events", True, "ev", "", False, False, False),
    ("", "v1", "ServiceAccount", "serviceaccounts", True, "sa", "", False, False, False),
    ("", "v1", "PersistentVolume", "persistentvolumes", False, "pv", "", True, False, False),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, "pvc", "", True, False, False),
    ("", "v1", "LimitRange", "limitranges", True, "limits", "", False, False, False),
    ("", "v1", "ResourceQuota", "resourcequotas", True, "quota", "", True, False, False),
    ("apps", "v1", "DaemonSet", "daemonsets", True, "ds", "all", True, True, False),
    ("apps", "v1", "Deployment", "deployments", True, "deploy", "all", True, True, True),
    ("apps", "v1", "ReplicaSet", "replicasets", True, "rs", "all", True, True, True),
    ("apps", "v1", "StatefulSet", "statefulsets", True, "sts", "all", True, True, True),
    ("batch", "v1", "CronJob", "cronjobs", True, "cj", "all", True, True, False),
    ("batch", "v1", "Job", "jobs", True, "", "all", True, True, False),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, "pdb", "", True, True, False),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, "", "", False, False, False),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", False, "", "", False, False, False),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", True, "", "", False, False, False),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", True, "", "", False, False, False),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, "pc", "", False, True, False),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, "sc", "", False, False, False),
    ("coordination.k8s.io", "v1", "Lease", "leases", True, "", "", False, False, False),
    ("events.k8s.io", "v1", "Event", "events", True, "ev", "", False, False, False),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, "crd,crds", "api-extensions", True, True, False),
]

_SUBRESOURCES = {
    "pods": ("log", "eviction", "binding", "proxy", "exec"),
    "services": ("proxy",),
    "namespaces": ("finalize",),
}

_SELECTABLE = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "jobs.batch": ("status.successful",),
    "replicasets.apps": ("status.replicas",),
    "services": ("spec.clusterIP", "spec.type"),
}


def builtin_kinds() -> Iterator[Kind]:
    """Every built-in kind, ready for the registry."""
    for group, version, kind, plural, namespaced, short, categories, status, generation, scale in _TABLE:
        resource = f"{plural}.{group}" if group else plural
        yield Kind(
            group,
            version,
            kind,
            plural,
            namespaced,
            short_names=tuple(filter(None, short.split(","))),
            categories=tuple(filter(None, categories.split(","))),
            status=status,
            generation=generation,
            scale=REPLICAS if scale else None,
            subresources=_SUBRESOURCES.get(resource, ()),
            selectable=_SELECTABLE.get(resource, ()),
            list_kind="EndpointsList" if kind == "Endpoints" else "",
            store="events" if group == "events.k8s.io" else "",
        )
