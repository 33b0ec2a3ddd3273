"""Text from a cluster is hostile until it has passed here: no escape sequence, control character or direction override of theirs reaches a terminal."""

from __future__ import annotations

import re

CONTROL = "\x00-\x08\x0a-\x1f\x7f-\x9f"
INVISIBLE = "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
SURROGATES = "\ud800-\udfff"
_UNSAFE = re.compile(f"[{CONTROL}{INVISIBLE}{SURROGATES}\t]")

TAB = "    "
REPLACEMENT = "\ufffd"


def inert(text: str) -> str:
    """The text on one line with everything that acts on a terminal shown as a visible placeholder: ESC as \u241b, U+202E as \\u202e."""
    return _UNSAFE.sub(_placeholder, text) if _UNSAFE.search(text) else text


def _placeholder(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x09:
        return TAB
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code < 0x100:
        return f"\\x{code:02x}"
    if 0xD800 <= code <= 0xDFFF:
        return REPLACEMENT
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
