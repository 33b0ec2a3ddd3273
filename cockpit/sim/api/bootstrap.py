"""What every new cluster holds before anybody has done anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

RBAC = "rbac.authorization.k8s.io"
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_WORKLOADS = [
    (
        "",
        [
            "pods",
            "services",
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "events",
            "serviceaccounts",
            "pods/log",
            "pods/status",
            "limitranges",
            "resourcequotas",
        ],
    ),
    ("apps", ["deployments", "daemonsets", "replicasets", "statefulsets", "deployments/scale", "replicasets/scale", "statefulsets/scale"]),
    ("batch", ["jobs", "cronjobs", "jobs/status"]),
    ("policy", ["poddisruptionbudgets"]),
]
_REVIEWS = [
    {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
    {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
]
_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"]


def _rules(verbs: list[str]) -> list[dict[str, Any]]:
    return [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources in _WORKLOADS]


def _secrets(verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": ["secrets", "pods/eviction", "pods/proxy", "services/proxy"], "verbs": verbs}


def cluster_roles() -> dict[str, list[dict[str, Any]]]:
    """The rules of the default ClusterRoles."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    edit = [*_rules(READ + WRITE), _secrets(READ + WRITE)]
    roles = {"apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": READ + WRITE}
    namespaces = {"apiGroups": [""], "resources": ["namespaces"], "verbs": READ}
    return {
        "cluster-admin": everything,
        "admin": [*edit, roles, namespaces],
        "edit": [*edit, namespaces],
        "view": [*_rules(READ), namespaces],
        "system:basic-user": _REVIEWS,
        "system:discovery": [{"nonResourceURLs": _PATHS, "verbs": ["get"]}],
    }


def _binding(role: str, group: str) -> dict[str, Any]:
    return {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": group}],
    }


def bootstrap(cluster: Cluster) -> None:
    """Create the default namespaces, accounts, roles, bindings, priority classes and the kubernetes service."""
    for name in NAMESPACES:
        cluster.create("namespaces", {"metadata": {"name": name}})
        cluster.create("serviceaccounts", {"metadata": {"name": "default", "namespace": name}})
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}
    cluster.create(
        "services",
        {
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver"}},
            "spec": {"clusterIP": "10.100.0.1", "ports": [port]},
        },
    )
    for name, rules in cluster_roles().items():
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
        cluster.create(f"clusterroles.{RBAC}", {"metadata": {"name": name, "labels": labels}, "rules": rules})
    for role, group in (
        ("cluster-admin", "system:masters"),
        ("system:basic-user", "system:authenticated"),
        ("system:discovery", "system:authenticated"),
    ):
        cluster.create(f"clusterrolebindings.{RBAC}", _binding(role, group))
    for name, value in (("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)):
        cluster.create("priorityclasses.scheduling.k8s.io", {"metadata": {"name": name}, "value": value})
