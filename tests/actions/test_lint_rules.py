"""Each rule of lint: the smallest manifest that breaks it, and that its mend, where it has one, heals it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from actions.core.lints import context_of, flaws_of, mend, rules
from actions.core.lints.flaws import Document
from actions.lint import SHAPES
from tests.actions.lint_cases import CASES, HEALTHY, POOL, QUEUE, REMOVE, TRAINJOB, VERSIONED, Change


def changed(text: str, changes: list[Change]) -> Any:
    data = yaml.safe_load(text)
    for path, value in changes:
        held = data
        for step in path[:-1]:
            held = held[step]
        if value is REMOVE:
            del held[path[-1]]
        else:
            held[path[-1]] = value
    return data


def told(case: tuple[str, str, list[Change], dict[str, Any]], heal: bool = False) -> list[Any]:
    _, text, changes, around = case
    document = Document(changed(text, changes))
    beside = [Document(changed(one, [])) for one in around.get("beside", ())]
    more = {key: value for key, value in around.items() if key != "beside"}
    context = context_of([*beside, document], trainer=SHAPES["2.3"], **more)
    if heal:
        mend(document, context)
    return flaws_of(document, context)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_rule_finds_its_defect_and_mends_it_when_it_says_so(case: tuple[str, str, list[Change], dict[str, Any]]) -> None:
    rule = next(one for one in rules() if one.id == case[0])
    found = [flaw for flaw in told(case) if flaw.rule is rule]
    assert found
    assert all(flaw.message and "\n" not in flaw.message for flaw in found)
    assert all((flaw.mend is not None) == rule.mends for flaw in found)
    if rule.mends:
        assert rule.id not in {flaw.rule.id for flaw in told(case, heal=True)}


@pytest.mark.parametrize("text", [HEALTHY, TRAINJOB, POOL, QUEUE])
def test_what_is_sound_has_no_finding(text: str) -> None:
    assert told(("", text, [], {})) == []


def test_every_rule_has_its_case() -> None:
    assert {rule.id for rule in rules()} == {case[0] for case in CASES} | VERSIONED
