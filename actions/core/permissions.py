"""Whether this person may take each step of a plan: asked of the API before anything is done (SelfSubjectAccessReview), side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from actions.core import Change, Clients, Plan
from cockpit.errors import CockpitError, Forbidden

AT_A_TIME = 8
REMEDY = "ask for a role that allows it (kubectl auth can-i says what you may); nothing was changed"


class Right(NamedTuple):
    """One thing to be allowed, as kube.may takes it."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {kind}{'.' + self.group if self.group else ''}" + (f" in {self.namespace}" if self.namespace else "")


def rights_of(change: Change) -> Iterator[Right]:
    """What a change needs of the API server."""
    target = change.target
    if change.via == "checkpoints":
        yield Right("create", "", "pods", target.namespace)
    if change.via != "kube":
        return
    named = (target.group, target.plural, target.namespace, target.name)
    if change.verb == "evict":
        yield Right("create", *named, "eviction")
    elif change.verb in ("delete", "wait") and (change.selector or change.field_selector):
        yield Right("deletecollection" if change.verb == "delete" else "list", target.group, target.plural, target.namespace)
    elif change.verb == "wait" and (change.after or {}).get("gone"):
        yield from dict.fromkeys(Right("get", "", "pods", one["namespace"]) for one in (change.after or {})["gone"])
    elif change.verb == "wait":
        yield Right("get", *named)
    elif change.verb == "create":
        yield Right("create", target.group, target.plural, target.namespace)
    elif change.verb == "apply":
        yield Right("patch", *named)
        if change.before is None:
            yield Right("create", target.group, target.plural, target.namespace)
    else:
        yield Right(change.verb, *named)


def judged(plan: Plan, clients: Clients) -> Plan:
    """The plan with the steps that are forbidden; where that cannot be asked, it is said."""
    rights = list(dict.fromkeys(right for change in plan.changes for right in rights_of(change)))
    if clients.kube is None or not rights:
        return plan
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(AT_A_TIME, len(rights))) as pool:
        answers = dict(zip(rights, pool.map(lambda right: _may(clients, right), rights), strict=True))
    unknown = [text for text in answers.values() if isinstance(text, str)]
    warnings = (f"whether you may do this could not be asked: {unknown[0]}",) if unknown else ()
    denied = tuple(_denied(plan.changes, [right for right, allowed in answers.items() if allowed is False]))
    return dataclasses.replace(plan, denied=denied, warnings=(*plan.warnings, *warnings))


def _may(clients: Clients, right: Right) -> bool | str:
    try:
        allowed: bool = clients.kube.may(*right)
    except CockpitError as error:
        return error.message
    return allowed


def _denied(changes: Iterable[Change], missing: list[Right]) -> Iterator[str]:
    for change in changes:
        for right in rights_of(change):
            if right in missing:
                yield f"you may not {right}: {change.summary}"


def check(plan: Plan) -> None:
    """Forbidden when a step of the plan is: it is not begun."""
    if plan.denied:
        more = f" (and {len(plan.denied) - 1} more)" if len(plan.denied) > 1 else ""
        raise Forbidden(plan.denied[0] + more, REMEDY)
