"""Emptying nodes: which pods must go and may, the evictions in order, and what of training stops with them. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actions.core import Change, Target
from actions.core.facts import ago
from actions.core.scheduling import closing
from cockpit.errors import Refused
from cockpit.model import Checkpoint, Job, JobKey, Node, Occupant, Progress
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

SHOWN = 8


@dataclass(frozen=True)
class Rules:
    """What a drain may do, and how long it tries: `grace_period` in seconds (below 0: the pods' own), `patience` seconds an eviction."""

    grace_period: int = -1
    delete_emptydir_data: bool = False
    force: bool = False
    ignore_daemonsets: bool = True
    patience: int = 600


def emptying(snapshot: Snapshot, nodes: Sequence[Node], rules: Rules, reason: str) -> tuple[Change, ...]:
    """Close the nodes, evict their pods, wait until those are gone; Refused with every pod that needs another flag."""
    if any(not snapshot.believed("occupants") for _ in nodes):
        raise Refused("the pods on these nodes were not read yet", "plan it again")
    going = {node.name: [one for one in _on(snapshot, node) if _goes(one)] for node in nodes}
    blocked = [why for node in nodes for one in going[node.name] if (why := _blocked(one, rules))]
    if blocked:
        more = f" and {len(blocked) - SHOWN} more" if len(blocked) > SHOWN else ""
        raise Refused("; ".join(blocked[:SHOWN]) + more, "nothing was changed")
    closed = [closing(node, reason) for node in nodes if not node.cordoned]
    leaving = [one for node in nodes for one in going[node.name] if one.owner_kind != "DaemonSet"]
    first = sorted(leaving, key=lambda one: one.disruptions_allowed == 0)
    evictions = [_eviction(one, rules) for one in first if not one.deleting]
    return (*closed, *evictions, *_gone(nodes, leaving, rules))


def _on(snapshot: Snapshot, node: Node) -> list[Occupant]:
    found = [one for key in snapshot.occupants_by_node.get(node.name, ()) if (one := snapshot.occupants.get(key))]
    return sorted(found, key=lambda one: one.key)


def _goes(one: Occupant) -> bool:
    """False for what is over and for static pods, which no API can stop."""
    return one.phase not in ("Succeeded", "Failed") and not one.static


def _blocked(one: Occupant, rules: Rules) -> str:
    name = f"pod/{one.key.name} -n {one.key.namespace}"
    if one.owner_kind == "DaemonSet":
        return "" if rules.ignore_daemonsets else f"{name} is of DaemonSet {one.owner_name}, which makes it anew at once (--ignore-daemonsets)"
    if not one.owner_kind and not rules.force:
        return f"{name} has no controller that makes it anew (--force evicts it all the same)"
    if one.empty_dirs and not rules.delete_emptydir_data:
        return f"{name} keeps data in emptyDir {', '.join(one.empty_dirs)}, which is deleted with it (--delete-emptydir-data)"
    return ""


def _eviction(one: Occupant, rules: Rules) -> Change:
    target = _target(one)
    options: dict[str, Any] = {"preconditions": {"uid": one.uid}}
    if rules.grace_period >= 0:
        options["gracePeriodSeconds"] = rules.grace_period
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": one.key.name, "namespace": one.key.namespace},
        "deleteOptions": options,
    }
    line = f"kubectl create --raw {target.path()}/eviction -f -"
    before = {"uid": one.uid, "phase": one.phase, "owner": f"{one.owner_kind}/{one.owner_name}" if one.owner_kind else ""}
    return Change(
        "kube", "evict", target, f"evict {target}", line, body, "application/json", before=before, after={}, grace_seconds=max(0, rules.patience)
    )


def _target(one: Occupant) -> Target:
    return Target("Pod", one.key.name, one.key.namespace, plural="pods")


def _gone(nodes: Sequence[Node], leaving: Sequence[Occupant], rules: Rules) -> Iterator[Change]:
    for node in nodes:
        mine = [one for one in leaving if one.node == node.name]
        if mine:
            grace = rules.grace_period if rules.grace_period >= 0 else max(one.grace_seconds or 30 for one in mine)
            gone = [{"path": _target(one).path(), "namespace": one.key.namespace, "uid": one.uid} for one in mine]
            summary = f"wait until {len(mine)} pod{'s' if len(mine) > 1 else ''} of {node.name} {'have' if len(mine) > 1 else 'has'} ended"
            line = f"kubectl get pods -A --field-selector spec.nodeName={node.name} --watch"
            yield Change("kube", "wait", Target("Node", node.name, plural="nodes"), summary, line, after={"gone": gone}, grace_seconds=grace)


def warnings(snapshot: Snapshot, changes: Iterable[Change]) -> Iterator[str]:
    """What may hold the drain up."""
    evicted = {(change.target.namespace, change.target.name) for change in changes if change.verb == "evict"}
    rows = [one for one in snapshot.occupants.values() if one.key in evicted]
    if any(one.budgets is None for one in rows):
        yield "PodDisruptionBudgets may not be listed: whether one holds these pods is told when they are evicted"
    for one in sorted(rows, key=lambda row: row.key):
        if one.disruptions_allowed == 0:
            yield f"pod/{one.key.name} waits for budget {', '.join(one.budgets or ())}, which allows no disruption now"


# -- what of training stops -------------------------------------------------------------------------------------------------------------------


def stops(snapshot: Snapshot, nodes: Sequence[Node]) -> Iterator[str]:
    """One line a job with pods on these nodes: which ranks stop, and how old its last checkpoint is."""
    names = {node.name for node in nodes}
    for key in sorted({key for node in nodes for key in snapshot.jobs_on(node.name)}):
        yield f"{key.kind} {key.name} -n {key.namespace}: {_ranks(snapshot, key, names)} stop; {_saved(snapshot, key)}"


def _ranks(snapshot: Snapshot, key: JobKey, names: set[Any]) -> str:
    job: Job | None = snapshot.jobs.get(key)
    pods = snapshot.pods_of(key)
    here = [(place, pod) for place, pod in enumerate(pods) if pod.node in names and pod.phase in OCCUPYING_PHASES]
    told = ", ".join(pod.key.name for _, pod in here[:SHOWN]) + (f" and {len(here) - SHOWN} more" if len(here) > SHOWN else "")
    if job is None or not job.ranks_per_pod or len(pods) != job.pods_wanted:
        return f"the ranks of {told}"
    each = job.ranks_per_pod
    ranges = [f"{place * each}-{(place + 1) * each - 1}" if each > 1 else str(place) for place, _ in here]
    return f"ranks {', '.join(ranges)} of {job.ranks_wanted} ({told})"


def _saved(snapshot: Snapshot, key: JobKey) -> str:
    job: Job | None = snapshot.jobs.get(key)
    found: list[Checkpoint] = [one for one in snapshot.checkpoints_of(job) if one.state in ("whole", "said")] if job else []
    progress: Progress | None = snapshot.progress.get(key)
    if not found:
        return "its last checkpoint is not known" + (f", it is at step {progress.step}" if progress else "")
    last = max(found, key=lambda one: (one.at or 0.0, one.step))
    when = "of unknown age" if last.at is None else f"{ago(time.time() - last.at)} old"
    lost = f", {progress.step - last.step} steps back" if progress and progress.step >= last.step else ""
    return f"its last checkpoint is step {last.step}, {when}{lost}"
