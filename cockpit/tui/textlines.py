"""A view of text lines (logs, YAML, descriptions): bounded, searchable, wrapped or scrolled sideways, and cheap to append to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cockpit.inert import inert
from cockpit.tui.cells import Part, Tone
from cockpit.tui.lines import content

LINE_LIMIT = 4096
KEPT_LINES = 20_000
SLACK_LINES = 2_000


class Line(NamedTuple):
    """One line: when it was said, who said it, and what."""

    text: str
    time: str = ""
    source: str = ""
    tone: Tone = Tone.PLAIN


class LineView(ScrollView, can_focus=True):
    """The newest `KEPT_LINES` lines; what was let go is counted in the title."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{tone.value}" for tone in Tone} | {"table--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "line(1)", "Down", show=False),
        Binding("up,k", "line(-1)", "Up", show=False),
        Binding("left,h", "side(-8)", "Left", show=False),
        Binding("right", "side(8)", "Right", show=False),
        Binding("g,home", "top", "Top", show=False),
        Binding("G,end", "bottom", "Bottom", show=False),
        Binding("ctrl+f,pagedown", "turn(1)", "Page down", show=False),
        Binding("ctrl+b,pageup", "turn(-1)", "Page up", show=False),
        Binding("n", "match(1)", "Next match"),
        Binding("N", "match(-1)", "Previous match"),
        Binding("c,Y", "app.copy", "Copy the text"),
        Binding("w", "wrap", "Wrap"),
        Binding("t", "times", "Times"),
        Binding("s", "follow", "Autoscroll"),
        *(Binding(word, f"ask({word!r})", "Since: 0 tail, 1m 5m 15m 30m 1h 24h", show=False) for word in "0123456"),
        Binding("left_square_bracket", "ask('[')", "Previous rank", show=False),
        Binding("right_square_bracket", "ask(']')", "Next rank", show=False),
    ]

    class Asked(Message):
        """A key that asks for other lines."""

        def __init__(self, word: str) -> None:
            super().__init__()
            self.word = word

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.lines: list[Line] = []
        self.rows: list[tuple[int, str]] = []
        self.title_text = ""
        self.dropped = 0
        self.wrap = False
        self.times = False
        self.following = False
        self.sought = ""
        self.found: list[int] = []
        self._at_match, self.lines_painted = -1, 0
        self._offset = 0
        self._title_parts: list[Part] = []

    def open(self, title: str, lines: Iterable[Line] = (), following: bool = False) -> None:
        """Start over with another text."""
        self.title_text, self.following, self.dropped, self.sought, self.found = title, following, 0, "", []
        self.lines, self.rows, self._offset = [], [], 0
        self.append(lines)
        self.scroll_to(y=0, animate=False)
        self._retitle()

    def append(self, lines: Iterable[Line], dropped: int = 0) -> None:
        """Add lines; the oldest go when there are too many."""
        before = len(self.lines)
        self.lines.extend(lines)
        self.dropped += dropped
        if len(self.lines) > KEPT_LINES + SLACK_LINES:
            over = len(self.lines) - KEPT_LINES
            del self.lines[:over]
            self.dropped += over
            self._lay_out()
        else:
            self._lay_out(before)
        self._resized()

    def _lay_out(self, start: int = 0) -> None:
        if start == 0:
            self.rows = []
            self.found = []
        width = max(8, self.scrollable_size.width - 1 - self._gutter)
        pattern = _pattern(self.sought)
        for index in range(start, len(self.lines)):
            text = inert(self.lines[index].text.expandtabs(4), LINE_LIMIT)
            if pattern is not None and pattern.search(text):
                self.found.append(len(self.rows))
            pieces = chop_cells(text, width) if self.wrap and cell_len(text) > width else [text]
            self.rows.extend((index if at == 0 else -1, piece) for at, piece in enumerate(pieces or [""]))

    @property
    def _gutter(self) -> int:
        return 13 if self.times else 0

    def _resized(self) -> None:
        self.virtual_size = Size(self.scrollable_size.width, len(self.rows))
        if self.following:
            self.scroll_to(y=max(0, len(self.rows) - self.size.height), animate=False, immediate=True, force=True)
        self._retitle()
        self.refresh()

    def on_screen(self) -> list[Line]:
        """The lines of which something is in sight."""
        top = self.scroll_offset.y
        first = next((index for index, _ in reversed(self.rows[: top + 1]) if index >= 0), 0)
        return [self.lines[index] for index in sorted({first, *(index for index, _ in self.rows[top : top + self.size.height] if index >= 0)})]

    def search(self, query: str) -> None:
        """Find text or /regex/; n and N go from match to match."""
        self.sought, self._at_match = query, -1
        self._lay_out()
        self._resized()
        if self.found:
            self.action_match(1)

    def render_line(self, y: int) -> Strip:
        """One row of the text."""
        row, width = y + self.scroll_offset.y, self.scrollable_size.width
        self.lines_painted += 1
        plain = self._style(Tone.PLAIN)
        if row >= len(self.rows):
            return Strip([Segment(" " * width, plain)])
        index, text = self.rows[row]
        line = self.lines[index] if index >= 0 else None
        segments = []
        if self._gutter:
            segments.append(Segment(set_cell_size(inert(line.time[11:23] if line else "", 12), 12) + " ", self._style(Tone.MUTED)))
        if line and line.source:
            segments.append(Segment(inert(line.source, 60) + " ", self._style(Tone.INFO)))
        if self._offset and not self.wrap:
            text = text[self._offset :]
        segments += self._highlighted(text, self._style(line.tone if line else Tone.PLAIN), row)
        return Strip(segments).crop(0, width).adjust_cell_length(width, plain)

    def _highlighted(self, text: str, style: Style, row: int) -> list[Segment]:
        pattern = _pattern(self.sought)
        if pattern is None or (match := pattern.search(text)) is None:
            return [Segment(text, style)]
        here = 0 <= self._at_match < len(self.found) and self.found[self._at_match] == row
        mark = style + Style(reverse=True, bold=here)
        return [Segment(text[: match.start()], style), Segment(match.group(), mark), Segment(text[match.end() :], style)]

    def _style(self, tone: Tone) -> Style:
        return self.get_component_rich_style(f"table--{tone.value}")

    def _retitle(self) -> None:
        parts: list[Part] = [(self.title_text, Tone.STRONG), (" ── ", Tone.TRACK), (f"{len(self.lines):,} lines", Tone.MUTED)]
        if self.dropped:
            parts.append((f" · {self.dropped:,} older lines dropped", Tone.WARN))
        if self.following:
            parts.append((" · following", Tone.GOOD))
        if self.sought:
            parts.append((f" · /{self.sought} {len(self.found):,} matches", Tone.INFO))
        if parts != self._title_parts:
            self._title_parts = parts
            self._border_title = content(parts)
            self.refresh()

    def on_resize(self) -> None:
        """Wrap for the new width."""
        self._lay_out()
        self._resized()
        self.call_after_refresh(self._resized)

    def action_line(self, step: int) -> None:
        self._stop_following(step)
        self.scroll_to(y=self.scroll_offset.y + step, animate=False, immediate=True, force=True)

    def action_turn(self, step: int) -> None:
        self.action_line(step * max(1, self.size.height - 1))

    def action_side(self, step: int) -> None:
        self._offset = max(0, self._offset + step)
        self.refresh()

    def action_top(self) -> None:
        self._stop_following(-1)
        self.scroll_to(y=0, animate=False, immediate=True, force=True)

    def action_bottom(self) -> None:
        self.scroll_to(y=len(self.rows), animate=False, immediate=True, force=True)

    def action_wrap(self) -> None:
        self.wrap = not self.wrap
        self._lay_out()
        self._resized()

    def action_times(self) -> None:
        self.times = not self.times
        self._lay_out()
        self._resized()

    def action_follow(self) -> None:
        self.following = not self.following
        self._resized()

    def action_ask(self, word: str) -> None:
        self.post_message(self.Asked(word))

    def action_match(self, step: int) -> None:
        if self.found:
            self._at_match = (self._at_match + step) % len(self.found)
            self._stop_following(-1)
            self.scroll_to(y=max(0, self.found[self._at_match] - self.size.height // 2), animate=False, immediate=True, force=True)
            self.refresh()

    def _stop_following(self, step: int) -> None:
        if step < 0 and self.following:
            self.following = False
            self._retitle()


def _pattern(query: str) -> re.Pattern[str] | None:
    if not query:
        return None
    if query.startswith("/"):
        try:
            return re.compile(query[1:].removesuffix("/"), re.IGNORECASE)
        except re.error:
            return None
    return re.compile(re.escape(query), re.IGNORECASE)
