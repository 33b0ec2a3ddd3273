"""The footer: as many keys as fit, and always the one that tells of the others."""

from __future__ import annotations

import pytest

from cockpit.tui.status import key_parts

KEYS = [("⏎", "open", True), ("c", "cordon", True), ("s", "debug pod", False), ("r", "drain", True), ("?", "help", True)]


def text(width: int) -> str:
    return "".join(words for words, _ in key_parts(KEYS, width))


def test_all_keys_stand_where_there_is_room() -> None:
    assert text(60) == "⏎ open   c cordon   s debug pod   r drain   ? help"
    assert text(len(text(60))) == text(60)


@pytest.mark.parametrize("width", range(16, 50))
def test_help_is_never_left_out_and_the_line_never_longer_than_the_screen(width: int) -> None:
    shown = text(width)
    assert shown.endswith("   ? help") and len(shown) <= width
    assert shown == text(60) or "…   ? help" in shown
