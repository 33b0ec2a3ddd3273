"""Names a person typed, found in the picture, or the nearest one that is there."""

from __future__ import annotations

from collections.abc import Iterable

from actions.core.params import nearest
from cockpit.errors import BadInput
from cockpit.model import Job, Node, NodeName
from cockpit.snapshot import Snapshot

NAMES_SHOWN = 8


def closest(word: str, words: Iterable[str], what: str) -> str:
    """A hint for a name that is not there: the closest one, or the first few."""
    known = sorted(words)
    begins = [name for name in known if word and (name.startswith(word) or word in name)]
    hint = f"did you mean {begins[0]}?" if begins else nearest(word, known)
    if hint.startswith("did you mean"):
        return hint
    if not known:
        return f"there are no {what}"
    more = f" and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return f"{what}: {', '.join(known[:NAMES_SHOWN])}{more}"


def nodes_named(snapshot: Snapshot, names: Iterable[str]) -> list[Node]:
    """Those nodes, each once, in the order given; BadInput with the nearest name when one is not there."""
    found = []
    for name in dict.fromkeys(names):
        node = snapshot.nodes.get(NodeName(name))
        if node is None:
            raise BadInput(f"no node {name!r}", closest(name, snapshot.nodes, "nodes"))
        found.append(node)
    return found


def jobs_named(snapshot: Snapshot, name: str, namespace: str, kind: str = "") -> list[Job]:
    """The jobs of that name, of all namespaces when `namespace` is empty and of any kind when `kind` is."""
    found = [
        job
        for key, job in snapshot.jobs.items()
        if key.name == name and (not namespace or key.namespace == namespace) and (not kind or key.kind == kind)
    ]
    return sorted(found, key=lambda job: job.key)


def job_hint(snapshot: Snapshot, name: str, namespace: str) -> str:
    """The nearest job name in a namespace, or those there are."""
    return closest(name, {key.name for key in snapshot.jobs if not namespace or key.namespace == namespace}, "jobs")


def one_job(snapshot: Snapshot, name: str, namespace: str, kind: str = "") -> Job:
    """The one job of that name; BadInput when there is none, or more than one kind or namespace has it."""
    found = jobs_named(snapshot, name, namespace, kind)
    if not found:
        raise BadInput(f"no job {name!r}" + (f" in namespace {namespace}" if namespace else ""), job_hint(snapshot, name, namespace))
    if len(found) > 1:
        where = ", ".join(f"{job.key.kind} in {job.key.namespace}" for job in found)
        raise BadInput(f"{len(found)} jobs are named {name!r}: {where}", "name one with --kind or --namespace")
    return found[0]
