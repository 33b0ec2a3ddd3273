"""The outside as one call sees it: a session with a cluster, or the programs and clouds that need none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actions.core import Action, Clients
from cockpit.errors import BadKubeconfig, CockpitError, NoKubeconfig, NotAuthorised
from cockpit.flags import Asked
from cockpit.narration import say
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
            if self.session is not None and part:
                self.session.fill(part, can_lack)

    def snapshot(self) -> Snapshot:
        """The picture of now."""
        return self.store.snapshot()


@contextmanager
def outside(asked: Asked, action: Action) -> Iterator[World]:
    """Connect what the action asks for, and close it."""
    session, why, wake = None, None, threading.Event()
    if {"kube", "kube-if-any", "kube-or-why"} & set(action.front):
        session, why = _session(asked, action, wake)
    if session is None:
        yield alone(asked, why)
        return
    try:
        yield World(session.clients, session, wake)
    finally:
        session.close()


def alone(asked: Asked, why: CockpitError | None) -> World:
    """No cluster, why not where one was looked for; the programs of this machine, and AWS."""
    from cockpit.clients.aws import Aws
    from cockpit.clients.shell import Shell

    return World(Clients(shell=Shell(), aws=Aws(), readonly=asked.readonly, unconnected=why))


def may_go_without(asked: Asked, action: Action) -> bool:
    """True when the action goes without a cluster that cannot be had, and nobody named one."""
    return "kube-or-why" in action.front or ("kube" not in action.front and not (asked.kubeconfig or asked.context or asked.sim))


def _session(asked: Asked, action: Action, wake: threading.Event) -> tuple[Session | None, CockpitError | None]:
    """The connection that was asked for; None, and why, when there is none and the action goes without."""
    from cockpit.session import Options, open_session

    options = Options(
        kubeconfig=asked.kubeconfig,
        context=asked.context,
        namespace=asked.namespace,
        impersonate=asked.impersonate,
        readonly=asked.readonly,
        sim=asked.sim,
    )
    try:
        return open_session(options, on_change=wake.set), None
    except (NoKubeconfig, BadKubeconfig, NotAuthorised) as error:
        if not may_go_without(asked, action):
            raise
        if not isinstance(error, NoKubeconfig):
            say(f"warning: {error.message}: going without a cluster")
        return None, error
