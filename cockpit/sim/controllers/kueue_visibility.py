"""Kueue's visibility endpoint: who waits where in a queue, counted from 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cockpit.sim.controllers.kueue_scheduler import LOCAL_QUEUES, QUEUES, pending_in
from cockpit.sim.controllers.objects import Object, name_of, namespace_of
from cockpit.sim.store import ApiError

GROUP = "visibility.kueue.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
DEFAULT_LIMIT = 1000


class Visibility:
    """Answers pendingworkloads of ClusterQueues and LocalQueues."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster

    def install(self) -> None:
        """Serve both versions of the API."""
        resources = [
            {"name": "clusterqueues", "singularName": "", "namespaced": False, "kind": "ClusterQueue", "verbs": []},
            {
                "name": "clusterqueues/pendingworkloads",
                "singularName": "",
                "namespaced": False,
                "kind": "PendingWorkloadsSummary",
                "verbs": ["get"],
            },
            {"name": "localqueues", "singularName": "", "namespaced": True, "kind": "LocalQueue", "verbs": []},
            {
                "name": "localqueues/pendingworkloads",
                "singularName": "",
                "namespaced": True,
                "kind": "PendingWorkloadsSummary",
                "verbs": ["get"],
            },
        ]
        for version in VERSIONS:
            self.cluster.virtual(f"/apis/{GROUP}/{version}", _answering(self, version), resources)

    def answer(self, version: str, path: str, query: Mapping[str, str]) -> Object:
        """PendingWorkloadsSummary for clusterqueues/Q/pendingworkloads or namespaces/N/localqueues/Q/pendingworkloads; ApiError 404."""
        match path.strip("/").split("/"):
            case ["clusterqueues", name, "pendingworkloads"]:
                items = self._items(self._queue(name))
            case ["namespaces", namespace, "localqueues", name, "pendingworkloads"]:
                items = self._local_items(namespace, name)
            case _:
                raise ApiError(404, "NotFound", "the server could not find the requested resource", {})
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", DEFAULT_LIMIT))
        head = {"kind": "PendingWorkloadsSummary", "apiVersion": f"{GROUP}/{version}", "metadata": {}}
        return head | {"items": items[offset : offset + limit]}

    def _queue(self, name: str) -> Object:
        queue: Object = self.cluster.get(QUEUES, None, name)
        return queue

    def _local_items(self, namespace: str, name: str) -> list[Object]:
        local = self.cluster.get(LOCAL_QUEUES, namespace, name)
        items = self._items(self._queue(local["spec"]["clusterQueue"]))
        return [one for one in items if one["localQueueName"] == name and one["metadata"]["namespace"] == namespace]

    def _items(self, queue: Object) -> list[Object]:
        places: dict[tuple[str, str], int] = {}
        items = []
        for position, workload in enumerate(pending_in(self.cluster, queue)):
            local = (namespace_of(workload), workload["spec"]["queueName"])
            place = places[local] = places.get(local, -1) + 1
            metadata = {key: workload["metadata"][key] for key in ("creationTimestamp", "ownerReferences") if key in workload["metadata"]}
            items.append(
                {
                    "metadata": {"name": name_of(workload), "namespace": local[0], **metadata},
                    "priority": int(workload["spec"].get("priority") or 0),
                    "localQueueName": local[1],
                    "positionInClusterQueue": position,
                    "positionInLocalQueue": place,
                }
            )
        return items


def _answering(visibility: Visibility, version: str) -> Any:
    def answer(path: str, query: Mapping[str, str]) -> Object:
        return visibility.answer(version, path, query)

    return answer
