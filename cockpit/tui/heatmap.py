"""Every GPU of the cluster at once: one cell each, grouped by node; a line is rendered again only when one of its GPUs changed."""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cockpit.inert import inert
from cockpit.store import Changes
from cockpit.tui.bars import gpu_part
from cockpit.tui.cells import Part, Tone, natural, short_node
from cockpit.tui.gpus import mean
from cockpit.tui.lines import content, padded
from cockpit.tui.views import Scene

GROUP = 8
LABEL = 16


class HeatMap(ScrollView, can_focus=True):
    """Nodes in natural order, several a line when they are many; the label is dropped before a node is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{tone.value}" for tone in Tone}

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.scene = Scene()
        self._names: list[str] = []
        self._line_of: dict[str, int] = {}
        self._widest = GROUP
        self._strips: dict[int, Strip] = {}
        self._styles: dict[Tone, Style] = {}
        self._title_parts: list[Part] = []
        self.lines_painted = 0

    def advance(self, scene: Scene, changes: Changes) -> None:
        """Repaint the lines whose GPUs changed."""
        touched = changes.get("gpus_by_node", ())
        self.scene = scene
        if any((node in scene.snapshot.gpus_by_node) != (node in self._line_of) for node in touched):
            self.reload(scene)
            return
        for line in {self._line_of[node] for node in touched if node in self._line_of}:
            self._strips.pop(line, None)
            if 0 <= line - self.scroll_offset.y < self.size.height:
                self.refresh(Region(0, line - self.scroll_offset.y, self.scrollable_size.width, 1))

    def reload(self, scene: Scene) -> None:
        """Lay the nodes out anew."""
        self.scene = scene
        self._names = sorted(scene.snapshot.gpus_by_node, key=natural)
        self._widest = max((len(scene.snapshot.gpus_by_node[node]) for node in self._names), default=GROUP)
        per_line = self._per_line
        self._line_of = {node: index // per_line for index, node in enumerate(self._names)}
        self._strips.clear()
        self.virtual_size = Size(self.scrollable_size.width, max(1, -(-len(self._names) // per_line)))
        self._retitle()
        self.refresh()

    @property
    def _labelled(self) -> bool:
        return len(self._names) <= max(1, self.size.height) * 2 and self.scrollable_size.width >= LABEL + self._widest + 7

    @property
    def _cell_width(self) -> int:
        return max(1, min(4, (self.scrollable_size.width - LABEL - 7) // self._widest)) if self._labelled else 1

    @property
    def _per_line(self) -> int:
        return 1 if self._labelled else max(1, (self.scrollable_size.width - 1) // (self._widest + 1))

    def _retitle(self) -> None:
        parts: list[Part] = [("Heat map", Tone.STRONG), (" ── ", Tone.TRACK), ("low ", Tone.MUTED)]
        for tone in (Tone.HEAT0, Tone.HEAT1, Tone.HEAT2, Tone.HEAT3, Tone.HEAT4, Tone.HEAT5):
            parts.append(("■", tone))
        parts += [(" high  ✖ xid ▼ throttle", Tone.MUTED)]
        if parts != self._title_parts:
            self._title_parts = parts
            self._border_title = content(parts)

    def render_line(self, y: int) -> Strip:
        """One line of nodes."""
        line = y + self.scroll_offset.y
        self.lines_painted += 1
        strip = self._strips.get(line)
        if strip is None:
            strip = self._strips[line] = self._strip(line)
        return strip

    def _strip(self, line: int) -> Strip:
        width, per_line = self.scrollable_size.width, self._per_line
        names = self._names[line * per_line : (line + 1) * per_line]
        parts: list[Part] = []
        for name in names:
            if self._labelled:
                parts.append((" " + padded(inert(short_node(name), 80), LABEL - 1), Tone.MUTED))
            gpus = self.scene.snapshot.gpus_on(name)
            parts += [(_wide(text, self._cell_width), tone) for text, tone in map(gpu_part, gpus)]
            util = mean(gpu.utilisation_percent for gpu in gpus) if self._labelled else None
            parts.append((" " if util is None else f" {util:3.0f} %", Tone.MUTED))
        runs = ((tone, "".join(text for text, _ in run)) for tone, run in groupby(parts, key=lambda part: part[1]))
        return Strip([Segment(text, self._style(tone)) for tone, text in runs]).adjust_cell_length(width, self._style(Tone.PLAIN))

    def _style(self, tone: Tone) -> Style:
        found = self._styles.get(tone)
        if found is None:
            found = self._styles[tone] = self.get_component_rich_style(f"table--{tone.value}")
        return found

    def notify_style_update(self) -> None:
        """Forget styles when the theme changed."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()

    def on_resize(self) -> None:
        """Lay out for the new width."""
        self.reload(self.scene)


def _wide(text: str, width: int) -> str:
    return text if width == 1 else text * (width - 1) + " "
