"""Launch a distributed training job: what it needs, where it fits, what it costs, then the job in the shape the cluster takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from actions.core import Action, Clients, Outcome, Plan, Risk, as_json, nccl, params_of, tokens
from actions.core.capacity import Want, dollars_per_hour, gpu_nodes, types_of
from actions.core.estimates import estimate_of, fits, too_big
from actions.core.following import SOURCES, last_words, to_the_end
from actions.core.kinds import KINDS, kind_of, runtime_of
from actions.core.launch_params import Origin, Params, check, check_place, free_name
from actions.core.launch_words import headline, lacking, not_avoided, price, quota, saves, shape, spans, unchecked
from actions.core.manifest_files import planned_from, saving
from actions.core.manifest_sizes import priced
from actions.core.places import Place, settled
from actions.core.preflight import judged
from actions.core.render import training_files
from actions.core.scripts import SCRIPT_SHA256, Script, script_of
from actions.core.shared_memory import shm_bytes
from actions.core.sizing import Size, gibibytes, sized
from actions.core.strategies import flags_of, grace_of
from actions.core.training_jobs import Spec, changes, override_of
from cockpit.instance_types import instance_types
from cockpit.model import Served
from cockpit.snapshot import Snapshot


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why nothing can be launched here; None while it is not known."""
    if not snapshot.believed("served") or any(resource in snapshot.served for resource in KINDS.values()):
        return None
    return "this cluster serves neither PyTorchJob nor TrainJob; install the Kubeflow training-operator or Trainer"


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The plan of one launch; Refused with the arithmetic when its GPUs cannot be had."""
    return planned(snapshot, params, Origin())


def planned(snapshot: Snapshot, params: Params, origin: Origin) -> Plan:
    """The plan of one launch that goes on from `origin`, which may be nothing; written into a file where one is named."""
    found = _from_file(snapshot, params) if params.file else _configured(snapshot, params, origin)
    found = dataclasses.replace(found, warnings=(*found.warnings, *judged(found.changes, snapshot)))
    return saving(found, params.save) if params.save else found


def _from_file(snapshot: Snapshot, params: Params) -> Plan:
    made, settled_params = planned_from(snapshot, params)
    return dataclasses.replace(priced(snapshot, made), params=settled_params, confirm=settled_params.name)


def _configured(snapshot: Snapshot, params: Params, origin: Origin) -> Plan:
    kind, served = kind_of(snapshot, params.kind)
    runtime = runtime_of(snapshot, params.namespace) if kind == "TrainJob" else None
    params = dataclasses.replace(params, name=params.name or free_name(snapshot, params), kind=kind)
    check(snapshot, params)
    place = settled(snapshot, params.checkpoints, params.namespace, params.name, params.nodes)
    check_place(snapshot, params, place)
    script = script_of(params.script, params.script_args, training_files())
    size = sized(snapshot, _wants(snapshot, params, origin), params.nproc, params.efa, shm_bytes=shm_bytes(params))
    given = dataclasses.replace(params, checkpoints=place.where or "none", script=script.path if script else "")
    params = dataclasses.replace(given, gpus=size.want.gpus, efa=size.efa)
    dollars, invented = dollars_per_hour(snapshot, size.want, size.places) if size.want.gpus and size.whole else (None, False)
    saving = (saves(params, place),) if place.where else ()
    made = changes(_spec(given, size, place, script, origin, served), kind, served, runtime)
    return Plan(
        (*tokens.creation(params), *made),
        warnings=(*_warnings(snapshot, params, size, place, script), *not_avoided(kind, served, origin)),
        notes=(
            headline(params, size),
            size.where(),
            price(dollars, invented or size.simulated, size),
            *saving,
            *_notes(snapshot, params, size, origin),
        ),
        dollars_per_hour=dollars,
        simulated=size.simulated,
        confirm="" if size.simulated else params.name,
        params=params,
    )


def _warnings(snapshot: Snapshot, params: Params, size: Size, place: Place, script: Script | None) -> Iterator[str]:
    """What may go badly."""
    yield from size.warnings
    yield from too_big(estimate_of(params, size.want.gpus), size, params)
    yield from unchecked(snapshot, params, size)
    yield from lacking(params, place, script)


def _notes(snapshot: Snapshot, params: Params, size: Size, origin: Origin) -> Iterator[str]:
    """What is known of memory, quota, shape, token and network; of a restored job memory and shape were chosen before."""
    if not origin.job:
        yield from fits(estimate_of(params, size.want.gpus), size)
        yield from shape(params, size)
    yield from quota(snapshot, params, size)
    yield from spans(snapshot, params, size)
    yield from tokens.note(params)
    yield from nccl.explained(params.nccl, size.efa, size.want.gpus)


def _wants(snapshot: Snapshot, params: Params, origin: Origin) -> Want:
    """The GPUs asked for; by default one a rank where the cluster has GPUs, a NodePool can bring some, or nodes may not be listed."""
    gpus = 0 if params.strategy == "amx" else params.gpus
    if gpus is None:
        has_gpus = (
            snapshot.forbidden("nodes") or bool(gpu_nodes(snapshot)) or any(types_of(pool, instance_types()) for pool in snapshot.nodepools.values())
        )
        gpus = params.nproc if has_gpus else 0
    return Want(
        params.nodes,
        gpus,
        params.instance_type,
        params.nodepool,
        params.capacity_type,
        params.zone,
        waits=bool(params.queue),
        avoid=frozenset(origin.avoid),
    )


def _spec(params: Params, size: Size, place: Place, script: Script | None, origin: Origin, served: Served) -> Spec:
    near = size.one_zone and not params.zone
    pinned = size.zone if near and params.kind == "TrainJob" and override_of(served) == "podSpecOverrides" else ""
    chosen = {
        "node.kubernetes.io/instance-type": params.instance_type,
        "karpenter.sh/nodepool": params.nodepool,
        "karpenter.sh/capacity-type": params.capacity_type,
        "topology.kubernetes.io/zone": params.zone or pinned,
        "kubernetes.io/arch": "amd64" if params.strategy == "amx" else "",
    }
    return Spec(
        name=params.name,
        namespace=params.namespace,
        strategy=params.strategy,
        image=params.image,
        nodes=params.nodes,
        nproc=params.nproc,
        flags=flags_of(params, place),
        resources=size.resources(),
        node_selector={label: value for label, value in chosen.items() if value},
        shm=gibibytes(size.shm_bytes),
        threads=size.threads,
        queue=params.queue,
        max_restarts=params.max_restarts,
        max_job_restarts=params.max_restarts if params.max_job_restarts is None else params.max_job_restarts,
        priority=params.priority,
        grace_seconds=grace_of(params),
        place=place,
        script=script,
        resume=params.resume,
        avoid=tuple(sorted(origin.avoid)),
        annotations=_annotations(params, place, script, origin),
        hf_secret=tokens.secret_name(params),
        nccl=nccl.variables(params.nccl),
        one_zone=near,
    )


def _annotations(params: Params, place: Place, script: Script | None, origin: Origin) -> dict[str, str]:
    """What restore and the views read on the job: its steps, its place, where it came from, and the parameters that made it."""
    chosen = {one.name: getattr(params, one.name) for one in params_of(Params) if getattr(params, one.name) != one.default}
    kept = {name: value for name, value in chosen.items() if name not in ("name", "namespace", "save", *tokens.UNRECORDED)}
    kept |= {"hf_secret": tokens.secret_name(params)} if tokens.source_of(params) else {}
    kept |= {SCRIPT_SHA256: script.sha256} if script else {}
    found = {
        "cockpit.dev/steps": "" if script else str(params.steps),
        "cockpit.dev/checkpoints": place.where,
        "cockpit.dev/restored-from": origin.job,
        "cockpit.dev/launch": as_json(kept),
    }
    return {name: value for name, value in found.items() if value}


def follow(snapshot: Snapshot, params: Params) -> Outcome:
    """How the launched job stands; a manifest that was only written is there at once."""
    if params.save:
        return Outcome(True, result={"saved": params.save})
    return to_the_end(snapshot, params.namespace, params.name, params.kind)


def explain(clients: Clients, snapshot: Snapshot, params: Params) -> str:
    """The last words of the pod that failed."""
    return last_words(clients, snapshot, params.namespace, params.name, params.kind)


ACTION = Action(
    name="launch",
    title="Launch",
    key="l",
    params=Params,
    risk=Risk.SPEND,
    panes=("cluster", "nodepools", "jobs", "gpus", "efa"),
    needs=("served", "nodes", "pods", "jobs", "nodepools", "queues", "prices", "volumeclaims"),
    can_lack=("nodes", "pods", "jobs", "nodepools", "nodeclaims", "queues", "events", "progress", "volumeclaims"),
    plan=plan,
    disabled=disabled,
    follow=follow,
    follow_needs=SOURCES,
    explain=explain,
    doc="Launches a training job; on a real cluster it spends and asks for --yes, where the GPUs are SIMULATED it does not.",
)
