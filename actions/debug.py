"""A pod on a node, with a shell in it: there while you look, gone when you leave."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.errands import EVERYWHERE, creation, exit_code, free_name, literal, pod_path, said, until
from actions.core.lookups import nodes_named
from actions.core.render import manifest
from cockpit.errors import ActionFailed, BadInput, Forbidden, NotFound
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

IMAGE = "public.ecr.aws/amazonlinux/amazonlinux:2023"
HINT = "--image names one with sh"
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")
BEGIN = """\
if [ $# -gt 0 ]; then dnf -q -y install "$@" >/dev/null 2>&1 || echo "dnf could not install: $*" >&2; fi
"""
RUN = BEGIN + 'exec sh -c "$COMMAND"\n'
STAY = BEGIN + "exec sleep infinity\n"
SHELL = "exec $(command -v bash || command -v sh) -i"
KUBECTL = "curl -LO https://dl.k8s.io/release/v1.34.0/bin/linux/amd64/kubectl && sudo install kubectl /usr/local/bin/"


@dataclass(frozen=True)
class Params:
    """On which node, what to run, and with what rights."""

    node: str = param("node to look at", picks="nodes")
    command: str = param("run this there and print what it says, instead of opening a shell", "")
    packages: tuple[str, ...] = param("packages to install with dnf first, for example bind-utils,iputils", ())
    privileged: bool = param("all rights on the node: its processes, its devices, its files below /host", False)
    hours: float = param("the longest a shell may stay", 4.0, minimum=0)
    image: str = param("an image with sh", IMAGE)
    name: str = param("name of what is made; by default one that is free", "")
    namespace: str = param("namespace of the pod", "default", picks="namespaces")


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterable[Fact]:
    """No facts, but a refusal before anything is made: a shell needs kubectl, and the right to use pods/exec."""
    if not params.command:
        _require_exec(clients, params.namespace)
    return ()


def _require_exec(clients: Clients, namespace: str) -> None:
    if clients.shell.which("kubectl") is None:
        raise NotFound("kubectl is not installed, and a shell is opened through it", f"--command '...' does without; or: {KUBECTL}")
    if not clients.kube.may("create", "", "pods", namespace, subresource="exec"):
        raise Forbidden(f"pods/exec may not be used in {namespace}", "--command '...' does without: it reads the pod's log")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One pod with the node's network, tolerating every taint."""
    (node,) = nodes_named(snapshot, [params.node])
    wrong = next((one for one in params.packages if not PACKAGE.fullmatch(one)), None)
    if wrong is not None:
        raise BadInput(f"--packages {wrong!r}", "names of rpm packages")
    name = params.name or free_name(snapshot, params.namespace, "debug", params.node)
    what = f"run {params.command!r}" if params.command else "open a shell"
    rights = "with all rights on the node" if params.privileged else "with the node's network"
    change = creation(_pod(params, name), f"pod {name} on {node.name}, {rights}, to {what}; removed on exit")
    warnings = () if node.ready is not False else (f"{node.name} is not ready: its kubelet may start nothing",)
    return Plan((change,), warnings=warnings, params=dataclasses.replace(params, name=name), attaches=not params.command)


def _pod(params: Params, name: str) -> dict[str, Any]:
    script = RUN if params.command else STAY
    holes = {
        "name": name,
        "namespace": params.namespace,
        "deadline": max(1, int(params.hours * 3600)),
        "host_pid": params.privileged or None,
        "node": params.node,
        "tolerations": EVERYWHERE,
        "image": params.image,
        "command": ["sh", "-c", literal(script), "debug", *params.packages],
        "env": [{"name": "COMMAND", "value": literal(params.command)}] if params.command else None,
        "security": {"privileged": True} if params.privileged else None,
        "mounts": [{"name": "host", "mountPath": "/host"}] if params.privileged else None,
        "volumes": [{"name": "host", "hostPath": {"path": "/", "type": "Directory"}}] if params.privileged else None,
    }
    return manifest("debug-pod", holes)


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a line the command prints; ActionFailed with its exit code when that is not 0."""
    path = pod_path(params.namespace, params.name)
    until(clients.kube, path, ("Running",), stop, "the debug pod", HINT)
    for text in said(clients.kube, path, stop):
        yield {"node": params.node, "line": text}
    if stop.is_set():
        return
    code = exit_code(until(clients.kube, path, (), stop, "the debug pod"))
    if code != 0:
        raise ActionFailed(f"the command ended with exit code {'unknown' if code is None else code}", "its output is above")


def attach(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> tuple[str, ...]:
    """The kubectl command that opens the shell, once the pod runs."""
    pod = until(clients.kube, pod_path(params.namespace, params.name), ("Running",), stop, "the debug pod", HINT)
    if pod["status"]["phase"] != "Running":
        raise ActionFailed(f"the debug pod ended with exit code {exit_code(pod)}", HINT)
    words = ("exec", "-i", "-t", "-n", params.namespace, params.name, "-c", "debug", "--", "sh", "-c", SHELL)
    return ("kubectl", *clients.kube.kubectl_flags, *words)


def line(record: Mapping[str, Any], params: Params) -> str:
    """What the command printed."""
    return str(record["line"])


ACTION = Action(
    name="debug",
    title="Debug pod",
    key="s",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster",),
    needs=("nodes", "pods"),
    look=look,
    plan=plan,
    records=records,
    attach=attach,
    streams=True,
    fills={"node": "node"},
    line=line,
    doc="Opens a shell on a node, in a pod with the node's network that is removed on exit; with --command it runs that and prints its output.",
)
