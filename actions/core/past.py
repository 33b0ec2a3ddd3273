"""Plans of the past, from the journal, looked at again: which of their changes stand, and what takes them back or goes on with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.journal import Entry, Journal
from actions.core.params import nearest
from actions.core.recounting import applied, changes_of, command_of, no_undo, told
from actions.core.standing import Standing, Stands, of
from cockpit.errors import BadInput, CockpitError, Conflict, NotFound, Refused
from cockpit.model import Applied, Observed
from cockpit.snapshot import Snapshot
from cockpit.store import Delete, Fact, Synced, Upsert

SOURCE = "applied"
DESTROYING = frozenset({"delete", "evict"})


@dataclass(frozen=True)
class Step:
    """A change of a past plan, whether it was marked as made, and how it stands now."""

    change: Change
    marked: bool
    standing: Standing


# -- read -------------------------------------------------------------------------------------------------------------------------------------


def look_at(clients: Clients, snapshot: Snapshot, chosen: Any) -> Iterator[Fact]:
    """The journal's entries, and the objects of the one that `chosen(snapshot with them)` gives, as they are now."""
    rows = tuple(applied(Journal().entries(), clients))
    known = {row.id for row in rows}
    yield Delete(SOURCE, "applied", tuple(key for key in snapshot.applied if key not in known))
    yield Upsert(SOURCE, "applied", rows)
    yield Synced(SOURCE)
    entry = chosen(rows)
    if entry is not None and entry.here:
        paths = dict.fromkeys(_path(change) for change in changes_of(entry.entry) if _is_read(change))
        yield Upsert(SOURCE, "observed", tuple(_observed(clients, path) for path in paths))


def _is_read(change: Change) -> bool:
    return change.via == "kube" and bool(change.target.name) and change.verb != "wait"


def _path(change: Change) -> str:
    return change.target.path()


def _observed(clients: Clients, path: str) -> Observed:
    try:
        return Observed(path, clients.kube.request("GET", path))
    except NotFound:
        return Observed(path)
    except CockpitError as error:
        return Observed(path, error=error.message)


# -- told -------------------------------------------------------------------------------------------------------------------------------------


def steps_of(snapshot: Snapshot, entry: Entry) -> list[Step]:
    """How each change of an entry stands."""
    return [
        Step(change, index in entry.done, of(change, snapshot.observed.get(_path(change)), index in entry.done, entry.at))
        for index, change in enumerate(changes_of(entry))
    ]


def chosen_of(rows: Sequence[Applied], entry_id: str, fits: Any) -> Applied | None:
    """The entry of that id, or the newest that fits; BadInput with the nearest id when there is none of that id."""
    if not entry_id:
        return next((row for row in sorted(rows, key=lambda one: one.at, reverse=True) if row.here and fits(row.entry)), None)
    found = next((row for row in rows if row.id == entry_id), None)
    if found is None:
        raise BadInput(f"--id {entry_id!r}: the journal has no such entry", nearest(entry_id, [row.id for row in rows][-50:]))
    return found


def rows_of(snapshot: Snapshot) -> list[Applied]:
    """The journal as it was read; Refused when it was not."""
    if not snapshot.believed(SOURCE):
        raise Refused("the journal was not read yet", "plan it again")
    return list(snapshot.applied.values())


def checked(row: Applied, verb: str) -> Entry:
    """Its entry; Refused where it belongs to another cluster or is being applied."""
    entry: Entry = row.entry
    if not row.here:
        raise Refused(f"{row.id} was applied to cluster {entry.cluster}", f"--context chooses it; {verb} works on the cluster it was applied to")
    if entry.running:
        raise Refused(f"{row.id} is being applied by process {entry.process.get('pid')} on {entry.host}", "wait until it has ended, or end it there")
    return entry


# -- planned ----------------------------------------------------------------------------------------------------------------------------------


def undoing(snapshot: Snapshot, row: Applied) -> Plan:
    """The inverse of what an entry changed and of nothing else; Conflict when others have changed it since."""
    entry = checked(row, "undo")
    reason = no_undo(entry)
    if entry.state == "undone":
        return Plan(already=f"{row.id} is undone already")
    if reason:
        raise Refused(f"{entry.action} {row.id} cannot be undone: {reason}", "history says what can")
    every = steps_of(snapshot, entry)
    steps = [step for step in every if step.marked or step.standing.stands is Stands.MADE]
    _unmoved([step for step in steps if step.change.inverse is not None], row, Stands.MOVED)
    back = [step for step in steps if step.change.inverse is not None and step.standing.stands is Stands.MADE]
    gone = [step.standing.why for step in steps if step.standing.stands is Stands.GONE]
    if not back and gone:
        raise Refused(f"{entry.action} {row.id} cannot be undone: {'; '.join(gone)}", "there is nothing to bring back")
    if not back:
        return Plan(already=f"what {entry.action} {row.id} changed is as it was before")
    settling = [step for step in every if step.change.settling and step.change.inverse is not None]
    changes = tuple(_inverse(snapshot, step.change) for step in (*reversed(back), *settling))
    lost = [step.change.summary for step in steps if step.change.inverse is None and step.change.verb != "wait"]
    warnings = (f"not undone: {', '.join(lost[:8])}{f' and {len(lost) - 8} more' if len(lost) > 8 else ''}",) if lost else ()
    return Plan(changes, warnings=warnings, notes=(told(entry),), confirm=entry.action, risk=_risk(changes), undoes=row.id)


def finishing(snapshot: Snapshot, row: Applied) -> Plan:
    """What is left of a plan that was cut short or failed; what is made already is not made again. Conflict when the world has moved."""
    entry = checked(row, "finish")
    if entry.state not in ("begun", "failed"):
        return Plan(already=f"{entry.action} {row.id} is {entry.standing}: nothing of it is left to do")
    if entry.passing:
        raise Refused(f"what {entry.action} {row.id} made was to last only while somebody looked", f"--action undo --id {row.id} takes it away")
    steps = steps_of(snapshot, entry)
    foreign = next((step.change for step in steps if step.change.via != "kube" or step.change.target.kind == "Secret"), None)
    if foreign is not None:
        hint = f"run it again, it plans from what there is: {command_of(entry)}"
        raise Refused(f"the journal does not hold all that {foreign.summary!r} needs", hint)
    left = [step for step in steps if _is_left(step)]
    _unmoved(left, row, Stands.MOVED, Stands.GONE)
    undone = next((step for step in left if step.marked and step.change.verb == "patch"), None)
    if undone is not None:
        raise Conflict(f"{undone.change.target} was changed back since {row.id} had changed it", "undo the rest, or run the action again")
    if not left:
        return Plan((_written(row, "finished"),), notes=(told(entry), "all of its changes are made"), risk=Risk.CHANGE, finishes=row.id)
    changes = tuple(_again(snapshot, step.change) for step in left)
    made = len(steps) - len(left)
    notes = (told(entry), f"{made} of {len(steps)} changes are made already")
    return Plan(changes, notes=notes, confirm=entry.action, risk=_risk(changes), finishes=row.id)


def _is_left(step: Step) -> bool:
    if step.change.verb == "apply" or (step.marked and step.change.verb in ("wait", *DESTROYING)):
        return not step.marked
    return step.standing.stands is not Stands.MADE


def keeping(row: Applied) -> Plan:
    """Leave a plan that was cut short as it stands, and ask no more."""
    entry = checked(row, "finish")
    if entry.state != "begun":
        return Plan(already=f"{entry.action} {row.id} is {entry.standing}")
    return Plan((_written(row, "kept"),), notes=(told(entry),), risk=Risk.CHANGE, finishes=row.id)


def _written(row: Applied, state: str) -> Change:
    return Change("journal", "keep", Target("JournalEntry", row.id), f"write down that {row.entry.action} {row.id} is {state}", body={"state": state})


def _unmoved(steps: Sequence[Step], row: Applied, *bars: Stands) -> None:
    moved = [step.standing.why for step in steps if step.standing.stands in bars]
    if moved:
        raise Conflict(f"changed by others since {row.entry.action} {row.id}: {'; '.join(moved)}", "nothing was changed; decide by hand")
    unseen = [step for step in steps if step.standing.stands is Stands.UNSEEN]
    if unseen:
        why = unseen[0].standing.why or "it was not read"
        raise Refused(f"{unseen[0].change.target} cannot be judged: {why}", "nothing was changed")


def _risk(changes: Sequence[Change]) -> Risk:
    return Risk.DESTROY if any(change.verb in DESTROYING and not change.settling for change in changes) else Risk.CHANGE


def _inverse(snapshot: Snapshot, change: Change) -> Change:
    """What undoes a change, from the object as it is now; its own inverse is the change, so that an undo can be undone."""
    assert change.inverse is not None
    again = dataclasses.replace(change, inverse=None, resource_version="")
    undone = dataclasses.replace(change.inverse, inverse=again, before=change.after, after=change.before)
    if change.settling:
        return dataclasses.replace(change.inverse, inverse=again)
    return _at_now(snapshot, undone)


def _again(snapshot: Snapshot, change: Change) -> Change:
    return _at_now(snapshot, change) if change.verb == "patch" else change


def _at_now(snapshot: Snapshot, change: Change) -> Change:
    seen: Observed | None = snapshot.observed.get(_path(change))
    version = ((seen.object.get("metadata") or {}).get("resourceVersion") if seen is not None and seen.object else "") or ""
    return dataclasses.replace(change, resource_version=str(version) if change.verb == "patch" else "")
