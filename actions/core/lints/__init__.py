"""What can be wrong with a manifest: pure rules, one cause family a file, each document -> flaws.

`findings_of` is what a launch asks of its own manifest, `flaws_of` what the lint action shows with lines, `mend` what --fix does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from actions.core.lints import devices, karpenter, kueue, memory, monitoring, names, pytorchjobs, scripts, storage, trainjobs, variables
from actions.core.lints.flaws import SEVERITIES, Context, Document, Flaw, Rule, written
from actions.core.training_jobs import override_of
from cockpit.model import Finding
from cockpit.snapshot import Snapshot

FAMILIES = (names, trainjobs, pytorchjobs, devices, memory, variables, scripts, kueue, karpenter, storage, monitoring)
MOST_MENDS = 400
TRAINJOBS = "trainjobs.trainer.kubeflow.org"


def rules() -> tuple[Rule, ...]:
    """Every rule, by family."""
    return tuple(rule for family in FAMILIES for rule in family.RULES)


def context_of(documents: Iterable[Document], snapshot: Snapshot | None = None, **more: Any) -> Context:
    """What documents are judged with; the TrainJob's shape is the served one when the picture knows it."""
    served = snapshot.served.get(TRAINJOBS) if snapshot is not None else None
    known = {"trainer": override_of(served)} if served is not None and served.fields else {}
    return Context(tuple(documents), snapshot, **{**known, **{key: value for key, value in more.items() if value}})


def flaws_of(document: Document, context: Context) -> list[Flaw]:
    """What is wrong with one document, errors first; what stands at the same place for the same reason is told once."""
    found: dict[tuple[Any, ...], Flaw] = {}
    broken = [flaw for flaw in names.check(document, context) if flaw.rule is names.NOT_AN_OBJECT]
    if broken:
        return broken
    for family in FAMILIES:
        for flaw in family.check(document, context):
            found.setdefault((flaw.rule.id, flaw.path, flaw.message), flaw)
    return sorted(found.values(), key=lambda flaw: SEVERITIES.index(flaw.severity))


def mend(document: Document, context: Context) -> list[Flaw]:
    """Change one document in place until no rule can mend more of it; what was mended.

    Where something stands that the schema does not have there, a rule's mend may not fit: it is tried on a copy first.
    """
    done: list[Flaw] = []
    hopeless: set[tuple[Any, ...]] = set()
    while len(done) < MOST_MENDS:
        flaws = [one for one in flaws_of(document, context) if one.mend is not None and _identity(one) not in hopeless]
        if not flaws or flaws[0].mend is None:
            break
        flaw, change = flaws[0], flaws[0].mend
        try:
            change(copy.deepcopy(document.data))
        except (AttributeError, KeyError, IndexError, TypeError, ValueError):
            hopeless.add(_identity(flaw))
            continue
        change(document.data)
        done.append(flaw)
        if any(_identity(one) == _identity(flaw) for one in flaws_of(document, context)):
            hopeless.add(_identity(flaw))
    return done


def _identity(flaw: Flaw) -> tuple[Any, ...]:
    return flaw.rule.id, flaw.path, flaw.message


def findings_of(documents: Iterable[Mapping[str, Any]], snapshot: Snapshot | None = None) -> list[Finding]:
    """What is wrong with these objects together, as plain mappings, errors first; without a snapshot as far as they tell themselves."""
    wrapped = [Document(one) for one in documents]
    context = context_of(wrapped, snapshot)
    pairs = [(document, flaw) for document in wrapped for flaw in flaws_of(document, context)]
    hidden = secrets_of(wrapped, context)
    return [finding(document, flaw, hidden) for document, flaw in sorted(pairs, key=lambda pair: SEVERITIES.index(pair[1].severity))]


def finding(document: Document, flaw: Flaw, hidden: Iterable[str] = ()) -> Finding:
    """A flaw as the JSON contract prints findings: evidence holds the path and the rule's reason, the remedy the mended text."""
    name = f"{document.kind}/{document.name}"
    evidence = (written((*document.base, *flaw.path)), flaw.rule.why)
    return Finding(flaw.rule.id, flaw.severity, masked(flaw.message, hidden), name, evidence, masked(flaw.mended, hidden))


def secrets_of(documents: Iterable[Document], context: Context) -> tuple[str, ...]:
    """Every secret value the documents hold, longest first."""
    found = {value for document in documents if isinstance(document.data, Mapping) for value in variables.secrets_in(document, context)}
    return tuple(sorted((value for value in found if len(value) > 2), key=len, reverse=True))


def masked(text: str, hidden: Iterable[str]) -> str:
    """A text without the secrets."""
    for value in hidden:
        text = text.replace(value, variables.MASK)
    return text


__all__ = ["Context", "Document", "Flaw", "Rule", "context_of", "finding", "findings_of", "flaws_of", "masked", "mend", "rules", "secrets_of"]
