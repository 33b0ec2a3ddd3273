"""Give an elastic job more or fewer workers."""

from __future__ import annotations

from dataclasses import dataclass

from actions.core import Action, Change, Plan, Risk, param
from actions.core.lookups import one_job
from actions.core.suspension import held, patch_line, pods_alive, require_unfinished, target_of
from cockpit.errors import BadInput, Disabled
from cockpit.model import Job
from cockpit.snapshot import Snapshot

TRAINJOBS = "trainjobs.trainer.kubeflow.org"


@dataclass(frozen=True)
class Params:
    """Which job, and how many."""

    job: str = param("job to scale", picks="jobs")
    workers: int | None = param("how many workers (PyTorchJob), or nodes (TrainJob)", minimum=1)
    kind: str = param("its kind, where two kinds have the name", "", choices=("PyTorchJob", "TrainJob"))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch; Disabled with the reason where the job's kind, its rendezvous or its queue does not allow it."""
    job = one_job(snapshot, params.job, params.namespace, params.kind)
    wanted = int(params.workers or 0)
    require_unfinished(snapshot, job)
    if job.queue:
        hint = f"restore --job {job.key.name} --nodes {wanted}, or launch it anew"
        raise Disabled(f"Kueue holds quota for the pods {job.key.name} has in the queue {job.queue}; they cannot become more or fewer", hint)
    return _trainjob(snapshot, job, wanted) if job.key.kind == "TrainJob" else _pytorchjob(snapshot, job, wanted)


def _pytorchjob(snapshot: Snapshot, job: Job, wanted: int) -> Plan:
    if job.workers is None:
        raise Disabled(f"{job.key.name} has a master and no workers", f"restore --job {job.key.name} --nodes {wanted + 1} goes on with more")
    waits = held(snapshot, job) and not pods_alive(snapshot, job)
    if job.elastic is None and not waits:
        why = "its ranks met for a fixed world size (no elasticPolicy), and a rank more or less would never be waited for"
        raise Disabled(f"{job.key.name} cannot be scaled while it runs: {why}", f"suspend it first, or restore --job {job.key.name} --nodes N")
    if job.elastic is not None and not job.elastic[0] <= wanted <= job.elastic[1]:
        raise BadInput(f"--workers {wanted}: {job.key.name} may have {job.elastic[0]} to {job.elastic[1]}", "its elasticPolicy says so")
    if wanted == job.workers:
        return Plan(already=f"{job.key.name} already has {wanted} workers")
    warnings = () if waits else ("every rank leaves and meets again: it goes on from its last checkpoint",)
    return Plan((_change(job, job.workers, wanted, "worker", {"pytorchReplicaSpecs": {"Worker": {}}}, "replicas"),), warnings=warnings)


def _trainjob(snapshot: Snapshot, job: Job, wanted: int) -> Plan:
    served = snapshot.served.get(TRAINJOBS)
    hint = f"restore --job {job.key.name} --nodes {wanted} goes on with that many"
    if served is None or "spec.runtimePatches" in served.fields:
        raise Disabled(f"{job.key.name} cannot be scaled: spec.trainer of a TrainJob is immutable in the version this cluster serves", hint)
    if not held(snapshot, job) or pods_alive(snapshot, job):
        raise Disabled(
            f"{job.key.name} cannot be scaled while it runs: its JobSet is immutable until it is suspended", "suspend it first; or " + hint
        )
    if wanted == job.pods_wanted:
        return Plan(already=f"{job.key.name} already has {wanted} nodes")
    return Plan((_change(job, job.pods_wanted, wanted, "node", {"trainer": {}}, "numNodes"),))


def _change(job: Job, before: int | None, wanted: int, what: str, spec: dict[str, dict[str, object]], field: str) -> Change:
    """The patch of one number deep in the spec, and back."""
    target = target_of(job)
    body, back = _filled(spec, field, wanted), _filled(spec, field, before)
    summary = f"scale {job.key.kind} {job.key.name} from {'?' if before is None else before} to {wanted} {what}s"
    inverse = Change("kube", "patch", target, f"scale {job.key.name} back to {before}", patch_line(target, back), {"spec": back})
    return Change(
        via="kube",
        verb="patch",
        target=target,
        summary=summary,
        line=patch_line(target, body),
        body={"spec": body},
        resource_version=job.resource_version,
        before={field: before},
        after={field: wanted},
        inverse=None if before is None else inverse,
    )


def _filled(spec: dict[str, dict[str, object]], field: str, value: int | None) -> dict[str, object]:
    """`spec` with the number in its innermost mapping."""
    ((outer, inner),) = spec.items()
    if not inner:
        return {outer: {field: value}}
    ((role, _),) = inner.items()
    return {outer: {role: {field: value}}}


ACTION = Action(
    name="scale",
    title="Scale",
    key="W",
    params=Params,
    risk=Risk.CHANGE,
    panes=("jobs",),
    needs=("jobs", "pods", "queues", "served"),
    can_lack=("queues",),
    plan=plan,
    fills={"job": "job"},
    doc="Gives an elastic PyTorchJob more or fewer workers; other jobs while they are suspended, as far as their kind allows, else it says why not.",
)
