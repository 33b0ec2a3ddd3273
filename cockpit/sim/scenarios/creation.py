"""Creates the objects of a scenario, in the order in which they need each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cockpit.sim.controllers.karpenter_claims import readiness
from cockpit.sim.controllers.machines import (
    DEVICES,
    IMAGE_ID,
    TERMINATION,
    Machine,
    allocatable_of,
    capacity_of,
    node_object,
    offering_labels,
)
from cockpit.sim.controllers.node_lifecycle import HEALTHY
from cockpit.sim.controllers.objects import Object, with_condition
from cockpit.sim.crds import DEFINITIONS, TRAINERS, install_crds
from cockpit.sim.scenarios.workloads import daemonset, deployment, service

if TYPE_CHECKING:
    from cockpit.sim.scenarios import Scenario
    from cockpit.sim.store import Cluster

PLURALS = {
    "PyTorchJob": "pytorchjobs.kubeflow.org",
    "TrainJob": "trainjobs.trainer.kubeflow.org",
    "TrainingRuntime": "trainingruntimes.trainer.kubeflow.org",
    "ClusterTrainingRuntime": "clustertrainingruntimes.trainer.kubeflow.org",
    "JobSet": "jobsets.jobset.x-k8s.io",
    "NodePool": "nodepools.karpenter.sh",
    "NodeClaim": "nodeclaims.karpenter.sh",
    "EC2NodeClass": "ec2nodeclasses.karpenter.k8s.aws",
    "ResourceFlavor": "resourceflavors.kueue.x-k8s.io",
    "ClusterQueue": "clusterqueues.kueue.x-k8s.io",
    "LocalQueue": "localqueues.kueue.x-k8s.io",
    "WorkloadPriorityClass": "workloadpriorityclasses.kueue.x-k8s.io",
    "Fault": "faults.sim.cockpit.dev",
    "Deployment": "deployments.apps",
    "DaemonSet": "daemonsets.apps",
    "ReplicaSet": "replicasets.apps",
    "Job": "jobs.batch",
    "PodDisruptionBudget": "poddisruptionbudgets.policy",
    "StorageClass": "storageclasses.storage.k8s.io",
    "PriorityClass": "priorityclasses.scheduling.k8s.io",
}
SOURCES = Path(__file__).parents[3]
"""Where the folders named by `files` entries lie: beside the package."""


def create_all(scenario: Scenario, cluster: Cluster) -> None:
    """Create every section of a scenario."""
    if cluster.find(DEFINITIONS, None, "nodepools.karpenter.sh") is None:
        install_crds(cluster, TRAINERS[-1])
    for name in scenario.entries("namespaces"):
        put(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for entry in scenario.entries("nodeclasses"):
        metadata = {"name": entry["name"]}
        put(cluster, {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": metadata, "spec": entry["spec"]})
    for entry in scenario.entries("nodepools"):
        put(cluster, nodepool(entry))
    for entry in scenario.entries("daemonsets"):
        put_workload(cluster, daemonset(entry), entry)
    for entry in scenario.entries("nodes"):
        put_node(cluster, entry)
    for entry in scenario.entries("deployments"):
        put_workload(cluster, deployment(entry), entry)
    for entry in scenario.entries("queues"):
        for one in queue_objects(entry):
            put(cluster, one)
    for entry in scenario.entries("files"):
        put(cluster, configmap_of_files(entry))
    for manifest in scenario.entries("manifests"):
        put(cluster, manifest)


def put(cluster: Cluster, obj: Object) -> Object:
    """Create an object unless it exists."""
    resource = PLURALS.get(obj["kind"], f"{obj['kind'].lower()}s")
    namespace = obj["metadata"].get("namespace")
    held = cluster.find(resource, namespace, obj["metadata"]["name"])
    return held if held is not None else cluster.create(resource, obj)


def put_workload(cluster: Cluster, obj: Object, entry: Mapping[str, Any]) -> None:
    """A DaemonSet or Deployment with its Service."""
    put(cluster, obj)
    if entry.get("service"):
        put(cluster, service(entry))


def nodepool(entry: Mapping[str, Any]) -> Object:
    """A NodePool from its short form."""
    template: Object = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": entry.get("nodeClass", "default")},
        "requirements": entry["requirements"],
        "expireAfter": "720h",
    }
    template |= {key: entry[key] for key in ("taints", "startupTaints") if key in entry}
    spec: Object = {"template": {"metadata": {"labels": entry.get("labels") or {}}, "spec": template}}
    spec |= {key: entry[key] for key in ("weight", "limits", "disruption") if key in entry}
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": entry["name"]}, "spec": spec}


def put_node(cluster: Cluster, entry: Mapping[str, Any]) -> None:
    """A node that is Ready with its devices, and the NodeClaim that owns it when a NodePool made it."""
    machine = Machine(entry["instanceType"], entry["zone"], entry["capacityType"], entry.get("nodepool"), entry["address"])
    if cluster.find("nodes", None, machine.node_name) is not None:
        return
    pool = cluster.get("nodepools.karpenter.sh", None, machine.nodepool) if machine.nodepool else None
    claim = cluster.create("nodeclaims.karpenter.sh", claim_of(machine, pool, entry["claim"], cluster.now())) if pool else None
    taints = list(pool["spec"]["template"]["spec"].get("taints") or []) if pool else []
    node = node_object(machine, entry.get("labels") or {}, taints)
    if pool and claim:
        node["metadata"]["labels"] |= {"karpenter.sh/registered": "true", "karpenter.sh/initialized": "true"}
        node["metadata"]["labels"] |= pool["spec"]["template"]["metadata"].get("labels") or {}
        node["metadata"]["ownerReferences"] = [_owner(claim)]
    node["status"] |= {"capacity": capacity_of(machine.instance), "allocatable": allocatable_of(machine.instance)}
    node["status"]["conditions"] = ready_conditions(cluster.now())
    cluster.create("nodes", node)


def ready_conditions(now: str) -> list[Object]:
    """The conditions of a healthy node."""
    return [
        {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": now}
        for kind, status, reason, message in HEALTHY
    ]


def _owner(owner: Mapping[str, Any]) -> Object:
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return reference | {"blockOwnerDeletion": True}


def claim_of(machine: Machine, pool: Mapping[str, Any], name: str, now: str) -> Object:
    """The initialized NodeClaim of a node."""
    template = pool["spec"]["template"]["spec"]
    labels = offering_labels(machine.instance, machine.zone, machine.capacity_type)
    labels |= {"karpenter.sh/nodepool": str(machine.nodepool), "karpenter.k8s.aws/ec2nodeclass": template["nodeClassRef"]["name"]}
    conditions: list[Object] = []
    for kind in ("Launched", "Registered", "Initialized"):
        conditions = with_condition(conditions, kind, "True", kind, "", now, observedGeneration=1)
    conditions = with_condition(conditions, "Ready", *readiness(conditions), now, observedGeneration=1)
    capacity = capacity_of(machine.instance)
    requests = {"cpu": "1", "memory": "1Gi", "pods": "10"} | {device: capacity[device] for device in DEVICES if device in capacity}
    exact = {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [machine.instance_type]}
    spec: Object = {
        "nodeClassRef": template["nodeClassRef"],
        "requirements": [*({key: one[key] for key in ("key", "operator", "values")} for one in template["requirements"]), exact],
        "resources": {"requests": requests},
        "expireAfter": template.get("expireAfter", "720h"),
    }
    if template.get("taints"):
        spec["taints"] = template["taints"]
    status = {
        "nodeName": machine.node_name,
        "providerID": machine.provider_id,
        "imageID": IMAGE_ID,
        "capacity": capacity,
        "allocatable": allocatable_of(machine.instance),
        "conditions": conditions,
    }
    metadata = {"name": name, "labels": labels, "finalizers": [TERMINATION], "ownerReferences": [_owner(pool)]}
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": metadata, "spec": spec, "status": status}


def queue_objects(entry: Mapping[str, Any]) -> list[Object]:
    """A ResourceFlavor, a ClusterQueue and its LocalQueues from the short form of a queue."""
    api, flavor = "kueue.x-k8s.io/v1beta2", entry["flavor"]
    quotas = [{"name": resource, "nominalQuota": str(quota)} for resource, quota in entry["quotas"].items()]
    group = {"coveredResources": list(entry["quotas"]), "flavors": [{"name": flavor, "resources": quotas}]}
    spec = {"namespaceSelector": {}, "queueingStrategy": entry.get("strategy", "BestEffortFIFO"), "resourceGroups": [group]}
    labels = {"nodeLabels": entry["nodeLabels"]} if entry.get("nodeLabels") else {}
    local = [
        {
            "apiVersion": api,
            "kind": "LocalQueue",
            "metadata": {"name": entry["name"], "namespace": namespace},
            "spec": {"clusterQueue": entry["name"]},
        }
        for namespace in entry["namespaces"]
    ]
    return [
        {"apiVersion": api, "kind": "ResourceFlavor", "metadata": {"name": flavor}, "spec": labels},
        {"apiVersion": api, "kind": "ClusterQueue", "metadata": {"name": entry["name"]}, "spec": spec},
        *local,
    ]


def configmap_of_files(entry: Mapping[str, Any]) -> Object:
    """A ConfigMap of the files in a folder beside the package."""
    files = sorted(path for path in (SOURCES / entry["from"]).glob(f"*{entry['ending']}"))
    data = {path.name: path.read_text(encoding="utf-8") for path in files}
    metadata = {"name": entry["configmap"], "namespace": entry["namespace"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
