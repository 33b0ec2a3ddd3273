"""One connected cluster: its clients, its store, and the sources that fill it, once for a script or for as long as a screen is open."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from actions.core import Clients
from cockpit.clients.aws import Aws
from cockpit.clients.kube import Kube
from cockpit.clients.object_store import ObjectStore
from cockpit.clients.shell import Shell
from cockpit.errors import ActionFailed, BadInput, CockpitError
from cockpit.model import State
from cockpit.sources import READ_THE_STORE, SOURCES, Source, load
from cockpit.store import Failed, Store

SIM_START_SECONDS = 60.0
CLOSE_SECONDS = 2.0
RESTART_SECONDS = 5.0


@dataclass(frozen=True)
class Options:
    """How to connect, as the command line says it; None means as kubectl would."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    impersonate: str | None = None
    readonly: bool = False
    sim: bool = False
    all_namespaces: bool = False
    timeout_seconds: float = 10.0


class Session:
    """The clients, the store, and the running sources."""

    def __init__(self, kube: Kube, shell: Shell, options: Options, on_change: Callable[[], None] | None = None) -> None:
        self.kube, self.shell, self.options = kube, shell, options
        self.clients = Clients(kube=kube, shell=shell, buckets=ObjectStore(shell), aws=Aws(), readonly=options.readonly)
        self.store = Store(on_change)
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fill(self, needs: Iterable[str], can_lack: Iterable[str] = ()) -> None:
        """Read each of these sources once, side by side.

        Raises the error of the first, in the order given, that could not be read. A source whose resources are not served is no error
        while another of them could be read, nor is one of `can_lack` that may not be read: its health says so.
        """
        sources = [_load(name) for name in dict.fromkeys(needs)]
        self.store.expect(*(source.name for source in sources))
        for later in (False, True):
            self._list_all([source for source in sources if (source.name in READ_THE_STORE) is later])
        error = self._failure([source.name for source in sources], frozenset(can_lack))
        if error is not None:
            raise error

    def _list_all(self, sources: list[Source]) -> None:
        threads = [threading.Thread(target=self._list, args=(source,), name=f"fill-{source.name}", daemon=True) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _list(self, source: Source) -> None:
        try:
            source.list(self.kube, self.store)
        except Exception as problem:  # the edge of a thread: what escapes here would be a picture that looks complete
            self.store.apply(Failed(source.name, stumbled(source.name, problem)))

    def _watch(self, source: Source) -> None:
        while not self._stop.is_set():
            try:
                source.watch(self.kube, self.store, self._stop)
            except Exception as problem:  # the edge of a thread: the source starts again
                self.store.apply(Failed(source.name, stumbled(source.name, problem)))
                self._stop.wait(RESTART_SECONDS)

    def _failure(self, names: list[str], can_lack: frozenset[str]) -> CockpitError | None:
        health = self.store.snapshot().health
        states = [health[name] for name in names if not (name in can_lack and health[name].forbidden)]
        broken = next((one.error for one in states if one.state in (State.DOWN, State.STALE) and one.error), None)
        if broken is not None or not states:
            return broken
        return states[0].error if all(one.state is State.ABSENT for one in states) else None

    def watch(self, names: Iterable[str]) -> None:
        """Start one thread for each of these sources that is not running yet."""
        sources = [_load(name) for name in dict.fromkeys(names) if name not in self._threads]
        self.store.expect(*(source.name for source in sources))
        for source in sources:
            thread = threading.Thread(target=self._watch, args=(source,), name=f"watch-{source.name}", daemon=True)
            self._threads[source.name] = thread
            thread.start()

    def close(self) -> None:
        """End the sources and the connections; waits at most two seconds for them."""
        self._stop.set()
        self.kube.close()
        for thread in self._threads.values():
            thread.join(CLOSE_SECONDS / max(1, len(self._threads)))


def open_session(options: Options, on_change: Callable[[], None] | None = None) -> Session:
    """Connect as the options say; `sim` starts the practice cluster first. No request is made to the API.

    NoKubeconfig, BadKubeconfig, NotAuthorised; ActionFailed when the practice cluster does not start.
    """
    shell = Shell()
    if options.sim:
        options = replace(options, kubeconfig=start_practice_cluster(shell), context=None)
    kube = Kube.connect(
        kubeconfig=options.kubeconfig,
        context=options.context,
        namespace=options.namespace,
        impersonate=options.impersonate,
        timeout_seconds=options.timeout_seconds,
    )
    return Session(kube, shell, options, on_change)


def start_practice_cluster(shell: Shell) -> str:
    """Start the practice cluster, or find it running; returns the path of its kubeconfig."""
    said = shell.run([sys.executable, "-m", "cockpit.sim", "start"], timeout_seconds=SIM_START_SECONDS, env=_importable())
    try:
        path = json.loads(said.strip().splitlines()[-1])["kubeconfig"]
    except (ValueError, IndexError, KeyError, TypeError):
        raise ActionFailed(
            f"the practice cluster did not say where it is: {said.strip()[-200:]!r}", "try: python -m cockpit.sim start --foreground"
        ) from None
    return str(path)


def _importable() -> dict[str, str]:
    """The environment in which `python -m cockpit.sim` finds the package that runs now."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def stumbled(source: str, problem: Exception) -> ActionFailed:
    """The failure of a source that met something nobody foresaw; only the kind of problem is told, its text may hold secrets."""
    return ActionFailed(f"the source {source} stumbled over a {type(problem).__name__}", "this is a fault of the cockpit: please report it")


def _load(name: str) -> Source:
    if name not in SOURCES:
        raise BadInput(f"there is no source {name!r}", f"known: {', '.join(SOURCES)}")
    return load(name)
