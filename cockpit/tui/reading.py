"""The texts behind a row: described, YAML, events; and what is saved, done and bound."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Clients
from actions.core.journal import Journal, state_home
from actions.core.recounting import applied, record
from cockpit.errors import Refused
from cockpit.inert import inert
from cockpit.tui.cells import age, count
from cockpit.tui.clipboard import fits, osc52
from cockpit.tui.describe import described, yaml_lines
from cockpit.tui.detail import Room
from cockpit.tui.ground import Ground
from cockpit.tui.help import HelpScreen, action_entries, grouped
from cockpit.tui.resources import Events
from cockpit.tui.textlines import Line, LineView

TOOLKIT = ("scroll_", "page_left", "page_right", "screen.")


class Reading(Ground):
    """Keys that open something to read."""

    def enter(self, room: Room) -> None:
        """Open a room over the panes."""
        self.screen_stack[0].add_class("-detail")
        self.detail.open(room, self.scene)
        self.tell()

    def action_describe(self) -> None:
        """The object under the cursor, described, with its events."""
        view, keys = self.focus_of()
        if keys and (path := view.api_path(self.scene, keys[0])):
            events_now = self.scene.snapshot.events_about(*view.involved(keys[0]))
            now = time.time()
            self.desk.fetch(f"Describe {view.label(keys[0])}", path, lambda found: described(found, events_now, now))

    def action_yaml(self) -> None:
        """The object under the cursor as YAML."""
        view, keys = self.focus_of()
        if keys and (path := view.api_path(self.scene, keys[0])):
            self.desk.fetch(f"YAML {view.label(keys[0])}", path, yaml_lines)

    def action_events(self) -> None:
        """Events of the object under the cursor."""
        view, keys = self.focus_of()
        if keys and view.involved(keys[0])[0]:
            self.enter(Room(view=Events(view.involved(keys[0]))))

    def action_history(self) -> None:
        """What was done from this machine, the newest last: who, how it ended, and whether it can be undone."""
        clients = self.session.clients if self.session is not None else Clients()
        now = time.time()
        rows = applied(Journal().entries(), clients)
        self.enter(Room(title="History", lines=[Line(text) for row in rows for text in _past(record(row), now - row.at)]))

    def action_help(self) -> None:
        """The live keys."""
        live = [one for one in self.screen.active_bindings.values() if one.enabled and not one.binding.action.startswith(TOOLKIT)]
        screen = [("Screen", one.binding) for one in live if one.node is self]
        front = [("Table" if self.front() is self.table() else "Text", one.binding) for one in live if one.node is not self]
        view = self.table().view
        groups = {f"Actions on {view.title}": action_entries(action for action in self.verbs.actions if self.verbs.fits(action, view))}
        self.push_screen(HelpScreen(groups | grouped([*screen, *front])))

    def action_copy(self) -> None:
        """The names of the target rows, or the text in front, to the clipboard of the person's terminal; of a long text what is in sight."""
        front = self.front()
        if isinstance(front, LineView):
            words, what = [inert(line.text) for line in front.lines], count(len(front.lines), "line")
            if not fits("\n".join(words)):
                seen = front.on_screen()
                words, what = [inert(line.text) for line in seen], f"the {count(len(seen), 'line')} in sight; ^s saves all to a file"
        else:
            view, keys = self.focus_of()
            words = [inert(view.label(key)) for key in keys]
            what = words[0] if len(words) == 1 else count(len(words), "name")
        self._put("\n".join(words), what)

    def _put(self, text: str, what: str) -> None:
        try:
            sequence = osc52(text)
        except Refused as error:
            self.complain(error)
            return
        if text and self._driver is not None:
            self._driver.write(sequence)
            self.say(f"copied {what}\n(a terminal without OSC 52 ignores it)")

    def action_save(self) -> None:
        """What is in front, as plain text, into the state directory."""
        front = self.front()
        if isinstance(front, LineView):
            name, lines = front.title_text.split(" ")[0].lower(), [inert(line.text) for line in front.lines]
        else:
            table = self.table()
            name, cells = table.view.name, [table.view.cells(self.scene, key) for key in table.order.keys]
            lines = ["\t".join(column.title for column in table.view.columns), *("\t".join(inert(one.text) for one in row) for row in cells)]
        path = state_home() / "saved" / f"{time.strftime('%Y%m%d-%H%M%S')}-{name or 'text'}.txt"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.say(f"saved {len(lines):,} lines to {path}")


def _past(entry: Mapping[str, Any], seconds: float) -> Iterator[str]:
    """An entry of the journal in lines: what it was, then each command."""
    undo = f"undo --id {entry['id']}" if entry["undoable"] else f"no undo: {entry['why_not']}"
    by = f" by {entry['by']}" if entry["by"] else ""
    yield f"{age(seconds):>7} ago  {entry['state']:<9} {entry['action']:<12} {entry['cluster']}{by}  {undo}"
    for change in entry["changes"]:
        yield f"{'':>13}{'✓' if change['made'] else '○'} {change['command'] or change['summary']}"
    if entry["error"]:
        yield f"{'':>13}✖ {entry['error']}"
