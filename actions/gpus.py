"""The GPUs as DCGM reports them, with the pod and job that hold each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import rfc3339
from cockpit.model import Gpu, Pod
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which GPUs."""

    node: str = param("only GPUs of this node", "", picks="nodes")
    job: str = param("only GPUs of this job", "", picks="jobs")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a GPU, by node and index; a reading DCGM does not give is null."""
    for gpu in sorted(snapshot.gpus.values(), key=lambda gpu: (gpu.key.node, gpu.index)):
        pod: Pod | None = snapshot.pods.get(gpu.pod) if gpu.pod else None
        job = pod.job.name if pod and pod.job else None
        if (not params.node or gpu.key.node == params.node) and (not params.job or job == params.job):
            yield _record(gpu, job)


def _record(gpu: Gpu, job: str | None) -> dict[str, Any]:
    return {
        "kind": "Gpu",
        "name": f"{gpu.key.node}/{gpu.index}",
        "node": gpu.key.node,
        "index": gpu.index,
        "uuid": gpu.uuid or None,
        "model": gpu.model or None,
        "namespace": gpu.pod.namespace if gpu.pod else None,
        "pod": gpu.pod.name if gpu.pod else None,
        "job": job,
        "utilisation_percent": gpu.utilisation_percent,
        "tensor_active_ratio": gpu.tensor_active_ratio,
        "memory_used_bytes": gpu.memory_used_bytes,
        "memory_total_bytes": gpu.memory_total_bytes,
        "temperature_celsius": gpu.temperature_celsius,
        "power_watts": gpu.power_watts,
        "sm_clock_mhz": gpu.sm_clock_mhz,
        "xid": gpu.xid,
        "xid_count": gpu.xid_count,
        "throttle": gpu.throttle or None,
        "at": rfc3339(gpu.at),
        "simulated": gpu.simulated,
    }


ACTION = Action(
    name="gpus",
    title="GPUs",
    params=Params,
    needs=("nodes", "pods", "gpus"),
    records=records,
    columns=(
        Column("node", "NODE"),
        Column("index", "GPU", right=True),
        Column("utilisation_percent", "UTIL", right=True),
        Column("tensor_active_ratio", "TENSOR", right=True),
        Column("memory_used_bytes", "MEMORY", right=True),
        Column("temperature_celsius", "TEMP", right=True),
        Column("power_watts", "POWER", right=True),
        Column("xid", "XID", right=True),
        Column("throttle", "THROTTLE"),
        Column("job", "JOB"),
        Column("pod", "POD"),
        Column("model", "MODEL", wide=True),
        Column("uuid", "UUID", wide=True),
        Column("sm_clock_mhz", "SM CLOCK", right=True, wide=True),
    ),
    doc="One record a GPU, read from the DCGM exporter of its node through the API server.",
)
