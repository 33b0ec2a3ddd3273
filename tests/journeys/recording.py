"""What the cockpit asks of the API server, written down, so that a key and a command line can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cockpit.clients.kube import Kube

GENERATED = re.compile(r"\b(web)-[a-z0-9]+-[a-z0-9]{5}\b")
REVIEWS = "/apis/authorization.k8s.io/"


class Recorder:
    """Requests that change something, as (method, path, query, body), without what differs from one time to the next."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str, str]] = []

    def take(self) -> list[tuple[str, str, str, str]]:
        """What was asked since the last time."""
        taken, self.calls = self.calls, []
        return taken

    def note(self, method: str, path: str, params: Any, body: Any) -> None:
        if method != "GET" and not path.startswith(REVIEWS):
            known = dict(params or {})
            text = GENERATED.sub(r"\1", json.dumps(steady(body), sort_keys=True))
            self.calls.append((method, GENERATED.sub(r"\1", path), json.dumps(known, sort_keys=True), text))


def steady(body: Any) -> Any:
    """A body without versions and uids."""
    if isinstance(body, dict):
        return {name: steady(value) for name, value in body.items() if name not in ("resourceVersion", "uid")}
    return [steady(one) for one in body] if isinstance(body, list) else body


@contextmanager
def recording() -> Iterator[Recorder]:
    """Every Kube of this process tells what it asks."""
    recorder, asked = Recorder(), Kube.request

    def request(self: Kube, method: str, path: str, **more: Any) -> dict[str, Any]:
        recorder.note(method, path, more.get("params"), more.get("body"))
        return asked(self, method, path, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kube, "request", request)
        yield recorder
