"""What is installed, served, permitted and missing, and what does not work for it."""

from __future__ import annotations

import importlib.metadata
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.checkups import Row, apps, rights, row, served
from actions.core.installs import MODULES, PROGRAMS, Program
from cockpit.errors import CockpitError
from cockpit.programs import install_line
from cockpit.snapshot import Snapshot

VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?(?:[-+][\w.]+)?")
VERSION_SECONDS = 10.0
GROUPS = ("installed", "connection", "served", "add-on", "permission", "practice cluster")


@dataclass(frozen=True)
class Params:
    """Which part."""

    only: str = param("only this part", "", choices=GROUPS)
    namespace: str = param("namespace the permissions are asked for", "", picks="namespaces")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Row]:
    """One record a finding, the most needed first; without a cluster it says so and tells of this machine alone."""
    for part in _parts(clients, params, stop):
        if stop.is_set():
            return
        if not params.only or part["kind"] == params.only:
            yield part


def _parts(clients: Clients, params: Params, stop: threading.Event) -> Iterator[Row]:
    if params.only in ("", "installed"):
        yield from (_program(clients.shell, one) for one in PROGRAMS)
    if params.only != "installed" and params.only != "practice cluster":
        yield from _cluster(clients, params.namespace)
    if params.only in ("", "practice cluster"):
        yield from (_module(name, *words) for name, words in MODULES.items())


def _program(shell: Any, one: Program) -> Row:
    disables = ", ".join(one.actions)
    if shell.which(one.name) is None:
        return row("installed", one.name, "missing", "not on PATH", disables, install_line(one.name), one.needed)
    try:
        said = shell.run((one.name, *one.version), timeout_seconds=VERSION_SECONDS)
    except CockpitError as error:
        return row("installed", one.name, "unknown", error.message, disables, install_line(one.name), one.needed)
    found = VERSION.search(said)
    return row("installed", one.name, "ok", found[0] if found else said.strip()[:60])


def _module(name: str, use: str, install: str) -> Row:
    try:
        return row("practice cluster", name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return row("practice cluster", name, "missing", "", use, install)


def _cluster(clients: Clients, namespace: str) -> Iterator[Row]:
    """The connection, then what can be asked over it; nothing more where nobody answers."""
    kube = clients.kube
    if kube is None:
        error = clients.unconnected
        why, remedy = (error.message, error.hint) if error is not None else ("no kubeconfig", "")
        yield row("connection", "kubeconfig", "missing", why, "every action on a cluster", remedy or "cockpit --sim", needed=True)
        return
    yield row("connection", "kubeconfig", "ok", f"context {kube.context or '-'}, {kube.server}")
    try:
        version = str(kube.version().get("gitVersion") or "?")
    except CockpitError as error:
        yield row("connection", "API server", "missing", error.message, "every action on a cluster", error.hint, needed=True)
        return
    yield row("connection", "API server", "ok", version + ("; SIMULATED" if kube.simulated else ""))
    yield row("connection", "credentials", "ok", kube.credentials_told)
    yield from served(kube)
    yield from apps(kube)
    yield from rights(kube, namespace or kube.namespace, _known(kube))


def _known(kube: Any) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = kube.served()
    except CockpitError:
        return None
    return found


def verdict(found: Sequence[Mapping[str, Any]]) -> str:
    """Bad when something that everything needs is missing."""
    lacking = [f"{one['name']}: {one['detail'] or one['state']}" for one in found if one["needed"] and one["state"] != "ok"]
    return f"needed and missing: {'; '.join(lacking)}" if lacking else ""


def line(record: Mapping[str, Any], params: Params) -> str:
    """One finding, for a person."""
    mark = {"ok": "✔", "missing": "✖", "denied": "✖"}.get(str(record["state"]), "?")
    more = f"  disables {record['disables']}  → {record['remedy'] or '-'}" if record["disables"] else ""
    return f"{mark} {record['kind']:<16} {record['name']:<28} {record['state']:<8} {record['detail'] or ''}{more}"


ACTION = Action(
    name="doctor",
    title="Doctor",
    params=Params,
    front=("kube-or-why",),
    records=records,
    columns=(
        Column("kind", "PART"),
        Column("name", "NAME"),
        Column("state", "STATE"),
        Column("detail", "DETAIL"),
        Column("disables", "DISABLES"),
        Column("remedy", "REMEDY"),
    ),
    line=line,
    verdict=verdict,
    doc="Tells what is installed, served, permitted and missing, what that disables and how to mend it; exit 5 when something needed is missing.",
)
