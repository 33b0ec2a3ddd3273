"""Fixtures of the practice cluster's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.serving import Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An empty practice cluster of its own."""
    one = Served(tmp_path / "sim")
    yield one
    one.close()
