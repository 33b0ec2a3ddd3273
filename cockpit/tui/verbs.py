"""The registry of actions as the screen needs it: by key, by what the row under the cursor fills, and with why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from actions.core import Action, Param, Risk, all_actions, params_of, parse
from cockpit.errors import CockpitError
from cockpit.snapshot import Snapshot
from cockpit.tui.views import View


def key_name(key: str) -> str:
    """An action's key as the toolkit spells it: ctrl-d is ctrl+d."""
    return key.replace("ctrl-", "ctrl+").replace("shift-", "shift+")


def key_shown(key: str) -> str:
    """A key as a person reads it."""
    return key.replace("ctrl+", "^").replace("ctrl-", "^")


class Verbs:
    """All actions, loaded once; nothing here knows any by name."""

    def __init__(self, actions: Iterable[Action] | None = None, readonly: bool = False) -> None:
        self._given = actions
        self.readonly = readonly

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """Every action, by name."""
        return tuple(all_actions() if self._given is None else self._given)

    @cached_property
    def keys(self) -> Mapping[str, tuple[Action, ...]]:
        """Actions by key."""
        found: dict[str, list[Action]] = {}
        for action in self.actions:
            if action.key:
                found.setdefault(key_name(action.key), []).append(action)
        return {key: tuple(actions) for key, actions in found.items()}

    def allowed(self, action: Action) -> bool:
        """False for anything that changes the world when read-only."""
        return not self.readonly or action.risk is Risk.READ

    def named(self, name: str) -> Action | None:
        """The action of that name."""
        return next((action for action in self.actions if action.name == name), None)

    def for_key(self, key: str, view: View) -> Action | None:
        """The action a key means over this view."""
        return next((action for action in self.keys.get(key, ()) if self.fits(action, view)), None)

    def fits(self, action: Action, view: View) -> bool:
        """True when the action is meant for this view's pane or rows."""
        rows = {view.kind, *view.room()} & _kinds(action)
        return self.allowed(action) and (not action.panes or view.name in action.panes or bool(rows))

    def filled(self, action: Action, view: View, keys: Sequence[Any]) -> dict[str, str]:
        """Parameter values from the rows, or from the room they stand in where the rows name nothing the action takes.

        A list parameter takes all rows, any other the first.
        """
        params = {one.name: one for one in params_of(action.params)}
        rows = [self._named_by(action, view, key) for key in keys] or [dict(view.room())]
        values: dict[str, str] = {}
        for kind, name in action.fills.items():
            found = [row[plural(kind)] for row in rows if plural(kind) in row]
            if found and name in params:
                values[name] = ",".join(dict.fromkeys(found)) if params[name].kind == "list" else found[0]
        for one in params.values():
            if values and one.picks == "namespaces" and one.name not in values and rows and "namespaces" in rows[0]:
                values[one.name] = rows[0]["namespaces"]
        return values

    def _named_by(self, action: Action, view: View, key: Any) -> dict[str, str]:
        """The row, or its room: a rank's log is asked for by its pod alone, a rank's job is stopped by the name of the room."""
        row = view.fills(key)
        return dict(row) if _kinds(action) & row.keys() else {**row, **view.room()}

    def missing(self, action: Action, values: Mapping[str, str]) -> list[Param]:
        """Required parameters that have no value yet."""
        return [one for one in params_of(action.params) if one.required and not values.get(one.name)]

    def refusal(self, action: Action, snapshot: Snapshot, values: Mapping[str, str]) -> str | None:
        """Why the action does not apply now; None when it does or when that depends on parameters still to be given."""
        if not self.allowed(action):
            return "read-only: this cockpit was opened with --readonly"
        if self.missing(action, values):
            return None
        try:
            return action.disabled(snapshot, parse(action.params, values))
        except CockpitError as error:
            return error.message

    def key_from(self, kind: str) -> str:
        """The key, as a person reads it, of the first action that takes rows of this kind and may be used; empty when there is none."""
        found = (action for action in self.actions if action.key and kind in action.fills and action.risk is not Risk.READ and self.allowed(action))
        return next((key_shown(action.key) for action in found), "")

    def stream_for(self, kind: str) -> Action | None:
        """The streaming action that reads rows of this kind."""
        return next((action for action in self.actions if action.streams and plural(kind) in _kinds(action)), None)


def plural(kind: str) -> str:
    """A row kind as the store names it: node is nodes."""
    return kind if kind.endswith("s") else kind + "s"


def _kinds(action: Action) -> set[str]:
    return {plural(kind) for kind in action.fills}
