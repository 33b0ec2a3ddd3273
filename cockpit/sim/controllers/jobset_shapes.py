"""The Jobs and the Service of a JobSet: names, labels, annotations and subdomain. Pure."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from cockpit.sim.controllers.objects import Object, name_of, namespace_of, owner_reference, status_of

PREFIX = "jobset.sigs.k8s.io/"


def child_jobs(jobset: Object) -> list[tuple[Object, int]]:
    """Every (replicated job, index) of a set, in order."""
    replicated = jobset["spec"].get("replicatedJobs") or []
    return [(one, index) for one in replicated for index in range(int(one.get("replicas", 1)))]


def set_labels(jobset: Object, replicated: Object, index: int) -> dict[str, str]:
    """The jobset.sigs.k8s.io labels (and annotations) of one child Job and its pods."""
    every = child_jobs(jobset)
    place = next(at for at, (one, number) in enumerate(every) if one["name"] == replicated["name"] and number == index)
    job = f"{name_of(jobset)}-{replicated['name']}-{index}"
    key = hashlib.sha1(f"{namespace_of(jobset)}/{job}".encode(), usedforsecurity=False).hexdigest()
    group = str(replicated.get("groupName") or "default")
    mates = [one for one in every if str(one[0].get("groupName") or "default") == group]
    held: dict[str, Any] = {
        "jobset-name": name_of(jobset),
        "jobset-uid": jobset["metadata"].get("uid", ""),
        "replicatedjob-name": replicated["name"],
        "replicatedjob-replicas": replicated.get("replicas", 1),
        "job-index": index,
        "job-global-index": place,
        "global-replicas": len(every),
        "job-key": key,
        "restart-attempt": status_of(jobset).get("restarts") or 0,
        "group-name": group,
        "group-replicas": len(mates),
        "job-group-index": next(at for at, one in enumerate(mates) if one[0]["name"] == replicated["name"] and one[1] == index),
    }
    return {f"{PREFIX}{name}": str(value) for name, value in held.items()}


def child_job(jobset: Object, replicated: Object, index: int) -> Object:
    """One Job of the set, Indexed unless its template says otherwise."""
    template = copy.deepcopy(replicated["template"])
    spec = template.get("spec") or {}
    spec.setdefault("completionMode", "Indexed")
    labels = set_labels(jobset, replicated, index)
    metadata = template.get("metadata") or {}
    pod = spec.setdefault("template", {})
    pod_metadata = pod.setdefault("metadata", {})
    pod_metadata["labels"] = {**(pod_metadata.get("labels") or {}), **labels}
    pod_metadata["annotations"] = {**(pod_metadata.get("annotations") or {}), **labels}
    pod.setdefault("spec", {}).setdefault("restartPolicy", "OnFailure")
    network = jobset["spec"].get("network") or {}
    if network.get("enableDNSHostnames", True):
        pod["spec"]["subdomain"] = network.get("subdomain") or name_of(jobset)
    spec["suspend"] = bool(jobset["spec"].get("suspend"))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{name_of(jobset)}-{replicated['name']}-{index}",
            "namespace": namespace_of(jobset),
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": {**(metadata.get("annotations") or {}), **labels},
            "ownerReferences": [owner_reference(jobset)],
        },
        "spec": spec,
    }


def headless_service(jobset: Object, subdomain: str) -> Object:
    """The Service that gives the set's pods their names."""
    network = jobset["spec"].get("network") or {}
    labels = {f"{PREFIX}jobset-name": name_of(jobset)}
    metadata = {
        "name": subdomain,
        "namespace": namespace_of(jobset),
        "labels": labels,
        "ownerReferences": [owner_reference(jobset)],
    }
    early = network.get("publishNotReadyAddresses", True)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": "None", "selector": labels, "publishNotReadyAddresses": early},
    }
