"""Charts: what is installed, and the command that installs one with its values on standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Change, Target
from actions.core.provisioning.pins import Addon
from cockpit.errors import ActionFailed

LIST_SECONDS = 60.0
WAIT = "15m"
CHART = re.compile(r"(?P<chart>.+?)-(?P<version>v?\d+\.\d+.*)")
CUT_SHORT = {"pending-install": "uninstall", "pending-upgrade": "rollback", "pending-rollback": "rollback"}
"""States helm will not go on from, and what frees the release."""


@dataclass(frozen=True)
class Release:
    """An installed chart: `chart` and its version apart."""

    name: str
    namespace: str
    chart: str
    version: str
    state: str


@dataclass(frozen=True)
class Access:
    """Which cluster a program on this machine is to speak to: the one the cockpit speaks to."""

    context: str = ""
    kubeconfig: str = ""
    impersonate: str = ""

    def helm(self) -> tuple[str, ...]:
        """As flags of helm."""
        return _flags(("--kube-context", self.context), ("--kubeconfig", self.kubeconfig), ("--kube-as-user", self.impersonate))

    def kubectl(self) -> tuple[str, ...]:
        """As flags of kubectl."""
        return _flags(("--context", self.context), ("--kubeconfig", self.kubeconfig), ("--as", self.impersonate))


def _flags(*pairs: tuple[str, str]) -> tuple[str, ...]:
    return tuple(word for flag, value in pairs if value for word in (flag, value))


def access_to(kube: Any) -> Access:
    """The cluster the cockpit speaks to; in a pod neither context nor kubeconfig, which helm then finds by itself."""
    return Access(kube.context, kube.kubeconfig or "", kube.impersonate or "")


def releases(shell: Any, access: Access) -> tuple[Release, ...]:
    """Every release of the cluster in whatever state; NotFound when there is no helm."""
    shell.require("helm")
    text = shell.run(["helm", "list", "--all-namespaces", "--all", "--output", "json", *access.helm()], timeout_seconds=LIST_SECONDS)
    try:
        return tuple(to_release(one) for one in json.loads(text or "[]"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ActionFailed("helm list said something that is no list of releases", "is it Helm 3?") from None


def to_release(raw: Mapping[str, Any]) -> Release:
    """An item of `helm list -o json` -> Release; `chart` there is NAME-VERSION."""
    found = CHART.fullmatch(raw["chart"])
    chart, version = (found["chart"], found["version"]) if found else (raw["chart"], "")
    return Release(raw["name"], raw["namespace"], chart, version, raw.get("status") or "")


def same_version(one: str, other: str) -> bool:
    """Whether two versions are one, whether or not they say v."""
    return one.removeprefix("v") == other.removeprefix("v")


def installs(addon: Addon, values: Mapping[str, Any], there: Release | None, access: Access) -> Iterator[Change]:
    """The changes that bring a chart to its pinned version; one that was cut short is freed first."""
    target = Target("Release", addon.release, addon.namespace)
    if there is not None and there.state in CUT_SHORT:
        verb = CUT_SHORT[there.state]
        argv = ("helm", verb, addon.release, "--namespace", addon.namespace, "--wait", *access.helm())
        yield Change("shell", "run", target, f"{verb} {addon.release}, which was cut short as {there.state}", " ".join(argv), argv=argv)
    argv = ("helm", "upgrade", "--install", addon.release, addon.chart, "--version", addon.version, "--namespace", addon.namespace)
    argv += ("--repo", addon.repo) if addon.repo else ()
    argv += ("--create-namespace", "--values", "-", "--wait", "--timeout", WAIT, *access.helm())
    before = None if there is None else {"version": there.version, "state": there.state}
    verb = "install" if there is None or there.state == "pending-install" else "upgrade"
    summary = f"{verb} {addon.name} {addon.version}: {addon.about}"
    yield Change(
        "shell", "run", target, summary, " ".join(argv), values, before=before, after={"version": addon.version, "values": values}, argv=argv
    )
