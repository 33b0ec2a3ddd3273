"""One field for a secret: what is typed is never shown, kept or repeated."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cockpit.tui.cells import Tone
from cockpit.tui.lines import content


class SecretScreen(ModalScreen[str | None]):
    """Gives what was typed, None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", priority=True)]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="secret") as box:
            box.border_title = content([("Secret", Tone.STRONG)]).markup
            yield Static(content([(self.question, Tone.PLAIN)]))
            yield Input(password=True, id="secret-value")
            yield Static(content([("it goes into the Secret and nowhere else", Tone.MUTED)]))

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter gives it."""
        event.stop()
        if event.value.strip():
            self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss(None)
