"""Kueue's queues: quota used of nominal, what waits, and why it is not admitted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from cockpit.model import Queue, Quota, Workload
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which queue."""

    queue: str = param("only the queues of this name", "", picks="queues")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a queue: ClusterQueues first, then LocalQueues by namespace."""
    for queue in sorted(snapshot.queues.values(), key=lambda queue: queue.key):
        if not params.queue or queue.key.name == params.queue:
            yield _record(snapshot, queue)


def _record(snapshot: Snapshot, queue: Queue) -> dict[str, Any]:
    local = bool(queue.key.namespace)
    quotas = queue.quotas
    if local and not quotas:
        above = snapshot.queues.get(type(queue.key)("", queue.cluster_queue))
        quotas = above.quotas if above else ()
    waiting = [work for work in snapshot.workloads.values() if not work.admitted and not work.finished and _belongs(work, queue)]
    return {
        "kind": "LocalQueue" if local else "ClusterQueue",
        "namespace": queue.key.namespace or None,
        "name": queue.key.name,
        "cluster_queue": queue.cluster_queue or None,
        "active": queue.active,
        "reason": queue.reason or None,
        "pending": queue.pending,
        "admitted": queue.admitted,
        "quotas": [_quota(quota) for quota in quotas],
        "gpu_used": _total(quotas, "used"),
        "gpu_nominal": _total(quotas, "nominal"),
        "waiting": [_waiting(work) for work in sorted(waiting, key=lambda work: (work.position or 1 << 30, work.key))],
    }


def _belongs(work: Workload, queue: Queue) -> bool:
    if queue.key.namespace:
        return work.queue == queue.key.name and work.key.namespace == queue.key.namespace
    return work.cluster_queue == queue.key.name


def _quota(quota: Quota) -> dict[str, Any]:
    return {"flavor": quota.flavor, "resource": quota.resource, "used": quota.used, "nominal": quota.nominal}


def _total(quotas: tuple[Quota, ...], field: str) -> float | None:
    found = [getattr(quota, field) for quota in quotas if quota.resource == "nvidia.com/gpu"]
    return sum(found) if found else None


def _waiting(work: Workload) -> dict[str, Any]:
    return {
        "namespace": work.key.namespace,
        "workload": work.key.name,
        "position": work.position,
        "reason": work.reason or None,
        "message": work.message or None,
    }


ACTION = Action(
    name="queues",
    title="Queues",
    params=Params,
    needs=("queues",),
    records=records,
    columns=(
        Column("kind", "KIND"),
        Column("namespace", "NAMESPACE"),
        Column("name", "QUEUE"),
        Column("cluster_queue", "CLUSTER QUEUE"),
        Column("pending", "PENDING", right=True),
        Column("admitted", "ADMITTED", right=True),
        Column("gpu_used", "GPU USED", right=True),
        Column("gpu_nominal", "GPU QUOTA", right=True),
        Column("active", "ACTIVE"),
        Column("reason", "REASON"),
    ),
    doc="ClusterQueues and LocalQueues with quota, and every waiting workload with its position and Kueue's own reason.",
)
