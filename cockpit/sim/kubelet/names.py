"""Cluster DNS for pods: the names that resolve now, one file per namespace, and an `nslookup` that reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

NSLOOKUP = """#!/bin/sh
# SIMULATED: cluster DNS of the practice cluster; answers for names of ready pods and of services with ready pods.
name="${1%.}"
for suffix in .svc.cluster.local .cluster.local .svc; do name="${name%"$suffix"}"; done
if grep -qxF -- "$name" "$COCKPIT_SIM_NAMES" 2>/dev/null; then
  printf 'Server:\\t\\t10.100.0.10\\nAddress:\\t10.100.0.10#53\\n\\nName:\\t%s\\nAddress: 127.0.0.1\\n' "$1"
  exit 0
fi
printf "Server:\\t\\t10.100.0.10\\nAddress:\\t10.100.0.10#53\\n\\n** server can't find %s: NXDOMAIN\\n" "$1"
exit 1
"""


def install_shims(folder: Path) -> None:
    """Write the commands that pods find on their PATH: nslookup, and python where this interpreter has another name."""
    folder.mkdir(parents=True, exist_ok=True)
    shims = {"nslookup": NSLOOKUP}
    for name in ("python", "python3"):
        if not (Path(sys.executable).parent / name).exists():
            shims[name] = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    for name, text in shims.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def resolvable(cluster: Any, namespace: str, ready: list[dict[str, Any]]) -> list[str]:
    """Names that resolve: services with a ready pod, and `hostname.subdomain` of ready pods; with and without the namespace."""
    names = set()
    for pod in ready:
        spec = pod["spec"]
        if spec.get("subdomain"):
            names.add(f"{spec.get('hostname') or pod['metadata']['name']}.{spec['subdomain']}")
    for service in cluster.list("services", namespace):
        selector = (service.get("spec") or {}).get("selector") or {}
        labels = [(pod["metadata"].get("labels") or {}).items() for pod in ready]
        if selector and any(selector.items() <= items for items in labels):
            names.add(service["metadata"]["name"])
    return sorted(names | {f"{name}.{namespace}" for name in names})


def publish(folder: Path, cluster: Any, namespace: str, ready: list[dict[str, Any]]) -> None:
    """Write the namespace's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / namespace).write_text("".join(name + "\n" for name in resolvable(cluster, namespace, ready)))
