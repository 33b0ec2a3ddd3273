"""The one line at the bottom that `:` and `/` open: with completion, with history, gone when not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static


class Completer(Suggester):
    """Completes the first word of a command."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._prompt = prompt

    async def get_suggestion(self, value: str) -> str | None:
        if not value or self._prompt.mode == "/":
            return None
        return next((word for word in self._prompt.words if word.startswith(value)), None)


class Prompt(Input):
    """`mode` is `:` or `/`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False),
        Binding("up", "recall(-1)", "Older", show=False),
        Binding("down", "recall(1)", "Newer", show=False),
        Binding("tab", "complete", "Complete", show=False),
    ]

    class Typed(Message):
        """The text changed, was entered (`final`), or was given up (`text` is None)."""

        def __init__(self, mode: str, text: str | None, final: bool) -> None:
            super().__init__()
            self.mode, self.text, self.final = mode, text, final

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.mode = ":"
        self.words: Sequence[str] = ()
        self.past: dict[str, list[str]] = {":": [], "/": []}
        self._at = 0
        self.suggester = Completer(self)

    def open(self, mode: str, words: Sequence[str], text: str = "") -> None:
        """Show the line."""
        self.mode, self.words, self.value = mode, words, text
        self._at = len(self.past[mode])
        self.placeholder = "a view or an action, then --name value …" if mode == ":" else "text   /regex/   !not   -f fuzzy"
        self._line("-open", True)
        self.query_ancestor(PromptLine).query_one(Static).update(mode)
        self.cursor_position = len(text)
        self.screen.set_focus(self)

    def close(self) -> None:
        """Hide the line."""
        self._line("-open", False)

    def _line(self, name: str, on: bool) -> None:
        self.query_ancestor(PromptLine).set_class(on, name)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell the screen while typing."""
        event.stop()
        if self.query_ancestor(PromptLine).has_class("-open"):
            self.post_message(self.Typed(self.mode, event.value, False))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        event.stop()
        text = event.value.strip()
        if text and (not self.past[self.mode] or self.past[self.mode][-1] != text):
            self.past[self.mode].append(text)
        self.close()
        self.post_message(self.Typed(self.mode, text, True))

    def action_leave(self) -> None:
        self.close()
        self.post_message(self.Typed(self.mode, None, True))

    def action_complete(self) -> None:
        self.action_cursor_right()

    def action_recall(self, step: int) -> None:
        past = self.past[self.mode]
        self._at = max(0, min(len(past), self._at + step))
        self.value = past[self._at] if self._at < len(past) else ""
        self.cursor_position = len(self.value)


class PromptLine(Horizontal):
    """The prompt with its mode before it."""

    def compose(self) -> ComposeResult:
        yield Static(":", id="mode")
        yield Prompt(id="prompt")
