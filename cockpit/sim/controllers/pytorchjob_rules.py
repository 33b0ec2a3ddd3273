"""What the training-operator refuses, how it keeps a PyTorchJob's conditions, and when a job is over. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cockpit.sim.controllers import pytorchjob_pods as shapes
from cockpit.sim.controllers.objects import Object, labels_of, name_of, seconds_since, status_of
from cockpit.sim.controllers.pods import exit_codes, phase_of
from cockpit.sim.controllers.webhooks import denied, is_dns_1035

WEBHOOK = "validator.pytorchjob.training-operator.kubeflow.org"
RETRYABLE = range(128, 256)
"""Exit codes that restartPolicy ExitCode retries; 1-127 are permanent."""
EXCLUSIVE = {"Running": "Restarting", "Restarting": "Running"}


def refuse(verb: str, job: Object, old: Object | None) -> None:
    """The validating webhook; ApiError 403 when the spec breaks a rule."""
    if verb == "DELETE":
        return
    errors = faults_of(job)
    if errors:
        raise denied(WEBHOOK, errors)


def faults_of(job: Mapping[str, Any]) -> list[str]:
    """Every rule that a PyTorchJob breaks."""
    name = str(job["metadata"].get("name") or "")
    errors = []
    if name and not is_dns_1035(name):
        errors.append(
            f"metadata.name: Invalid value: \"{name}\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character"
        )
    roles = (job.get("spec") or {}).get("pytorchReplicaSpecs") or {}
    if not roles:
        errors.append("spec.pytorchReplicaSpecs: Required value: must be specified")
    for role, spec in roles.items():
        errors += _role_faults(role, spec or {})
    return errors + _elastic_faults(job.get("spec") or {}, roles)


def _role_faults(role: str, spec: Mapping[str, Any]) -> list[str]:
    path = f"spec.pytorchReplicaSpecs[{role}]"
    if role not in shapes.ROLES:
        return [f'{path}: Unsupported value: "{role}": supported values: "Master", "Worker"']
    if role == "Master" and int(spec.get("replicas", 1)) != 1:
        return [f"{path}.replicas: Forbidden: must be 1"]
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    if not containers:
        return [f"{path}.template.spec.containers: Required value: must be specified"]
    if not any(container.get("name") == shapes.CONTAINER for container in containers):
        return [f"{path}.template.spec.containers: Required value: must have at least one container with name pytorch"]
    return []


def _elastic_faults(spec: Mapping[str, Any], roles: Mapping[str, Any]) -> list[str]:
    policy = spec.get("elasticPolicy")
    if policy is None:
        return []
    errors = [] if "Worker" in roles else ["spec.elasticPolicy: Forbidden: elasticPolicy needs a Worker replica"]
    if policy.get("nProcPerNode") is not None and spec.get("nprocPerNode") is not None:
        errors.append("spec.elasticPolicy.nProcPerNode: Forbidden: must not be used with spec.nprocPerNode")
    return errors


def job_condition(conditions: Sequence[Object], kind: str, status: str, reason: str, message: str, now: str) -> list[Object]:
    """The conditions with one set, the newest last; Running and Restarting drive each other out."""
    old = next((one for one in conditions if one["type"] == kind), None)
    if old and (old["status"], old["reason"], old["message"]) == (status, reason, message):
        return list(conditions)
    moved = old is None or old["status"] != status
    since = now if old is None or moved else old["lastTransitionTime"]
    new = {"type": kind, "status": status, "reason": reason, "message": message, "lastUpdateTime": now, "lastTransitionTime": since}
    gone = {kind, EXCLUSIVE.get(kind)} if status == "True" else {kind}
    return [*(one for one in conditions if one["type"] not in gone), new]


def verdict_on(job: Object, pods: Sequence[Object], now: str) -> tuple[str, str] | None:
    """(Succeeded or Failed, message) when the job is over, else None."""
    name, policy = name_of(job), job["spec"].get("runPolicy") or {}
    deadline = policy.get("activeDeadlineSeconds")
    if deadline is not None and seconds_since(status_of(job).get("startTime"), now) >= float(deadline):
        return "Failed", f"Job {name} has failed because it was active longer than specified deadline"
    limit = policy.get("backoffLimit")
    if limit is not None and restarts_of(pods) > int(limit):
        return "Failed", f"Job {name} has failed because it has reached the specified backoff limit"
    return _by_role(job, pods)


def restarts_of(pods: Sequence[Object]) -> int:
    """Container restarts that the kubelet made in place, over all pods."""
    return sum(int(one.get("restartCount", 0)) for pod in pods for one in status_of(pod).get("containerStatuses") or [])


def _by_role(job: Object, pods: Sequence[Object]) -> tuple[str, str] | None:
    """Failed when a replica has failed for good; Succeeded when the master, or without one every worker, has."""
    roles = job["spec"]["pytorchReplicaSpecs"]
    for role in roles:
        failed = sum(1 for pod in _of_role(pods, role) if phase_of(pod) == "Failed" and not may_retry(job, pod))
        if failed:
            return "Failed", f"PyTorchJob {name_of(job)} is failed because {failed} {role} replica(s) failed."
    leader = "Master" if "Master" in roles else "Worker"
    done = sum(1 for pod in _of_role(pods, leader) if phase_of(pod) == "Succeeded")
    if done and done >= shapes.replicas_of(job, leader):
        return "Succeeded", f"PyTorchJob {name_of(job)} is successfully completed."
    return None


def _of_role(pods: Sequence[Object], role: str) -> list[Object]:
    return [pod for pod in pods if labels_of(pod).get(f"{shapes.LABEL}replica-type") == role.lower()]


def role_of(pod: Object) -> str:
    """Master or Worker."""
    return labels_of(pod).get(f"{shapes.LABEL}replica-type", "").capitalize()


def may_retry(job: Object, pod: Object) -> bool:
    """Whether the operator makes a failed pod anew: always, unless its role says Never, or ExitCode and the code is a permanent one."""
    policy = (job["spec"]["pytorchReplicaSpecs"].get(role_of(pod)) or {}).get("restartPolicy", "OnFailure")
    if policy == "ExitCode":
        return any(code in RETRYABLE for code in exit_codes(pod, shapes.CONTAINER))
    return policy != "Never"
