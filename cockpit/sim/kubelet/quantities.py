"""Kubernetes resource quantities as numbers."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation

SUFFIXES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
SUFFIXES |= {suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)}
SUFFIXES |= {suffix: Decimal(2) ** (10 * power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}


def quantity(text: str | int | float | None) -> Decimal:
    """A quantity such as `500m`, `2Gi` or `8` in its base unit (cores, bytes, devices); nothing is 0; ValueError when malformed."""
    value = str(text if text is not None else 0).strip()
    for width in (2, 1, 0):
        head, suffix = (value[: len(value) - width], value[len(value) - width :]) if width else (value, "")
        if suffix not in SUFFIXES or (width and not suffix):
            continue
        try:
            return Decimal(head) * SUFFIXES[suffix]
        except InvalidOperation:
            continue
    raise ValueError(f"not a resource quantity: {value!r}")


def divided(amount: Decimal, divisor: Decimal) -> str:
    """The text a resourceFieldRef gives: the amount in units of the divisor, rounded up."""
    return str(math.ceil(amount / (divisor or Decimal(1))))
