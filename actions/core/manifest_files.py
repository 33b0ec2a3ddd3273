"""A launch as a file: written instead of applied, or read, ours or another's, and planned through the same engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from actions.core import APPLY_PATCH, Change, Plan, Risk, Target, params_of
from actions.core.kinds import KINDS
from actions.core.lints import Document
from actions.core.lints.manifests import plain, read
from actions.core.lookups import closest
from cockpit.errors import BadInput, Refused
from cockpit.model import Served
from cockpit.snapshot import Snapshot

BESIDE_FILE = ("file", "save", "namespace", "kind")
"""Parameters that go with --file; every other one is in the manifest already."""


def saving(plan: Plan, path: str) -> Plan:
    """The plan that writes the manifest of another into a file and applies none of it."""
    target = Target("File", path)
    held = [change for change in plan.changes if change.body is not None]
    shown = f"write {path}: {', '.join(str(change.target) for change in held if not change.sealed)}"
    written = Change("file", "write", target, shown, f"cat > {path}", {"text": written_out(held)})
    return dataclasses.replace(plan, changes=(written,), risk=Risk.CHANGE, confirm="")


def written_out(changes: Iterable[Change]) -> str:
    """Bodies as a stream of YAML documents; of a Secret only the command that makes it."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Text of several lines as a block that can be read."""

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))
    said, documents = ["# Written by cockpit; kubectl apply --server-side -f takes it, and so does cockpit --action launch -f."], []
    for change in changes:
        if change.target.kind == "Secret":
            said.append(f"# It needs {change.target} first: {change.line}")
        else:
            documents.append(yaml.dump(plain(change.body), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=160))
    return "\n".join(said) + "\n---\n" + "---\n".join(documents)


def planned_from(snapshot: Snapshot, params: Any) -> tuple[tuple[Change, ...], Any]:
    """The changes a manifest stands for, and the parameters with the job's name settled; BadInput with file, line and reason."""
    given = [one.name for one in params_of(type(params)) if one.name not in BESIDE_FILE and getattr(params, one.name) != one.default]
    if given:
        flag = "--" + given[0].replace("_", "-")
        raise BadInput(f"{flag} with --file: the manifest says it already", "change it there, or leave --file out")
    documents = [document for one in read((params.file,)) for document, _ in one.documents()]
    _check_names(documents, params.namespace)
    changes = tuple(_change(snapshot, document, params.namespace) for document in documents)
    jobs = [change for change in changes if change.target.kind in KINDS]
    if not jobs:
        raise BadInput(f"{params.file} holds no training job", f"one of {', '.join(KINDS)}")
    for change in jobs:
        _check_free(snapshot, change.target)
    first = jobs[0].target
    return changes, dataclasses.replace(params, name=first.name, namespace=first.namespace, kind=first.kind)


def _bad(document: Document, path: tuple[str, ...], reason: str, hint: str) -> BadInput:
    line = document.lines(path)
    where = f"{document.file}:{line}" if line else document.file
    return BadInput(f"{where}: {'.'.join(path) or 'document'}: {reason}", hint)


def _check_names(documents: Iterable[Document], namespace: str) -> None:
    seen: dict[tuple[str, ...], Document] = {}
    for one in documents:
        if not isinstance(one.data, Mapping) or not one.kind or not isinstance(one.data.get("metadata"), Mapping):
            raise _bad(one, (), "this is no Kubernetes object", "it needs apiVersion, kind and metadata.name")
        if not one.name:
            raise _bad(one, ("metadata",), f"this {one.kind} has no name", "give it a metadata.name")
        key = (one.group, one.kind, one.namespace or namespace, one.name)
        if key in seen:
            before = seen[key].lines(("metadata", "name"))
            raise _bad(one, ("metadata", "name"), f"{one.kind} {one.name} stands twice", f"it stands on line {before} too; rename or drop one")
        seen[key] = one


def _change(snapshot: Snapshot, document: Document, namespace: str) -> Change:
    served = _served(snapshot, document)
    body = plain(document.data)
    space = (document.namespace or namespace) if served.namespaced else ""
    if space:
        body["metadata"]["namespace"] = space
    version = str(body["apiVersion"]).rpartition("/")[2]
    target = Target(served.kind, document.name, space, served.group, version, served.resource.split(".", 1)[0])
    shown = {key: value for key, value in body.items() if key not in ("data", "stringData", "binaryData")}
    if target.kind in KINDS:
        undo = Change("kube", "delete", target, f"delete {target}", f"kubectl delete {target}")
        return Change("kube", "create", target, f"create {target}", "kubectl create -f -", body, "application/json", after=shown, inverse=undo)
    line = "kubectl apply --server-side -f -"
    return Change("kube", "apply", target, f"apply {target}", line, body, APPLY_PATCH, after=shown)


def _served(snapshot: Snapshot, document: Document) -> Served:
    """How the cluster serves the document's kind."""
    found = [one for one in snapshot.served.values() if (one.kind, one.group) == (document.kind, document.group)]
    if not found:
        kinds = {one.kind for one in snapshot.served.values()}
        raise _bad(document, ("kind",), f"this cluster serves no {document.kind} of {document.group or 'v1'}", closest(document.kind, kinds, "kinds"))
    return found[0]


def _check_free(snapshot: Snapshot, target: Target) -> None:
    if any((key.kind, key.namespace, key.name) == (target.kind, target.namespace, target.name) for key in snapshot.jobs):
        raise Refused(f"{target.kind} {target.name} exists in {target.namespace}", "stop it first, or give the manifest another metadata.name")


def write(path: str, text: str) -> None:
    """The file whole or not at all."""
    from actions.core.lints.manifests import save

    try:
        save(Path(path).expanduser(), text)
    except BadInput as error:
        raise BadInput(error.message, "choose another file with --save") from None
