"""The heartbeat: whether the API server answers, asked every five seconds; the freshness all panes show."""

from __future__ import annotations

import threading
from typing import Any

from cockpit.errors import CockpitError, Forbidden, NotFound, NotServed, Unreachable
from cockpit.store import Failed, Store, Synced

BEAT_SECONDS = 5.0
ANSWER_SECONDS = 3.0


class Heartbeat:
    """Asks /readyz; when nobody answers any more, the open watches are ended so that their sources notice too."""

    name = "api"

    def list(self, kube: Any, store: Store) -> None:
        """One beat."""
        self._beat(kube, store)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """A beat every five seconds."""
        alive = True
        while not stop.is_set():
            was, alive = alive, self._beat(kube, store)
            if was and not alive:
                kube.interrupt()
            stop.wait(BEAT_SECONDS)

    def _beat(self, kube: Any, store: Store) -> bool:
        """True when the server answered, whatever it said."""
        try:
            kube.read("/readyz", timeout_seconds=ANSWER_SECONDS)
        except (Forbidden, NotFound, NotServed):
            pass
        except CockpitError as error:
            store.apply(Failed(self.name, error))
            return not isinstance(error, Unreachable)
        store.apply(Synced(self.name))
        return True


def source() -> Heartbeat:
    """Whether the API answers."""
    return Heartbeat()
