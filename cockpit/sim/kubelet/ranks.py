"""The rank processes of distributed jobs: by job, by node, by GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.processes import Found

if TYPE_CHECKING:
    from cockpit.sim.kubelet.agent import Kubelet
    from cockpit.sim.kubelet.pods import PodRun


def job_runs(kubelet: Kubelet, namespace: str, job: str) -> list[PodRun]:
    """Pods of a job (PyTorchJob, TrainJob), or the one pod of that name, that are not being stopped."""
    runs = [run for run in kubelet.runs.values() if run.key[0] == namespace and not run.context.stopping.is_set()]
    return [run for run in runs if run.key[1] == job or (run.context.job is not None and run.context.job.job == job)]


def living(runs: list[PodRun]) -> list[Found]:
    """Every process of these pods, oldest first, in one look at /proc."""
    uids = {run.context.uid for run in runs}
    return [process for process in processes.find("") if process.uid in uids] if uids else []


def job_ranks(kubelet: Kubelet, namespace: str, job: str) -> dict[int, list[Found]]:
    """Global rank -> its processes, the rank itself first and its children after it."""
    ranks: dict[int, list[Found]] = {}
    for process in living(job_runs(kubelet, namespace, job)):
        if process.rank is not None:
            ranks.setdefault(process.rank, []).append(process)
    return ranks


def rank_pids(kubelet: Kubelet, namespace: str, job: str, rank: int) -> list[int]:
    """Processes of one rank of a job."""
    return [process.pid for process in job_ranks(kubelet, namespace, job).get(rank, [])]


def node_pids(kubelet: Kubelet, node: str) -> list[int]:
    """Every process of every pod on a node."""
    return [process.pid for process in living(kubelet.runs_on(node))]


def node_ranks(kubelet: Kubelet, node: str, gpu: int | None = None) -> list[Found]:
    """Rank processes on a node, or only those that drive one GPU; without torchrun ranks, the GPU's whole container."""
    found = living([run for run in kubelet.runs_on(node) if not run.context.stopping.is_set()])
    if gpu is None:
        return [process for process in found if process.rank is not None]
    holder = kubelet.gpus(node).get(gpu)
    if holder is None:
        return []
    mine = [process for process in found if process.mark.startswith(f"{holder.uid}/{holder.container}/")]
    ranks = [process for process in mine if process.rank is not None]
    return [process for process in ranks if process.environ.get("LOCAL_RANK") == str(holder.place)] if ranks else mine


def rank_place(kubelet: Kubelet, namespace: str, job: str, rank: int) -> tuple[str, int | None] | None:
    """Node and GPU index of a rank (None for a rank without GPU); None when no such rank runs."""
    found = job_ranks(kubelet, namespace, job).get(rank)
    if not found:
        return None
    uid, container, _ = found[0].mark.split("/")
    node = kubelet.runs[uid].context.node
    place = int(found[0].environ.get("LOCAL_RANK", "0"))
    for index, holder in kubelet.gpus(node).items():
        if holder.uid == uid and holder.container == container and holder.place == place:
            return node, index
    return node, None
