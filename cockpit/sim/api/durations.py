"""Ages as kubectl prints them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def parsed_time(text: Any) -> datetime | None:
    """A Kubernetes timestamp; None when it is none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def human_duration(seconds: float) -> str:
    """A duration in the one or two units that matter: 45s, 5m10s, 3h, 2d4h."""
    if seconds < -1:
        return "<invalid>"
    total = max(0, int(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{_rest(total % 60, 's')}"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{_rest(minutes % 60, 'm')}"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{_rest(hours % 24, 'h')}"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{_rest(days % 365, 'd')}" if days < 2920 else f"{days // 365}y"


def _rest(amount: int, unit: str) -> str:
    return f"{amount}{unit}" if amount else ""


def since(text: Any, now: datetime | None = None) -> str:
    """The age of a timestamp; <unknown> when there is none."""
    moment = parsed_time(text)
    if moment is None:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())
