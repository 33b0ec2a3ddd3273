"""What a doctor asks a cluster: what it serves, what answers in it, and what this user may do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actions.core.training_jobs import OVERRIDES
from cockpit.errors import CockpitError, NotFound, NotServed

Row = dict[str, Any]
SERVED = (
    ("pytorchjobs.kubeflow.org", "PyTorchJob", "launch --kind PyTorchJob", "provision --target addons (training-operator)"),
    ("trainjobs.trainer.kubeflow.org", "TrainJob", "launch --kind TrainJob", "provision --target addons (trainer)"),
    ("mpijobs.kubeflow.org", "MPIJob", "nccl-test by nccl-tests", "the MPI operator, or training-operator"),
    ("jobsets.jobset.x-k8s.io", "JobSet", "TrainJobs", "provision --target addons (trainer)"),
    ("workloads.kueue.x-k8s.io", "Kueue", "queues, priority, --queue", "provision --target addons (kueue)"),
    ("nodepools.karpenter.sh", "Karpenter", "nodepools, nodes for launch", "provision --target cluster"),
    ("ec2nodeclasses.karpenter.k8s.aws", "EC2NodeClass", "provision --target nodepool", "provision --target cluster"),
    ("nodes.metrics.k8s.io", "metrics-server", "kubectl top", "the EKS add-on metrics-server"),
    ("nodediagnostics.eks.amazonaws.com", "EKS node monitoring agent", "hardware conditions of nodes", "the EKS add-on eks-node-monitoring-agent"),
)
APPS = (
    ("nvidia-device-plugin", "GPUs of nodes", ("nvidia-device-plugin",)),
    ("aws-efa-k8s-device-plugin", "EFA devices of nodes", ("efa-device-plugin", "aws-efa-k8s")),
    ("dcgm-exporter", "the GPU pane, gpus", ("dcgm-exporter",)),
    ("efa-node-exporter", "the EFA pane, efa", ("efa-node-exporter", "efa-exporter")),
    ("Prometheus", "history of metrics", ("kube-prometheus-stack-prometheus", "prometheus-prometheus", "prometheus-server")),
    ("Loki", "logs of pods that are gone", ("loki",)),
    ("node-problem-detector", "kernel and XID conditions of nodes", ("node-problem-detector",)),
)
RIGHTS = (
    ("list", "", "nodes", "", "nodes, launch"),
    ("list", "", "pods", "", "every pane"),
    ("get", "", "pods", "log", "logs, debug --command"),
    ("create", "", "pods", "", "debug, nettest, checkpoints"),
    ("create", "", "pods", "exec", "debug"),
    ("get", "", "pods", "proxy", "gpus, efa"),
    ("patch", "", "nodes", "", "cordon, uncordon"),
    ("create", "", "configmaps", "", "launch"),
    ("create", "kubeflow.org", "pytorchjobs", "", "launch"),
    ("patch", "kubeflow.org", "pytorchjobs", "", "suspend, resume, scale"),
    ("delete", "kubeflow.org", "pytorchjobs", "", "stop"),
    ("create", "trainer.kubeflow.org", "trainjobs", "", "launch"),
    ("patch", "trainer.kubeflow.org", "trainjobs", "", "suspend, resume"),
    ("delete", "trainer.kubeflow.org", "trainjobs", "", "stop"),
    ("patch", "kueue.x-k8s.io", "workloads", "", "suspend, resume, priority"),
    ("list", "karpenter.sh", "nodepools", "", "nodepools"),
)


def row(group: str, name: str, state: str, detail: str = "", disables: str = "", remedy: str = "", needed: bool = False) -> Row:
    """One finding: `state` is ok | missing | denied | unknown; `disables` what does not work for it, `remedy` what mends it."""
    found = {"kind": group, "name": name, "state": state, "detail": detail or None, "disables": None, "remedy": None, "needed": needed}
    return found if state == "ok" else found | {"disables": disables or None, "remedy": remedy or None}


def served(kube: Any) -> Iterator[Row]:
    """What the API serves, with versions; one row that says why when discovery cannot be read."""
    try:
        known = kube.served(refresh=True)
    except CockpitError as error:
        yield row("served", "discovery", "unknown", error.message, "everything that needs a CRD", error.hint)
        return
    for resource, name, use, remedy in SERVED:
        one = known.get(resource)
        if one is None:
            yield row("served", name, "missing", f"no {resource}", use, remedy)
        else:
            detail = ", ".join(one.versions or (one.version,)) + (_shape(kube, resource) if name == "TrainJob" else "")
            yield row("served", name, "ok", detail)
    yield _takes_jobs(known)


def _takes_jobs(known: Mapping[str, Any]) -> Row:
    kinds = [name for resource, name, _, _ in SERVED[:2] if resource in known]
    return row("served", "a kind of training job", "ok" if kinds else "missing", " or ".join(kinds), "launch, restore", SERVED[0][3], needed=True)


def _shape(kube: Any, resource: str) -> str:
    """Which override a TrainJob takes, which tells its version."""
    try:
        crd = kube.crd(resource) or {}
    except CockpitError:
        return ""
    for version in (crd.get("spec") or {}).get("versions") or ():
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        fields = ((schema.get("properties") or {}).get("spec") or {}).get("properties") or {}
        for name, since in zip(OVERRIDES, ("2.2 and later", "2.1", "2.0"), strict=True):
            if name in fields:
                return f"; {name}: Trainer {since}"
    return ""


def apps(kube: Any) -> Iterator[Row]:
    """Which add-ons have pods, by the names of their DaemonSets, Deployments and StatefulSets."""
    names: list[tuple[str, Mapping[str, Any]]] = []
    for plural in ("daemonsets", "deployments", "statefulsets"):
        try:
            items = kube.request("GET", f"/apis/apps/v1/{plural}", params={"limit": "500"}).get("items") or ()
        except (NotFound, NotServed):
            continue
        except CockpitError as error:
            yield row("add-on", plural, "unknown", error.message, "whether add-ons run is not known")
            continue
        names += [(str((one.get("metadata") or {}).get("name") or ""), one.get("status") or {}) for one in items]
    for name, use, words in APPS:
        found = next(((one, status) for one, status in names if any(word in one for word in words)), None)
        if found is None:
            yield row("add-on", name, "missing", "", use, "provision --target addons")
        else:
            wanted, up = (found[1].get(a, found[1].get(b)) for a, b in (("desiredNumberScheduled", "replicas"), ("numberReady", "readyReplicas")))
            counts = "" if wanted is None else f", {up or 0}/{wanted} ready"
            yield row("add-on", name, "ok", found[0] + counts)


def rights(kube: Any, namespace: str, known: Mapping[str, Any] | None) -> Iterator[Row]:
    """What this user may do in a namespace, as SelfSubjectAccessReview says; kinds the cluster does not serve are left out."""
    for verb, group, plural, sub, use in RIGHTS:
        resource = f"{plural}.{group}" if group else plural
        if group and known is not None and resource not in known:
            continue
        space = "" if plural in ("nodes", "nodepools") else namespace
        name = f"{verb} {resource}" + (f"/{sub}" if sub else "")
        try:
            may = kube.may(verb, group, plural, space, subresource=sub)
        except CockpitError as error:
            yield row("permission", name, "unknown", error.message, use)
            return
        yield row("permission", name, "ok" if may else "denied", f"in {space}" if space else "", use, "a role that allows it")
