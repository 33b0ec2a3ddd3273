"""The generated pages are what the registry says, and the pages a person reads name what is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from actions.core import names

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert SPEC and SPEC.loader
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


@pytest.mark.parametrize("page", ["actions.md", "keys.md"])
def test_generated_pages_are_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == generate.pages()[ROOT / "docs" / page], "run: python docs/generate.py"


def test_every_action_has_its_chapter() -> None:
    chapters = re.findall(r"^## (\S+)$", (ROOT / "docs" / "actions.md").read_text(), re.M)
    assert chapters == names()


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_what_a_page_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    linked = re.findall(r"\]\(([^)#]+)\)", text)
    rooms = re.findall(r"^\| `((?:cockpit|actions|manifests|training)/[\w./]*)`", text, re.M)
    missing = [name for name in [*linked, *rooms] if not (ROOT / name).exists() and not ((ROOT / page).parent / name).exists()]
    assert not missing


def test_the_first_two_commands_of_the_readme_are_demo_and_test() -> None:
    first = re.search(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert first is not None
    assert first.group(1).split("\n")[:2] == ["make demo", "make test"]
