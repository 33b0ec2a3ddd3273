"""One call of lint: read the manifests, judge them, mend them when asked, and say what is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actions.core import Clients
from actions.core.lints import Context, Document, Flaw, context_of, flaws_of, masked, mend, secrets_of
from actions.core.lints.flaws import SEVERITIES, written
from actions.core.lints.judging import Peers, judged, peers
from actions.core.lints.manifests import Manifest, Part, joined, parsed, read, save
from cockpit.errors import BadInput, CockpitError, Forbidden, NotFound, VerdictBad
from cockpit.snapshot import Snapshot

if TYPE_CHECKING:
    from actions.lint import Params

SECRETS = ("secret-in-clear", "secret-object")
RENDER_SECONDS = 60.0


@dataclass
class Read:
    """A document, the part of the file it stands in, and what is wrong with it."""

    document: Document
    part: Part
    flaws: list[Flaw]


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Mapping[str, Any]]:
    """One record a finding, in the order of the files; a `note` says what could not be judged, `text` is the mended manifest."""
    manifests = _manifests(clients, params)
    found = [Read(document, part, []) for one in manifests for document, part in one.documents()]
    live = clients.kube is not None and not params.offline and snapshot.believed("served")
    judge = _Judge(clients.kube if live else None, snapshot if live else None, params, [one.document for one in found])
    for one in found:
        one.flaws = judge.flaws(one.document)
    hidden = secrets_of((one.document for one in found), judge.context)
    told = [record(one.document, flaw, hidden) for one in found for flaw in one.flaws]
    left = [flaw for one in found for flaw in one.flaws]
    if params.mending:
        left = _mended(found, judge, told, hidden)
    yield from told
    yield from ({"note": masked(note, hidden), "line": masked(note, hidden)} for note in judge.notes)
    if params.mending:
        yield from _written(manifests, params, left, len([one for one in told if one["fixed"]]))
    _verdict(left, manifests)


def _manifests(clients: Clients, params: Params) -> list[Manifest]:
    if not params.file and not params.kustomize:
        raise BadInput("lint needs -f FILE or -k DIR", "cockpit --action lint -f job.yaml; -f - reads standard input")
    if params.write and (params.output_file or params.kustomize or "-" in params.file):
        raise BadInput("--write goes into the files it was given", "--output-file FILE takes what was rendered, piped in or is to stand elsewhere")
    rendered = [_rendered(clients.shell, params.kustomize)] if params.kustomize else []
    return [*read(params.file), *rendered]


def _rendered(shell: Any, folder: str) -> Manifest:
    """A kustomize folder as kubectl, or kustomize, renders it."""
    for program, words in (("kubectl", ("kustomize",)), ("kustomize", ("build",))):
        if shell.which(program):
            try:
                return parsed(f"{folder} (rendered)", shell.run([program, *words, folder], timeout_seconds=RENDER_SECONDS))
            except CockpitError as problem:
                raise BadInput(f"{folder} cannot be rendered: {problem.message}", f"try: {program} {' '.join(words)} {folder}") from problem
    raise NotFound(
        "-k needs kubectl, which is not installed",
        'curl -LO "https://dl.k8s.io/release/v1.34.2/bin/linux/amd64/kubectl" && sudo install kubectl /usr/local/bin/kubectl',
    )


class _Judge:
    """Rules, and the server where there is one; remembers what it could not ask."""

    def __init__(self, kube: Any, snapshot: Snapshot | None, params: Params, documents: list[Document]) -> None:
        self.kube, self.notes = kube, dict[str, None]()
        namespace = params.namespace or (kube.namespace if kube is not None else "") or "default"
        around = peers(kube, snapshot, documents, namespace) if kube is not None and snapshot is not None else Peers()
        self.context: Context = context_of(
            documents,
            snapshot,
            peers=around.objects,
            complete=around.complete,
            namespace=namespace,
            trainer=params.shape,
        )

    def flaws(self, document: Document) -> list[Flaw]:
        """What is wrong with one document."""
        found = flaws_of(document, self.context)
        if self.kube is not None and isinstance(document.data, Mapping):
            try:
                found += judged(self.kube, document, self.context, found)
            except Forbidden as error:
                self.notes[f"{document.kind} {document.name}: not judged by the server: {error.message}"] = None
        return sorted(found, key=lambda flaw: SEVERITIES.index(flaw.severity))


def record(document: Document, flaw: Flaw, hidden: tuple[str, ...]) -> dict[str, Any]:
    """A finding as scripts read it; `line` is the one a person reads."""
    number, path = document.lines(flaw.path), written((*document.base, *flaw.path))
    message, mended = masked(flaw.message, hidden), masked(flaw.mended, hidden)
    where = f"{document.file}:{number}" if number else document.file
    more = f" -> {mended}" if mended else ""
    return {
        "kind": document.kind,
        "name": document.name,
        "id": flaw.rule.id,
        "severity": flaw.severity,
        "file": document.file,
        "line_number": number,
        "path": path,
        "message": message,
        "why": flaw.rule.why,
        "mended": mended or None,
        "mends": flaw.mend is not None,
        "fixed": False,
        "line": f"{where}: {flaw.severity} {flaw.rule.id}: {path or document.kind}: {message}; {flaw.rule.why}{more}",
    }


def _mended(found: list[Read], judge: _Judge, told: list[dict[str, Any]], hidden: tuple[str, ...]) -> list[Flaw]:
    """Mend what can be mended, mark it in what is told, and judge again; the flaws that are left."""
    left: list[Flaw] = []
    for one in found:
        before = {(flaw.rule.id, flaw.message) for flaw in one.flaws}
        one.part.changed = bool(mend(one.document, judge.context)) or one.part.changed
        after = judge.flaws(one.document)
        remains = {(flaw.rule.id, masked(flaw.message, hidden)) for flaw in after}
        for line in told:
            if (line["file"], line["kind"], line["name"]) == (one.document.file, one.document.kind, one.document.name):
                line["fixed"] = (line["id"], line["message"]) not in remains
        told += [record(one.document, flaw, hidden) for flaw in after if (flaw.rule.id, flaw.message) not in before]
        left += after
    for line in told:
        line["line"] = ("mended: " if line["fixed"] else "") + line["line"]
    return left


def _written(manifests: list[Manifest], params: Params, left: list[Flaw], count: int) -> Iterator[Mapping[str, Any]]:
    """Put the mended manifests where they were asked for."""
    secret = any(flaw.rule.id in SECRETS for flaw in left)
    if params.write:
        for one in manifests:
            if one.path is not None and any(part.changed for part in one.parts):
                save(one.path, one.text())
                yield {"kind": "Manifest", "name": one.name, "file": one.name, "line": f"{one.name}: {count} mended"}
    elif params.output_file:
        from pathlib import Path

        save(Path(params.output_file), joined(manifests), private=secret)
        yield {"kind": "Manifest", "name": params.output_file, "file": params.output_file, "line": f"{params.output_file}: {count} mended"}
    elif secret:
        note = "the mended manifest still holds a secret and is not printed; --output-file FILE writes it for your eyes alone"
        yield {"note": note, "line": note}
    else:
        yield {
            "kind": "Manifest",
            "name": ", ".join(one.name for one in manifests),
            "file": None,
            "text": joined(manifests),
            "line": f"{count} mended",
        }


def _verdict(left: list[Flaw], manifests: list[Manifest]) -> None:
    """VerdictBad, exit 5, when errors or warnings are left."""
    counts = {severity: sum(flaw.severity == severity for flaw in left) for severity in SEVERITIES}
    wrong = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count and severity != "info"]
    if wrong:
        mends = any(flaw.mend is not None for flaw in left)
        raise VerdictBad(f"{' and '.join(wrong)} in {', '.join(one.name for one in manifests)}", "--fix mends what it can" if mends else "")
