"""What an earlier cockpit left half-made, with the keys that mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from actions.core import Action
from actions.core.journal import Entry
from actions.core.recounting import told
from cockpit.tui.cells import Part, Tone
from cockpit.tui.confirm import joined
from cockpit.tui.lines import content


class UnfinishedScreen(ModalScreen[str | None]):
    """Gives the name of the action that mends it, `keep` to leave it as it stands for good, None to be asked again next time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "choose('keep')", "Leave it as it stands"),
        Binding("escape,q,n", "choose('')", "Ask again next time"),
    ]

    def __init__(self, entry: Entry, ways: Sequence[Action]) -> None:
        super().__init__()
        self.entry, self.ways = entry, ways

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -danger", id="unfinished") as box:
            box.border_title = content([("A plan was cut short", Tone.STRONG)]).markup
            yield Static(joined([[(told(self.entry), Tone.WARN)], [("", Tone.PLAIN)], *self._changes(), [("", Tone.PLAIN)], self._keys()]))

    def on_mount(self) -> None:
        """The keys come from the actions."""
        for action in self.ways:
            self._bindings.bind(action.mends, f"choose({action.name!r})", action.title)

    def _changes(self) -> list[list[Part]]:
        lines: list[list[Part]] = []
        for index, kept in enumerate(self.entry.changes):
            made = index in self.entry.done
            mark: Part = ("✓ ", Tone.GOOD) if made else ("○ ", Tone.MUTED)
            lines.append([mark, (str(kept.get("summary")), Tone.PLAIN if made else Tone.STRONG)])
        return lines

    def _keys(self) -> list[Part]:
        keys = [*((action.mends, action.title.lower()) for action in self.ways), ("k", "leave it as it stands"), ("esc", "later")]
        return [part for key, word in keys for part in ((key, Tone.INFO), (f" {word}   ", Tone.MUTED))]

    def action_choose(self, word: str) -> None:
        """An answer."""
        self.dismiss(word or None)
