"""Text from a cluster, made harmless before it reaches a terminal, a file or a form.

Node names, labels, messages and log lines are written by others: an escape sequence could retitle the terminal, a bidi override could swap
what a person reads, a zero-width letter could make two names look alike. Each such character becomes a visible placeholder of one cell.
"""

from __future__ import annotations

import re

LIMIT = 4096
ELLIPSIS = "…"
PLACEHOLDER = "�"

_SUSPECT = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    "\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
    "|[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{3,}"
)
_SPACES = frozenset("\xa0\u1680\u202f\u205f\u3000") | {chr(code) for code in range(0x2000, 0x200B)}


def inert(text: str, limit: int = LIMIT) -> str:
    """`text` as one line of at most `limit` characters in which nothing acts on a terminal.

    C0 controls become their Unicode pictures (␛, ␊), the exotic spaces a plain one; C1 controls, bidi overrides, zero-width and private
    characters, lone surrogates, and piles of three or more combining marks become �. What is cut ends in an ellipsis.
    """
    if len(text) > limit:
        text = text[: max(0, limit - 1)] + ELLIPSIS
    if text.isascii() and text.isprintable():
        return text
    return _SUSPECT.sub(_placeholder, text)


def _placeholder(found: re.Match[str]) -> str:
    letter = found.group()[0]
    if letter < "\x20":
        return chr(0x2400 + ord(letter))
    if letter == "\x7f":
        return "␡"
    return " " if letter in _SPACES else PLACEHOLDER
