"""The clipboard of the terminal in front of the person, also over SSH and through tmux, by the escape sequence OSC 52."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

from cockpit.errors import Refused

CLIP_BYTES = 74_994
"""What terminals take at least: 100,000 bytes of base64, less the frame around them."""


def fits(text: str) -> bool:
    """True when a terminal takes that much."""
    return len(text.encode()) <= CLIP_BYTES


def osc52(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The sequence that puts `text` into the clipboard; Refused when it is more than terminals take.

    Inside tmux it is sent twice: wrapped, for a tmux that lets sequences through, and plain, for one that keeps its own clipboard.
    """
    if not fits(text):
        raise Refused(f"{len(text.encode()):,} bytes are more than a terminal's clipboard takes ({CLIP_BYTES:,})", "^s saves it to a file")
    plain = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    inside = (os.environ if environ is None else environ).get("TMUX")
    return f"\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\{plain}" if inside else plain
