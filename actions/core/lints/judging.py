"""What a live cluster adds: objects the rules compare with, and the server's own dry run, which changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import APPLY_PATCH
from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule
from actions.core.lints.manifests import plain
from actions.core.lints.shapes import TRAINING
from actions.core.performing import FIELD_MANAGER
from cockpit.errors import ActionFailed, CockpitError, Conflict, Forbidden, NotAuthorised, NotFound, NotServed, Unreachable
from cockpit.model import Served
from cockpit.snapshot import Snapshot

KUEUE = ("ResourceFlavor", "ClusterQueue", "LocalQueue")
RUNTIMES = ("TrainingRuntime", "ClusterTrainingRuntime")
WANTED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(TRAINING, (*KUEUE, "NodePool", "PersistentVolumeClaim")),
    "TrainJob": (*KUEUE, "NodePool", "PersistentVolumeClaim", *RUNTIMES),
    **dict.fromkeys(KUEUE, (*KUEUE, "NodePool")),
    "NodePool": ("EC2NodeClass",),
}
"""What is read from the cluster for a document of each kind."""
RBAC = re.compile(r"cannot \w+ resource")
STRICT = re.compile(r'unknown field "([^"]+)"|\.([\w.\[\]-]+): field not declared in schema')
PLACE = re.compile(r"\b(?:spec|metadata|data)(?:\.[\w-]+|\[[^\]\s]+\])*", re.IGNORECASE)
STEP = re.compile(r"\[([^\]]+)\]|([^.\[\]]+)")
UNKNOWN_FIELD = Rule("unknown-field", "error", "a field the served schema does not have", "without strict validation the server drops it silently")
REFUSED = Rule("server-refused", "error", "the server's dry run refuses it", "so will the real one")
NOT_SERVED = Rule("not-served", "error", "a kind or version this cluster does not serve", "nobody would act on it")
RULES = (UNKNOWN_FIELD, REFUSED, NOT_SERVED)


@dataclass(frozen=True)
class Peers:
    """Objects of the cluster, and the kinds of which they are all there are."""

    objects: tuple[Mapping[str, Any], ...] = ()
    complete: frozenset[str] = frozenset()


def peers(kube: Any, snapshot: Snapshot, documents: Iterable[Document], namespace: str) -> Peers:
    """What documents are compared with. A kind that may not be listed, or is not served, is left out and is not `complete`."""
    documents = list(documents)
    kinds = {kind for document in documents for kind in WANTED.get(document.kind, ())}
    spaces = {document.namespace or namespace for document in documents}
    found: list[Mapping[str, Any]] = []
    complete: set[str] = set()
    for kind in sorted(kinds):
        served = served_as(snapshot, kind)
        if served is None:
            continue
        paths = [_path(served, served.version, space) for space in sorted(spaces)] if served.namespaced else [_path(served, served.version, "")]
        try:
            for path in paths:
                answer = kube.request("GET", path)
                found += [{**one, "kind": kind} for one in answer.get("items") or () if isinstance(one, dict)]
        except (Forbidden, ActionFailed):
            continue
        complete.add(kind)
    return Peers(tuple(found), frozenset(complete))


def served_as(snapshot: Snapshot, kind: str, group: str | None = None) -> Served | None:
    """How a kind is served; of one group when it is given."""
    return next((one for one in snapshot.served.values() if one.kind == kind and group in (None, one.group)), None)


def _path(served: Served, version: str, namespace: str) -> str:
    root = f"/apis/{served.group}/{version}" if served.group else f"/api/{version}"
    space = f"/namespaces/{namespace}" if served.namespaced and namespace else ""
    return f"{root}{space}/{served.resource.partition('.')[0]}"


def judged(kube: Any, document: Document, context: Context, known: Iterable[Flaw]) -> list[Flaw]:
    """What the server's strict dry run says against a document, less what the rules have said at the same place.

    Forbidden, by RBAC, when the reader may not ask; Unreachable and NotAuthorised as they come.
    """
    snapshot = context.snapshot
    if snapshot is None or not snapshot.believed("served") or any(flaw.rule.id in ("not-an-object", "api-version") for flaw in known):
        return []
    served = served_as(snapshot, document.kind, document.group)
    if served is None:
        defined = any(one.kind == "CustomResourceDefinition" for one in context.documents)
        return [] if defined else [NOT_SERVED.at(("kind",), f"this cluster serves no {document.kind} of {document.data.get('apiVersion')}")]
    try:
        _ask(kube, document, served, context.space(document))
    except (Unreachable, NotAuthorised) as error:
        if not isinstance(error, Forbidden) or RBAC.search(error.message):
            raise
        return _said(error, document, context, list(known))
    except CockpitError as error:
        return _said(error, document, context, list(known))
    return []


def _ask(kube: Any, document: Document, served: Served, namespace: str) -> None:
    """Create it without doing it; what is there already is applied without doing it."""
    version = str(document.data["apiVersion"]).rpartition("/")[2]
    path, body = _path(served, version, namespace), plain(document.data)
    asked = {"dryRun": "All", "fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    try:
        kube.request("POST", path, params=asked, body=body)
    except Conflict:
        return
    except ActionFailed as error:
        if error.code != "already-exists" or not document.name:
            raise
        kube.request("PATCH", f"{path}/{document.name}", params=asked | {"force": "true"}, body=body, content_type=APPLY_PATCH)


def _said(error: CockpitError, document: Document, context: Context, known: list[Flaw]) -> list[Flaw]:
    if _brought_along(error, context):
        return []
    if isinstance(error, NotServed):
        served = served_as(context.snapshot, document.kind, document.group) if context.snapshot else None
        here = f"{document.group}/{served.version}" if served else ""
        said = f"this cluster serves {document.kind} in {here}, not in {document.data.get('apiVersion')}" if here else error.message
        return [NOT_SERVED.at(("apiVersion",), said, f"apiVersion: {here}" if here else "")]
    covered = [_lower(flaw.path) for flaw in known if flaw.severity == "error" and flaw.path]
    fields = [one or two for one, two in STRICT.findall(error.message)]
    if fields:
        places = [
            (UNKNOWN_FIELD, to_path(field), f"{field} is not in the schema", "leave it out, or write it as the schema does") for field in fields
        ]
    else:
        found = [to_path(one) for one in PLACE.findall(error.message)]
        if found and all(_covers(covered, place) for place in found):
            return []
        places = [(REFUSED, found[0] if found else (), error.message, "")]
    return [rule.at(path, message, mended) for rule, path, message, mended in places if not _covers(covered, path)]


def _brought_along(error: CockpitError, context: Context) -> bool:
    """True where the server misses only what another document of the input creates."""
    if not isinstance(error, NotFound | Forbidden) or "not found" not in error.message:
        return False
    return any(one.name and f'"{one.name}" not found' in error.message for one in context.documents if one.kind in ("Namespace", *RUNTIMES))


def _covers(covered: Iterable[Path], path: Path) -> bool:
    """True when a rule has found an error at, above or below the place."""
    low = _lower(path)
    return bool(low) and any(low[: len(one)] == one or one[: len(low)] == low for one in covered)


def _lower(path: Path) -> Path:
    return tuple(step.lower() if isinstance(step, str) else step for step in path)


def to_path(text: str) -> Path:
    """spec.containers[0].env as (spec, containers, 0, env)."""
    steps: Iterator[str] = (bracket or name for bracket, name in STEP.findall(text))
    return tuple(int(step) if step.isdigit() else step.strip("\"'") for step in steps)
