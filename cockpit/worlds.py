"""The outside as one call sees it: a session with a cluster, or the programs and clouds that need none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.core import Action, Clients
from cockpit.errors import NoKubeconfig
from cockpit.flags import Asked
from cockpit.snapshot import Snapshot
from cockpit.store import Store

if TYPE_CHECKING:
    from cockpit.session import Session

SECOND = ("gpus", "efa", "prices", "progress")
"""Sources that look for nodes, pods and jobs in the store."""


@dataclass
class World:
    """The outside as one call sees it: a session with a cluster, or a shell alone."""

    clients: Clients
    session: Session | None = None
    wake: threading.Event = field(default_factory=threading.Event)
    apart: Store = field(default_factory=Store)

    @property
    def store(self) -> Store:
        """The session's store; one of its own without a cluster."""
        return self.session.store if self.session is not None else self.apart

    @property
    def name(self) -> str | None:
        """The cluster's name; None without one."""
        return self.clients.kube.cluster if self.clients.kube else None

    @property
    def simulated(self) -> bool | None:
        """True on the practice cluster, None before it has answered."""
        found: bool | None = self.clients.kube.simulated if self.clients.kube else None
        return found

    @property
    def namespace(self) -> str:
        """The context's namespace."""
        return self.clients.kube.namespace if self.clients.kube else ""

    def fill(self, needs: tuple[str, ...], can_lack: tuple[str, ...] = ()) -> None:
        """Read these once, those that read what others found after them; raises the first failure but of `can_lack` that may not be read."""
        for part in ([name for name in needs if name not in SECOND], [name for name in needs if name in SECOND]):
            if part and self.session is None:
                raise NoKubeconfig("there is no cluster to read", "set KUBECONFIG, or give --kubeconfig or --sim")
            if part and self.session is not None:
                self.session.fill(part, can_lack)

    def snapshot(self) -> Snapshot:
        """The picture of now."""
        return self.store.snapshot()


@contextmanager
def outside(asked: Asked, action: Action) -> Iterator[World]:
    """Connect what the action asks for, and close it; `kube-if-any` goes on without a kubeconfig."""
    if "kube" not in action.front and "kube-if-any" not in action.front:
        yield _alone(asked)
        return
    from cockpit.session import Options, open_session

    wake = threading.Event()
    options = Options(
        kubeconfig=asked.kubeconfig,
        context=asked.context,
        namespace=asked.namespace,
        impersonate=asked.impersonate,
        readonly=asked.readonly,
        sim=asked.sim,
    )
    try:
        session = open_session(options, on_change=wake.set)
    except NoKubeconfig:
        if "kube" in action.front:
            raise
        yield _alone(asked)
        return
    try:
        yield World(session.clients, session, wake)
    finally:
        session.close()


def _alone(asked: Asked) -> World:
    from cockpit.clients.aws import Aws
    from cockpit.clients.shell import Shell

    return World(Clients(shell=Shell(), aws=Aws(), readonly=asked.readonly))
