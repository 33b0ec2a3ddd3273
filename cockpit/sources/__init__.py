"""Outside -> facts: each source reads one thing, lists it, watches it, and says in the store how far it may be believed."""

from __future__ import annotations

import importlib
import threading
from typing import Any, Protocol

from cockpit.store import Store

SOURCES = {
    "nodes": "cockpit.sources.nodes",
    "pods": "cockpit.sources.pods",
    "jobs": "cockpit.sources.jobs",
    "nodepools": "cockpit.sources.nodepools",
    "nodeclaims": "cockpit.sources.nodeclaims",
    "nodeclasses": "cockpit.sources.nodeclasses",
    "queues": "cockpit.sources.queues",
    "events": "cockpit.sources.events",
    "served": "cockpit.sources.served",
    "gpus": "cockpit.sources.gpus",
    "efa": "cockpit.sources.efa",
    "prices": "cockpit.sources.prices",
    "progress": "cockpit.sources.progress",
    "lastwords": "cockpit.sources.lastwords",
    "volumeclaims": "cockpit.sources.volumeclaims",
    "priorities": "cockpit.sources.priorities",
    "api": "cockpit.sources.api",
}

READ_THE_STORE = frozenset({"efa", "progress", "lastwords"})
"""Sources that need rows of others (nodes; jobs and pods): they are filled after the rest."""


class Source(Protocol):
    """Reads through `kube`, writes to `store`; never raises a CockpitError."""

    name: str

    def list(self, kube: Any, store: Store) -> None:
        """Read everything once: rows, then Synced or Failed."""

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """Keep the rows true until `stop` is set; recovers by itself."""


def load(name: str) -> Source:
    """A fresh source of that name; KeyError when there is none."""
    source: Source = importlib.import_module(SOURCES[name]).source()
    return source
