"""How fast the GPUs of some nodes sum a tensor together: nccl-tests where MPIJob is served, else the same sweep by torch.distributed."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Change, Clients, Column, Plan, Risk, Target, param
from actions.core.capacity import Want, gpu_nodes
from actions.core.errands import LABELS, free_name, last_line, pod_path, said, until
from actions.core.kinds import kind_of, runtime_of
from actions.core.launch_params import IMAGE
from actions.core.nccl_table import backend_of, to_row
from actions.core.render import manifest
from actions.core.sizing import Size, gibibytes, sized
from actions.core.training_jobs import FOR_GPUS, Spec, changes
from cockpit.errors import ActionFailed, BadInput, NotServed, Refused, TimedOut
from cockpit.model import Served
from cockpit.snapshot import Snapshot

MPIJOBS = "mpijobs.kubeflow.org"
NCCL_TESTS = "public.ecr.aws/hpc-cloud/nccl-tests:latest"
PERF = "/opt/nccl-tests/build/all_reduce_perf"
SIZE = re.compile(r"\d+[KMG]?")
NODES_SECONDS, POLL_SECONDS = 1800.0, 0.5
FIRST = {
    "PyTorchJob": "training.kubeflow.org/job-name={0},training.kubeflow.org/replica-type=master",
    "TrainJob": "jobset.sigs.k8s.io/jobset-name={0},batch.kubernetes.io/job-completion-index=0",
    "MPIJob": "training.kubeflow.org/job-name={0},training.kubeflow.org/job-role=launcher",
}


@dataclass(frozen=True)
class Params:
    """Over which GPUs, and which sizes."""

    nodes: int = param("how many nodes, a pod on each", 2, minimum=1)
    gpus: int | None = param("GPUs a node; by default all of the smallest GPU node's, 0 sums on CPUs", None, minimum=0)
    instance_type: str = param("EC2 instance type", "")
    nodepool: str = param("Karpenter NodePool", "", picks="nodepools")
    zone: str = param("availability zone", "")
    efa: int | None = param("EFA devices a pod; by default the type's own", None, minimum=0)
    min_bytes: str = param("smallest size, for example 8 or 1K", "8")
    max_bytes: str = param("largest size, for example 1G", "1G")
    factor: int = param("each size is this many times the one before", 2, minimum=2)
    iterations: int = param("how often each size is summed", 20, minimum=1)
    kind: str = param("MPIJob runs nccl-tests, the others torch.distributed; by default what is served", "", choices=tuple(FIRST))
    queue: str = param("Kueue LocalQueue", "", picks="queues")
    image: str = param("by default nccl-tests' own for an MPIJob, else that of launch", "")
    name: str = param("name of the job; by default one that is free", "")
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The job that measures, for as long as it runs; Refused with the arithmetic when its GPUs cannot be had."""
    for flag, text in (("--min-bytes", params.min_bytes), ("--max-bytes", params.max_bytes)):
        if not SIZE.fullmatch(text):
            raise BadInput(f"{flag} {text!r}", "a number of bytes, or one with K, M or G")
    kind, served = _kind(snapshot, params.kind)
    gpus = params.gpus if params.gpus is not None else min((node.gpu_allocatable or 0 for node in gpu_nodes(snapshot)), default=0)
    if kind == "MPIJob" and not gpus:
        raise BadInput("nccl-tests need GPUs", "--gpus N, or --kind PyTorchJob sums on CPUs")
    ranks = gpus or 1
    want = Want(params.nodes, gpus, params.instance_type, params.nodepool, "", params.zone, waits=bool(params.queue))
    size = sized(snapshot, want, ranks, params.efa)
    name = params.name or free_name(snapshot, params.namespace, "nccl-test")
    settled = dataclasses.replace(params, name=name, kind=kind, gpus=gpus)
    made = _mpijob(settled, size, served) if kind == "MPIJob" else _torch(snapshot, settled, size, kind, served)
    what = "nccl-tests" if kind == "MPIJob" else "torch.distributed: nccl on GPUs, gloo on CPUs"
    note = (
        f"{kind} {name}: {params.nodes} nodes x {ranks} ranks, {params.min_bytes} to {params.max_bytes} bytes, by {what}; removed when it is through"
    )
    return Plan(made, warnings=size.warnings, notes=(note, size.where()), simulated=size.simulated or not gpus, confirm=name, params=settled)


def _kind(snapshot: Snapshot, wanted: str) -> tuple[str, Served]:
    served: Served | None = snapshot.served.get(MPIJOBS)
    if wanted == "MPIJob" and served is None:
        raise NotServed("this cluster does not serve MPIJob", "install the MPI operator, or leave --kind out: torch.distributed measures the same")
    return ("MPIJob", served) if served is not None and wanted in ("", "MPIJob") else kind_of(snapshot, wanted)


def _selector(params: Params) -> dict[str, str]:
    chosen = {
        "node.kubernetes.io/instance-type": params.instance_type,
        "karpenter.sh/nodepool": params.nodepool,
        "topology.kubernetes.io/zone": params.zone,
    }
    return {label: value for label, value in chosen.items() if value}


def _torch(snapshot: Snapshot, params: Params, size: Size, kind: str, served: Served) -> tuple[Change, ...]:
    flags = (f"--min-bytes={params.min_bytes}", f"--max-bytes={params.max_bytes}", f"--factor={params.factor}", f"--iterations={params.iterations}")
    spec = Spec(
        name=params.name,
        namespace=params.namespace,
        strategy="nccl-test",
        image=params.image or IMAGE,
        nodes=params.nodes,
        nproc=params.gpus or 1,
        flags=flags,
        resources=size.resources(),
        node_selector=_selector(params),
        shm=gibibytes(size.shm_bytes),
        threads=size.threads,
        queue=params.queue,
        program="training.allreduce",
    )
    return changes(spec, kind, served, runtime_of(snapshot, params.namespace) if kind == "TrainJob" else None)


def _mpijob(params: Params, size: Size, served: Served) -> tuple[Change, ...]:
    ranks = params.nodes * (params.gpus or 1)
    sweep = ["-b", params.min_bytes, "-e", params.max_bytes, "-f", str(params.factor), "-n", str(params.iterations), "-g", "1"]
    mpi = ["--allow-run-as-root", "-np", str(ranks), "-N", str(params.gpus), "--bind-to", "none", "-x", "PATH", "-x", "LD_LIBRARY_PATH"]
    holes = {
        "api_version": f"{served.group}/{served.version}",
        "job": params.name,
        "namespace": params.namespace,
        "labels": LABELS | ({"kueue.x-k8s.io/queue-name": params.queue} if params.queue else {}),
        "pod_labels": LABELS,
        "gpus": params.gpus,
        "nodes": params.nodes,
        "tolerations": FOR_GPUS,
        "image": params.image or NCCL_TESTS,
        "args": [*mpi, "-x", "FI_PROVIDER=efa", "-x", "NCCL_DEBUG=WARN", PERF, *sweep],
        "node_selector": _selector(params) or None,
        "resources": size.resources(),
        "shm": gibibytes(size.shm_bytes),
    }
    target = Target("MPIJob", params.name, params.namespace, served.group, served.version, "mpijobs")
    undo = Change("kube", "delete", target, f"delete {target}", f"kubectl delete {target}")
    body = manifest("mpijob", holes)
    return (Change("kube", "create", target, f"create {target}: all_reduce_perf, {ranks} ranks", "kubectl create -f -", body, "application/json",
                   inverse=undo),)  # fmt: skip


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a size, as they are measured; ActionFailed with the last word of the first rank when it fails."""
    kube = clients.kube
    path = _first_pod(kube, params, stop)
    until(kube, path, ("Running",), stop, "the first rank", "--image names one with what the test runs", NODES_SECONDS)
    backend, found = "nccl" if params.kind == "MPIJob" else "", 0
    for text in said(kube, path, stop):
        backend = backend_of(text) or backend
        row = to_row(text)
        if row is not None:
            found += 1
            yield {"kind": "Size", "name": str(row["size_bytes"]), **row, "backend": backend or None, "simulated": kube.simulated}
    if not stop.is_set() and (until(kube, path, (), stop, "the first rank")["status"]["phase"] == "Failed" or not found):
        raise ActionFailed(f"the test failed: {last_line(kube, path)}", f"{found} sizes were measured before")


def _first_pod(kube: Any, params: Params, stop: threading.Event) -> str:
    """The path of the pod that prints the table, once the operator has made it; TimedOut when it does not."""
    selector, waited = FIRST[params.kind].format(params.name), 0.0
    while True:
        pods = kube.request("GET", f"/api/v1/namespaces/{params.namespace}/pods", params={"labelSelector": selector}).get("items") or ()
        if pods:
            return pod_path(params.namespace, pods[0]["metadata"]["name"])
        if waited >= NODES_SECONDS:
            raise TimedOut(f"no pod of {params.name} was made within {NODES_SECONDS:g} s", "a queue or a quota may hold it")
        if stop.wait(POLL_SECONDS):
            raise Refused("the test was broken off", "what was made for it is removed")
        waited += POLL_SECONDS


def verdict(found: Sequence[Mapping[str, Any]]) -> str:
    """Bad when a sum was wrong."""
    wrong = sum((one.get("wrong") or 0) + (one.get("in_place_wrong") or 0) for one in found)
    return f"{wrong} elements were summed wrongly" if wrong else ""


def line(record: Mapping[str, Any], params: Params) -> str:
    """One size, for a person."""
    way = "" if record["busbw_gigabytes_per_second"] is not None else "in_place_"
    time, bus = record[f"{way}time_us"], record[f"{way}busbw_gigabytes_per_second"]
    mark = "  SIMULATED" if record["simulated"] else ""
    return (
        f"{record['size_bytes']:>12} B  {time:>10.2f} us  busbw {bus:>8.2f} GB/s  wrong {record['in_place_wrong']}  {record['backend'] or '?'}{mark}"
    )


ACTION = Action(
    name="nccl-test",
    title="NCCL test",
    params=Params,
    risk=Risk.SPEND,
    panes=("cluster", "gpus", "efa"),
    needs=("served", "nodes", "pods", "jobs", "nodepools", "prices", "queues"),
    can_lack=("nodes", "pods", "jobs", "nodepools", "queues", "prices"),
    plan=plan,
    records=records,
    columns=(
        Column("size_bytes", "SIZE", right=True),
        Column("time_us", "TIME us", right=True),
        Column("algbw_gigabytes_per_second", "ALGBW GB/s", right=True),
        Column("busbw_gigabytes_per_second", "BUSBW GB/s", right=True),
        Column("wrong", "WRONG", right=True),
        Column("in_place_time_us", "IN PLACE us", right=True),
        Column("in_place_algbw_gigabytes_per_second", "ALGBW GB/s", right=True),
        Column("in_place_busbw_gigabytes_per_second", "BUSBW GB/s", right=True),
        Column("in_place_wrong", "WRONG", right=True),
        Column("backend", "BACKEND"),
        Column("simulated", "SIMULATED"),
    ),
    fills={"nodepool": "nodepool"},
    line=line,
    verdict=verdict,
    doc="Measures all-reduce over the GPUs of some nodes, size by size, in a job that is removed after; exit 5 when a sum was wrong.",
)
