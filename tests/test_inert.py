"""Nothing a cluster writes may act on a terminal: what `inert` lets through is printable and of bounded length."""

from __future__ import annotations

import random
import unicodedata

import pytest

from cockpit.inert import inert


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("ip-10-0-4-210", "ip-10-0-4-210"),
        ("[bold red]no markup[/]", "[bold red]no markup[/]"),
        ("\x1b]0;owned\x07", "␛]0;owned␇"),
        ("a\nb\tc\r", "a␊b␉c␍"),
        ("\x9b31mred", "�31mred"),
        ("user\u202egnp.exe", "user�gnp.exe"),
        ("ad\u200bmin", "ad�min"),
        ("\ud800 half", "� half"),
        ("a\xa0b\u3000c", "a b c"),
        ("학습 🚀", "학습 🚀"),
        ("caf\u0065\u0301", "caf\u0065\u0301"),
        ("z" + "\u0301" * 40, "z�"),
        ("\x7f", "␡"),
    ],
)
def test_each_kind_of_trick_is_shown(given: str, shown: str) -> None:
    assert inert(given) == shown


def test_length_is_bounded_and_the_cut_is_seen() -> None:
    assert inert("x" * 1_000_000, 80) == "x" * 79 + "…"
    assert len(inert("\x1b" * 1_000_000)) == 4096


def test_no_control_or_format_character_gets_through() -> None:
    dice = random.Random(3)
    for _ in range(300):
        text = "".join(chr(dice.choice((dice.randrange(0x300), dice.randrange(0x3000), dice.randrange(0x110000)))) for _ in range(80))
        left = {unicodedata.category(letter) for letter in inert(text)}
        assert not left & {"Cc", "Cs", "Zl", "Zp", "Co"}
        inert(text).encode("utf-8")


def test_what_is_inert_stays_as_it_is() -> None:
    once = inert("\x1b[2J\u202e evil\n")
    assert inert(once) == once
