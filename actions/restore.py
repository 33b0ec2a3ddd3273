"""Restore: a job that failed, or still runs, trains on from one of its checkpoints, with the same configuration or on other ranks."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions import launch, stop
from actions.core import Action, Change, Clients, Plan, Risk, Target, param
from actions.core.choosing import check_fits, chosen, commit_order
from actions.core.faulty import faults
from actions.core.following import SOURCES
from actions.core.launch_params import LONGEST_NAME
from actions.core.launch_words import counted
from actions.core.looking import DEPTHS, Look, look_at
from actions.core.lookups import jobs_named, one_job
from actions.core.places import Place, place_of
from actions.core.predecessors import launches, parameters_of
from actions.core.scripts import script_of
from actions.core.strategies import OPTIONS, PROGRAMS, grace_of
from cockpit.errors import Refused
from cockpit.model import Checkpoint, Job, JobKey, Progress
from cockpit.rows import Rows
from cockpit.snapshot import Snapshot
from cockpit.store import Fact, Upsert

AGAIN = re.compile(r"-r\d+$")
POD_LABELS = {"PyTorchJob": "training.kubeflow.org/job-name", "TrainJob": "jobset.sigs.k8s.io/jobset-name"}
FAULTS_NAMED = 4


@dataclass(frozen=True)
class Params:
    """Which job, from which of its checkpoints, and what shall be different."""

    job: str = param("job to go on from; also one that is gone, if it was launched from this machine", picks="jobs")
    step: str = param("latest, best (the lowest loss), or a step", "latest")
    steps: int | None = param("optimizer steps in all; by default as before", None, minimum=1)
    nodes: int | None = param("pods; by default as before", None, minimum=1)
    nproc: int | None = param("ranks per pod; by default as before", None, minimum=1)
    strategy: str = param("how the ranks share the work; by default as before", "", choices=tuple(PROGRAMS))
    global_batch: int | None = param("sequences a step over all ranks; by default the checkpoint's", None, minimum=1)
    checkpoints: str = param("another place to go on from and save to: pvc:CLAIM/PATH or s3://BUCKET/PREFIX", "")
    verify: str = param("how deep to look for what is whole before; the ranks read every byte", "sampled", choices=DEPTHS)
    kind: str = param("kind of the job, where two kinds have the name", "", choices=("PyTorchJob", "TrainJob"))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The place of the job's checkpoints, and its launch out of the journal when it is gone."""
    job = _job(snapshot, params)
    known = snapshot
    if job is None:
        rows = tuple(launches(clients.kube.cluster, params.job, params.namespace))
        yield Upsert("journal", "launches", rows)
        known = dataclasses.replace(snapshot, launches=Rows.of({row.key: row for row in rows}))
    place = _place(params, _before(known, job, params))
    yield from look_at(clients, snapshot, [Look(place.key(params.namespace), job.key if job else None)], params.verify, stop)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Stop what still runs, then launch from the checkpoint; refused with the reason when it cannot be loaded."""
    job = _job(snapshot, params)
    before, sha256 = _recorded(snapshot, job, params)
    place = _place(params, before)
    one = chosen(snapshot, place.key(params.namespace), params.step)
    alive = job is not None and not snapshot.phase_of(job).over
    _check_lock(snapshot, place, params, alive)
    after = dataclasses.replace(_changed(before, params), checkpoints=place.where, resume=_resume(snapshot, one, params), kind=_kind(job, before))
    if not after.script:
        check_fits(one, after)
    picture = _without(snapshot, job.key) if job is not None and alive else snapshot
    sits_out = faults(snapshot, with_gpus=after.strategy != "amx" and after.gpus != 0)
    after = dataclasses.replace(after, name=_free_name(snapshot, params))
    made = launch.planned(picture, after, launch.Origin(params.job, sits_out))
    stopping = _stopping(snapshot, job, before) if job is not None and alive else ()
    told = (_from(one, job, alive), _lost(snapshot, one, job, alive), *_sitting_out(sits_out))
    return dataclasses.replace(
        made,
        changes=(*stopping, *made.changes),
        notes=(*(stop.dies(snapshot, job) for _ in stopping[:1] if job is not None), *told, *made.notes),
        warnings=(*made.warnings, *_doubts(one, after, sha256)),
        risk=Risk.DESTROY if stopping else None,
    )


def _job(snapshot: Snapshot, params: Params) -> Job | None:
    """The job that is there, None when it is gone."""
    if not jobs_named(snapshot, params.job, params.namespace, params.kind):
        return None
    return one_job(snapshot, params.job, params.namespace, params.kind)


def _before(snapshot: Snapshot, job: Job | None, params: Params) -> launch.Params:
    return _recorded(snapshot, job, params)[0]


def _recorded(snapshot: Snapshot, job: Job | None, params: Params) -> tuple[launch.Params, str]:
    return parameters_of(snapshot, job, params.job, params.namespace, launch.Params)


def _place(params: Params, before: launch.Params) -> Place:
    if params.checkpoints:
        return place_of(params.checkpoints)
    if before.checkpoints in ("", "none"):
        raise Refused(f"{params.job} saved no checkpoint: it was launched without a place for them", "--checkpoints names one")
    return place_of(before.checkpoints)


def _check_lock(snapshot: Snapshot, place: Place, params: Params, alive: bool) -> None:
    """Refused while somebody else writes there; the lease of a dead owner in a bucket runs out while the new job waits for it."""
    seen = snapshot.stores.get(place.key(params.namespace))
    if seen is not None and seen.writing and not alive and place.claim:
        raise Refused(f"a job that is not {params.job} writes to {place.where} now", "--action jobs shows who runs")


def _changed(before: launch.Params, params: Params) -> launch.Params:
    """The parameters of before, but for what is asked to be different; what only fits the old shape is settled anew."""
    asked = {name: getattr(params, name) for name in ("steps", "nodes", "nproc", "strategy", "global_batch")}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value}
    if given.get("nproc", before.nproc) != before.nproc:
        given |= {"gpus": None, "efa": None}
    if given.get("nodes", before.nodes) != before.nodes:
        given |= {"efa": None}
    strategy = given.get("strategy", before.strategy)
    if strategy != before.strategy:
        defaults = launch.Params()
        given |= {name: getattr(defaults, name) for name, takers in OPTIONS.items() if strategy not in takers}
        given |= {"offload": "", "gpus": None}
    return dataclasses.replace(before, **given)


def _kind(job: Job | None, before: launch.Params) -> str:
    return job.key.kind if job else before.kind


def _resume(snapshot: Snapshot, one: Checkpoint, params: Params) -> str:
    """`auto` for the last one, so that the ranks may still pass over what only they find broken; else the step, and nothing but it."""
    last = max((other for other in snapshot.checkpoints_in(one.key.store) if other.state == "whole"), key=commit_order)
    return "auto" if params.step == "latest" and last == one else str(one.step)


def _free_name(snapshot: Snapshot, params: Params) -> str:
    """J-r2, J-r3...: the old job stays for its logs, or is still on its way out."""
    taken = {key.name for key in snapshot.jobs if key.namespace == params.namespace}
    stem = AGAIN.sub("", params.job)
    numbers = (f"-r{number}" for number in range(2, len(taken) + 4))
    return next(name for end in numbers if (name := stem[: LONGEST_NAME - len(end)].rstrip("-") + end) not in taken | {params.job})


def _without(snapshot: Snapshot, key: JobKey) -> Snapshot:
    """The picture once that job is stopped: its pods hold no GPU, its place is free."""
    pods = Rows.of({pod.key: pod for pod in snapshot.pods.values() if pod.job != key})
    jobs = Rows.of({job.key: job for job in snapshot.jobs.values() if job.key != key})
    return dataclasses.replace(snapshot, pods=pods, jobs=jobs)


def _stopping(snapshot: Snapshot, job: Job, before: launch.Params) -> tuple[Change, ...]:
    """Delete it, and wait until its pods are gone: they hold the lock of the place and the GPUs."""
    selector = f"{POD_LABELS[job.key.kind]}={job.key.name}"
    pods = Target("Pod", "", job.key.namespace, plural="pods")
    line = f"kubectl wait --for=delete pod -l {selector} -n {job.key.namespace}"
    gone = Change(
        "kube",
        "wait",
        pods,
        f"wait until the pods of {job.key.name} have saved and are gone",
        line,
        selector=selector,
        grace_seconds=grace_of(before),
    )
    return (*stop.deletions(job), *_given_up(snapshot, job), gone)


def _given_up(snapshot: Snapshot, job: Job) -> Iterator[Change]:
    """Pods on nodes that do not answer are taken off the API by force: nobody there will ever say that they have ended."""
    for pod in snapshot.pods_of(job.key):
        node = snapshot.nodes.get(pod.node) if pod.node else None
        if node is not None and node.ready is False:
            target = Target("Pod", pod.key.name, pod.key.namespace, plural="pods")
            line = f"kubectl delete {target} --force --grace-period=0"
            yield Change("kube", "delete", target, f"give up {target}: node {node.name} does not answer", line, grace_seconds=0)


def _from(one: Checkpoint, job: Job | None, alive: bool) -> str:
    world = f", saved by {one.world_size} ranks" if one.world_size else ""
    loss = "" if one.loss is None else f", loss {one.loss:.4f}"
    later = ", or from what it saves as it is stopped" if alive else ""
    return f"trains on from step {one.step} of {one.store}{later} ({one.strategy or 'unknown strategy'}{world}{loss}, {one.verified} verified)"


def _lost(snapshot: Snapshot, one: Checkpoint, job: Job | None, alive: bool) -> str:
    """The steps and minutes between the checkpoint and the end."""
    progress: Progress | None = snapshot.progress.get(job.key) if job else None
    if progress is None:
        return "how many steps are lost is not known: no log tells the last one"
    steps = max(0, progress.step - one.step)
    minutes = "" if not steps or progress.at is None or one.at is None else f", {max(0.0, progress.at - one.at) / 60:.1f} minutes"
    most = "at most " if alive else ""
    return f"lost: {most}{counted(steps, 'step')}{minutes} (it had come to step {progress.step})"


def _sitting_out(faulty: dict[str, str]) -> Iterator[str]:
    if faulty:
        told = "; ".join(f"{node} ({why})" for node, why in list(faulty.items())[:FAULTS_NAMED])
        more = f" and {len(faulty) - FAULTS_NAMED} more" if len(faulty) > FAULTS_NAMED else ""
        yield f"sits out {told}{more}"


def _doubts(one: Checkpoint, after: launch.Params, sha256: str) -> Iterator[str]:
    script = script_of(after.script, after.script_args, {})
    if script is not None:
        yield f"whether {script.name} can load it is not checked here"
        if sha256 and script.sha256 != sha256:
            yield f"{script.path} is not what it was when the job was launched"
    elif one.model and one.model != after.model:
        yield f"the checkpoint says its model is {one.model}, the job's is {after.model}: the ranks compare the shapes"


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why nothing can be restored here; None while it is not known."""
    return launch.disabled(snapshot, None)


ACTION = Action(
    name="restore",
    title="Restore",
    key="R",
    params=Params,
    risk=Risk.SPEND,
    panes=("jobs",),
    needs=("served", "nodes", "pods", "jobs", "nodepools", "queues", "prices", "volumeclaims", "gpus", "progress"),
    can_lack=("nodes", "pods", "nodepools", "nodeclaims", "queues", "events", "progress", "volumeclaims", "gpus"),
    look=look,
    plan=plan,
    disabled=disabled,
    fills={"job": "job", "checkpoint": "step"},
    follow=launch.follow,
    follow_needs=SOURCES,
    explain=launch.explain,
    doc="Launches a job again from one of its checkpoints, on the same or other ranks, away from faulty nodes; what still runs is stopped first.",
)
