"""Kubernetes quantities as whole thousandths, so that "100m", "1.5Gi" and 8 add up without rounding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

Amounts = dict[str, int]
"""Resource name to an amount in thousandths of its unit (cores, bytes, devices)."""

SUFFIXES: dict[str, Decimal] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def thousandths(quantity: str | int | float) -> int:
    """A quantity in thousandths, rounded up; ValueError for what is no quantity."""
    text = str(quantity).strip()
    digits = text.rstrip("numkKMGTPEi")
    suffix = text[len(digits) :]
    try:
        exact = Decimal(digits) * SUFFIXES[suffix] * 1000
    except (ArithmeticError, KeyError) as error:
        raise ValueError(f"not a quantity: {quantity!r}") from error
    whole = int(exact)
    return whole if whole == exact else whole + 1


def written(resource: str, amount: int) -> str:
    """An amount in thousandths as Kubernetes writes it: "150m", "8", "240Mi"."""
    if amount % 1000:
        return f"{amount}m"
    units = amount // 1000
    if resource != "memory" and not resource.startswith("ephemeral-storage"):
        return str(units)
    for suffix in ("Gi", "Mi", "Ki"):
        size = int(SUFFIXES[suffix])
        if units and units % size == 0:
            return f"{units // size}{suffix}"
    return str(units)


def amounts(quantities: Mapping[str, str | int | float] | None) -> Amounts:
    """A resource list as amounts in thousandths."""
    return {resource: thousandths(quantity) for resource, quantity in (quantities or {}).items()}


def written_amounts(held: Mapping[str, int]) -> dict[str, str]:
    """Amounts as a resource list."""
    return {resource: written(resource, amount) for resource, amount in held.items()}


def total(many: Iterable[Mapping[str, int]]) -> Amounts:
    """The sum of many amounts, resource by resource."""
    summed: Amounts = {}
    for one in many:
        for resource, amount in one.items():
            summed[resource] = summed.get(resource, 0) + amount
    return summed


def larger(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    """The larger of two amounts, resource by resource."""
    return {resource: max(left.get(resource, 0), right.get(resource, 0)) for resource in {**left, **right}}


def times(held: Mapping[str, int], count: int) -> Amounts:
    """Amounts multiplied by a count."""
    return {resource: amount * count for resource, amount in held.items()}


def lacking(wanted: Mapping[str, int], free: Mapping[str, int]) -> list[str]:
    """The resources of which more is wanted than free; a wish for nothing is never lacking."""
    return [resource for resource, amount in wanted.items() if amount > 0 and amount > free.get(resource, 0)]
