"""Lint manifests before they are applied: with no cluster by rules, with one also by its objects and its own dry run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, param
from actions.core.training_jobs import OVERRIDES
from cockpit.model import Finding
from cockpit.snapshot import Snapshot

SHAPES = {"2.0": "podSpecOverrides", "2.1": "podTemplateOverrides", "2.2": OVERRIDES[0], "2.3": OVERRIDES[0]}


@dataclass(frozen=True)
class Params:
    """Which manifests, judged for what, and where the mended ones go."""

    file: tuple[str, ...] = param("manifest, folder of manifests, or - for standard input; may be given again", (), short="f")
    kustomize: str = param("folder with a kustomization.yaml, rendered by kubectl", "", short="k")
    fix: bool = param("print the manifest with everything mended that can be mended without asking you", False)
    output_file: str = param("write the mended manifest into this file", "")
    write: bool = param("write what was mended into the files themselves", False)
    trainer: str = param(
        "judge TrainJobs for this Kubeflow Trainer; by default the one that is served, else as the file says", "", choices=tuple(SHAPES)
    )
    offline: bool = param("ask no cluster", False)
    namespace: str = param("namespace of what names none; by default the context's", "", picks="namespaces")

    @property
    def mending(self) -> bool:
        """True when something is to be mended."""
        return self.fix or self.write or bool(self.output_file)

    @property
    def to_stdout(self) -> bool:
        """True when stdout is to hold the mended manifest."""
        return self.mending and not self.write and not self.output_file

    @property
    def shape(self) -> str:
        """The field in which the asked-for Trainer takes pod settings; empty when none was asked for."""
        return SHAPES.get(self.trainer, "")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterable[Mapping[str, Any]]:
    """One record a finding, in the order of the files; a `note` says what could not be judged, `text` is the mended manifest."""
    from actions.core.lints.calls import records  # 20 ms that a screen's start can save

    return records(clients, snapshot, params, stop)


def _needs(params: Params) -> tuple[str, ...]:
    return () if params.offline else ("served", "nodepools", "nodes", "pods", "queues")


def line(found: Mapping[str, Any], params: Params) -> str:
    """A finding as a person reads it."""
    return str(found["line"])


def finding(found: Mapping[str, Any]) -> Finding | None:
    """A record as a finding of the answer; None for the mended manifest."""
    if "severity" not in found:
        return None
    where = f"{found['file']}:{found['line_number']}: {found['path']}"
    return Finding(found["id"], found["severity"], found["message"], f"{found['kind']}/{found['name']}", (where, found["why"]), found["mended"] or "")


def _pipes(params: Params) -> bool:
    return params.to_stdout


ACTION = Action(
    name="lint",
    title="Lint",
    params=Params,
    more_needs=_needs,
    can_lack=("served", "nodepools", "nodes", "pods", "queues"),
    front=("kube-if-any",),
    records=records,
    streams=True,
    line=line,
    finding=finding,
    pipes=_pipes,
    form=True,
    doc="Says what is wrong with manifests, each finding with file, line, path, why and the mended text; --fix prints the mended manifest. "
    "Works without a cluster; on one it adds its queues, pools, runtimes and the server's strict dry run. Exit 5 when errors or warnings are left.",
)
