"""launch for somebody who may not see everything: planned with what is known, and told what is not."""

from __future__ import annotations

import dataclasses

import pytest

from cockpit.errors import BadInput, Forbidden, Refused
from cockpit.model import Health, State
from cockpit.snapshot import Snapshot
from tests.actions.pictures import PYTORCHJOB, claim, picture, price
from tests.actions.test_launch import body_of, cluster, container, planned

FORBIDDEN = Forbidden("not for you", "ask for a role")


def hidden(shown: Snapshot, *forbidden: str, **scopes: str) -> Snapshot:
    """The same picture to somebody who may not list some sources, or only in one namespace."""
    down = {name: Health(State.DOWN, error=FORBIDDEN) for name in forbidden}
    live = {name: Health(State.LIVE, scope=space) for name, space in scopes.items()}
    return dataclasses.replace(shown, health={**shown.health, **down, **live})


def test_what_may_not_be_listed_is_planned_without_and_told() -> None:
    plan = planned(
        hidden(picture(served=[PYTORCHJOB], prices=[price()], volumeclaims=[claim()]), "nodes", "nodepools", pods="default", jobs="default"),
        nodes=2,
        nproc=2,
    )
    limits = container(body_of(plan))["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "2", "whether there are GPUs is not known, which is not the same as none"
    assert plan.dollars_per_hour is None and plan.confirm == "ddp-1"
    assert "where 2 of 2 pods find room cannot be seen from here" in plan.notes
    assert [warning.split(":")[0] for warning in plan.warnings] == ["nodes may not be listed", "NodePools may not be listed"]


def test_a_queue_that_may_not_be_listed_is_taken_on_trust() -> None:
    shown = hidden(cluster(), "queues")
    plan = planned(shown, queue="mine")
    assert "LocalQueues of default may not be listed: whether mine is there is not checked" in plan.warnings
    with pytest.raises(BadInput, match="no LocalQueue 'mine'"):
        planned(cluster(), queue="mine")


def test_nodes_that_may_be_fuller_are_told_and_what_is_seen_is_still_counted() -> None:
    shown = hidden(cluster(), pods="default")
    assert any("may be fuller" in warning for warning in planned(shown, nodes=2, nproc=8).warnings)
    assert not planned(cluster(), nodes=2, nproc=8).warnings
    with pytest.raises(Refused):
        planned(shown, nodes=3, nproc=8)


def test_on_a_cluster_that_says_it_is_simulated_nothing_is_spent() -> None:
    plan = planned(hidden(picture(served=[PYTORCHJOB]), "nodes", "nodepools"))
    assert (plan.simulated, plan.confirm) == (False, "ddp-1")
    assert (plan.on(True).simulated, plan.on(True).confirm) == (True, "")
    assert plan.on(None) is plan and plan.on(False) is plan
