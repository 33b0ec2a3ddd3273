"""What a measurement says: one line, a value against its limit, and whether the promise is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEADING = f"{'name':<34} {'value':>9} {'unit':<5} {'limit':>7} {'ratio':>6}"


@dataclass(frozen=True)
class Reading:
    """One measurement. `limit` is the most it may be, or with `at_least` the least; `note` holds what it was made of."""

    name: str
    value: float
    unit: str
    limit: float
    at_least: bool = False
    note: str = ""

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def ratio(self) -> float | None:
        """How many times better than the limit, 1 being the limit itself; None where that is no number."""
        above, below = (self.value, self.limit) if self.at_least else (self.limit, self.value)
        return above / below if below else None

    @property
    def line(self) -> str:
        """`name value unit limit ratio ok|OVER`, and the note."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        told = f"{self.name:<34} {self.value:>9.2f} {self.unit:<5} {self.limit:>7g} {ratio:>6} {'ok' if self.kept else 'OVER':<4} {self.note}"
        return told.rstrip()


def tell(readings: Iterable[Reading]) -> list[Reading]:
    """Print each reading when it is there; returns them all."""
    told = []
    for one in readings:
        print(one.line, flush=True)
        told.append(one)
    return told
