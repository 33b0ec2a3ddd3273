"""The pods and Services of a PyTorchJob: names, labels and the environment that leads its ranks to one rendezvous. Pure."""

from __future__ import annotations

from typing import Any

from cockpit.sim.controllers.objects import Object, name_of, namespace_of, owner_reference
from cockpit.sim.controllers.pods import pod_from

PORT = 23456
PORT_NAME = "pytorchjob-port"
CONTAINER = "pytorch"
LABEL = "training.kubeflow.org/"
ROLES = ("Master", "Worker")


def replicas_of(job: Object, role: str) -> int:
    """How many replicas of a role the job wants; 0 when the role is absent."""
    spec = job["spec"]["pytorchReplicaSpecs"].get(role)
    return 0 if spec is None else int(spec.get("replicas", 1))


def nodes_of(job: Object) -> int:
    """Replicas of all roles: what torchrun calls nodes."""
    return sum(replicas_of(job, role) for role in ROLES)


def base_labels(job: Object) -> dict[str, str]:
    """The labels that select all pods of a job."""
    return {f"{LABEL}job-name": name_of(job), f"{LABEL}operator-name": "pytorchjob-controller"}


def replica_labels(job: Object, role: str, index: int | None = None) -> dict[str, str]:
    """The labels of one role's pods, or of one replica."""
    labels = base_labels(job) | {f"{LABEL}replica-type": role.lower()}
    if index is not None:
        labels[f"{LABEL}replica-index"] = str(index)
    return labels


def replica_name(job: Object, role: str, index: int) -> str:
    """The name of a replica's pod and Service: <job>-worker-0."""
    return f"{name_of(job)}-{role.lower()}-{index}"


def rendezvous_port(job: Object) -> int:
    """The port named pytorchjob-port of the pytorch container, else the default."""
    spec = job["spec"]["pytorchReplicaSpecs"].get("Master") or job["spec"]["pytorchReplicaSpecs"]["Worker"]
    container = next(one for one in spec["template"]["spec"]["containers"] if one["name"] == CONTAINER)
    return next((int(port["containerPort"]) for port in container.get("ports") or [] if port.get("name") == PORT_NAME), PORT)


def environment(job: Object, role: str, index: int) -> dict[str, str]:
    """The variables the operator adds to every container of a replica."""
    variables = {"PYTHONUNBUFFERED": "1"}
    if replicas_of(job, "Master"):
        variables |= _static_rendezvous(job, role, index)
    if job["spec"].get("elasticPolicy") is not None:
        return variables | _elastic_rendezvous(job)
    nproc = job["spec"].get("nprocPerNode")
    if nproc is not None:
        variables["PET_NPROC_PER_NODE"] = str(nproc)
    return variables | {"PET_NNODES": str(nodes_of(job))}


def _static_rendezvous(job: Object, role: str, index: int) -> dict[str, str]:
    """Master address and port, node rank and world size (replicas x processes when that is a number)."""
    address, port = replica_name(job, "Master", 0), str(rendezvous_port(job))
    nproc = str(job["spec"].get("nprocPerNode") or "auto")
    processes = int(nproc) if nproc.isdigit() else 1
    rank = str(index if role == "Master" else index + 1)
    return {
        "MASTER_PORT": port,
        "PET_MASTER_PORT": port,
        "MASTER_ADDR": address,
        "PET_MASTER_ADDR": address,
        "WORLD_SIZE": str(nodes_of(job) * processes),
        "RANK": rank,
        "PET_NODE_RANK": rank,
    }


def _elastic_rendezvous(job: Object) -> dict[str, str]:
    """What torchrun reads for an elastic job."""
    policy = job["spec"]["elasticPolicy"]
    workers = replicas_of(job, "Worker")
    host = policy.get("rdzvHost") or replica_name(job, "Worker", 0)
    variables = {
        "PET_RDZV_BACKEND": str(policy.get("rdzvBackend") or "c10d"),
        "PET_RDZV_ENDPOINT": f"{host}:{policy.get('rdzvPort') or rendezvous_port(job)}",
        "PET_RDZV_ID": str(policy.get("rdzvId") or name_of(job)),
        "PET_NNODES": f"{policy.get('minReplicas', workers)}:{policy.get('maxReplicas', workers)}",
    }
    if policy.get("rdzvConf"):
        variables["PET_RDZV_CONF"] = ",".join(f"{one['key']}={one['value']}" for one in policy["rdzvConf"])
    nproc = policy.get("nProcPerNode") or job["spec"].get("nprocPerNode")
    optional: dict[str, Any] = {"PET_NPROC_PER_NODE": nproc, "PET_MAX_RESTARTS": policy.get("maxRestarts")}
    variables |= {name: str(value) for name, value in optional.items() if value is not None}
    return variables | ({"PET_STANDALONE": ""} if policy.get("standalone") else {})


def replica_pod(job: Object, role: str, index: int) -> Object:
    """The pod of one replica."""
    spec = job["spec"]["pytorchReplicaSpecs"][role]
    pod = pod_from(spec["template"], job, replica_name(job, role, index))
    labels = pod["metadata"].setdefault("labels", {})
    labels |= replica_labels(job, role, index)
    if role == "Master" or (not replicas_of(job, "Master") and index == 0):
        labels[f"{LABEL}job-role"] = "master"
    policy = spec.get("restartPolicy", "OnFailure")
    pod["spec"]["restartPolicy"] = "Never" if policy == "ExitCode" else policy
    for container in pod["spec"]["containers"]:
        _add_environment(container, environment(job, role, index))
        if container["name"] == CONTAINER and not any(port.get("name") == PORT_NAME for port in container.get("ports") or []):
            container.setdefault("ports", []).append({"containerPort": PORT, "name": PORT_NAME, "protocol": "TCP"})
    if role == "Worker" and replicas_of(job, "Master"):
        pod["spec"].setdefault("initContainers", []).append(_wait_for_master(job))
    return pod


def _add_environment(container: Object, variables: dict[str, str]) -> None:
    """Append the variables; a PET_ one that the user set himself is left alone."""
    own = {one["name"] for one in container.get("env") or []}
    kept = {name: value for name, value in variables.items() if not (name.startswith("PET_") and name in own)}
    container["env"] = [*(container.get("env") or []), *({"name": name, "value": value} for name, value in kept.items())]


def _wait_for_master(job: Object) -> Object:
    """The worker's init container; names always resolve in the practice cluster, so it only says so."""
    resources = {"limits": {"cpu": "100m", "memory": "20Mi"}, "requests": {"cpu": "50m", "memory": "10Mi"}}
    said = f"echo SIMULATED: {replica_name(job, 'Master', 0)} resolves"
    return {"name": "init-pytorch", "image": "alpine:3.10", "command": ["sh", "-c", said], "resources": resources}


def replica_service(job: Object, role: str, index: int) -> Object:
    """The headless Service of one replica."""
    labels = replica_labels(job, role, index)
    metadata = {
        "name": replica_name(job, role, index),
        "namespace": namespace_of(job),
        "labels": labels,
        "ownerReferences": [owner_reference(job)],
    }
    port = rendezvous_port(job)
    spec = {"clusterIP": "None", "ports": [{"name": PORT_NAME, "port": port, "targetPort": port, "protocol": "TCP"}], "selector": labels}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
