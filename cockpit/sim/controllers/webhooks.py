"""Refusals in the words of an admission webhook."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cockpit.sim.store import ApiError

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def denied(webhook: str, errors: Sequence[str]) -> ApiError:
    """The error an API server gives when this webhook says no."""
    said = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return ApiError(403, "Forbidden", f'admission webhook "{webhook}" denied the request: {said}')


def is_dns_1035(name: str) -> bool:
    """Whether a name may be a Service's: letters first, at most 63 characters."""
    return len(name) <= 63 and DNS_1035.fullmatch(name) is not None
