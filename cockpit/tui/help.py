"""`?`: the keys that are live now, grouped; nothing on it is written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.keys import key_to_character
from textual.screen import ModalScreen
from textual.widgets import Static

from actions.core import Action, Risk
from cockpit.tui.cells import Part, Tone
from cockpit.tui.lines import content
from cockpit.tui.verbs import key_name, key_shown

Entry = tuple[str, str, str]
NAMES = {
    "escape": "esc",
    "enter": "⏎",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "tab": "Tab",
    "slash": "/",
    "backslash": "\\",
    "space": "Space",
}


def shown(key: str) -> str:
    """A toolkit key as a person presses it: ctrl+a is ^a, shift+left is shift+←, left_square_bracket is [."""
    held, _, last = key_name(key).replace("ctrl+@", "ctrl+space").rpartition("+")
    return key_shown(f"{held}+" if held else "") + (NAMES.get(last) or key_to_character(last) or last)


def action_entries(actions: Iterable[Action]) -> list[Entry]:
    """The actions with a key, and how each is confirmed."""
    words = {Risk.READ: "", Risk.CHANGE: "asks y/n", Risk.DESTROY: "asks in a dialog", Risk.SPEND: "asks for the name"}
    return [(shown(one.key), one.title, words[one.risk]) for one in actions if one.key]


def grouped(bindings: Iterable[tuple[str, Binding]]) -> dict[str, list[Entry]]:
    """Live bindings by where they are bound; several keys of one action share a line."""
    groups: dict[str, dict[tuple[str, str], list[str]]] = {}
    for group, binding in bindings:
        if binding.description and not binding.action.startswith("verb("):
            keys = groups.setdefault(group, {}).setdefault((binding.action, binding.description), [])
            keys.append(shown(binding.key))
    return {
        group: [(" ".join(dict.fromkeys(keys)), description, "") for (_, description), keys in entries.items()] for group, entries in groups.items()
    }


class HelpScreen(ModalScreen[None]):
    """All groups in one scrolling list."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close")]

    def __init__(self, groups: dict[str, list[Entry]]) -> None:
        super().__init__()
        self.groups = groups

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", id="help") as box:
            box.border_title = content([("Keys", Tone.STRONG)]).markup
            yield Static(Content("\n").join(self._lines()), id="help-body")

    def _lines(self) -> list[Content]:
        lines: list[Content] = []
        for group, entries in self.groups.items():
            lines.append(content([(group, Tone.INFO)]))
            for keys, description, more in entries:
                parts: list[Part] = [(f"  {keys:<18}", Tone.STRONG), (f"{description:<34}", Tone.PLAIN), (more, Tone.MUTED)]
                lines.append(content(parts))
            lines.append(Content(""))
        return lines[:-1]


class StartScreen(ModalScreen[str]):
    """What stands in for a cluster when none can be opened: what was tried, how to mend it, and the practice cluster."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "choose('practice')", "Practice cluster"),
        Binding("r", "choose('again')", "Try again"),
        Binding("q,escape", "choose('quit')", "Quit"),
    ]

    def __init__(self, message: str, hint: str) -> None:
        super().__init__()
        self.message, self.hint = message, hint

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", id="start") as box:
            box.border_title = content([("No cluster yet", Tone.STRONG)]).markup
            lines: list[list[Part]] = [
                [("✖ " + self.message, Tone.BAD)],
                [("→ " + self.hint if self.hint else "", Tone.MUTED)],
                [("", Tone.PLAIN)],
                [("p", Tone.INFO), ("  fly the practice cluster: it runs here, its GPUs are SIMULATED, its jobs train for real", Tone.PLAIN)],
                [("r", Tone.INFO), ("  try again", Tone.PLAIN)],
                [("q", Tone.INFO), ("  quit", Tone.PLAIN)],
            ]
            yield Static(Content("\n").join([content(line) for line in lines]))

    def action_choose(self, answer: str) -> None:
        self.dismiss(answer)
