"""Monitoring: metrics that were renamed, log pipelines that keep the runtime's prefix, and a problem nobody repairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, mapping, put, strings

OLD_METRIC, NEW_METRIC = "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "DCGM_FI_DEV_CLOCKS_EVENT_REASONS"
PROCESS = re.compile(r'(loki\.process\s+"[^"]*"\s*\{)')
RENAMED = Rule(
    "dcgm-renamed",
    "warning",
    f"{OLD_METRIC}",
    f"DCGM calls it {NEW_METRIC}, and the exporter sends neither until its counters file asks for it",
    mends=True,
)
NO_CRI = Rule(
    "alloy-cri",
    "warning",
    "Alloy reads container log files without stage.cri",
    "every line keeps the runtime's time, stream and flag in front, and split lines stay split",
    mends=True,
)
NOT_REPAIRED = Rule(
    "npd-not-repaired",
    "warning",
    "a GPUProblem condition of the node problem detector",
    "Karpenter repairs Ready, AcceleratedHardwareReady and a few others, and only with the NodeRepair gate: nothing replaces this node",
)
RULES = (RENAMED, NO_CRI, NOT_REPAIRED)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with what is measured and logged."""
    for path, text in strings(document.data):
        if OLD_METRIC in text and path[:1] in (("data",), ("spec",)):
            yield RENAMED.at(path, f"{OLD_METRIC} does not exist any more", NEW_METRIC, partial(_replace, path=path, old=OLD_METRIC, new=NEW_METRIC))
    if document.kind != "ConfigMap":
        return
    for key, value in mapping(document.data, "data").items():
        path = ("data", key)
        text = value if isinstance(value, str) else ""
        if "loki.source.file" in text and "stage.cri" not in text:
            mend = partial(_with_stage, path=path) if PROCESS.search(text) else None
            yield NO_CRI.at(path, "loki.source.file without stage.cri {}", "stage.cri {} first in loki.process", mend)
        if "GPUProblem" in text and '"permanent"' in text:
            yield NOT_REPAIRED.at(
                path, "GPUProblem is none of the conditions Karpenter repairs", "the EKS node monitoring agent sets AcceleratedHardwareReady"
            )


def _replace(root: Any, path: Path, old: str, new: str) -> None:
    held = at(root, *path)
    _keep(root, path, held, held.replace(old, new))


def _with_stage(root: Any, path: Path) -> None:
    held = at(root, *path)
    _keep(root, path, held, PROCESS.sub(r"\1\n  stage.cri {}", held, count=1))


def _keep(root: Any, path: Path, old: Any, text: str) -> None:
    """Set a text in the style it had."""
    put(root, path, type(old)(text) if type(old) is not str else text)
