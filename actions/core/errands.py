"""Pods made for one errand: what they have in common, how their end is waited for, and what is said when they cannot start.

Such a pod carries `app.kubernetes.io/managed-by: cockpit`, is removed in every ending, and ends itself at its deadline should the cockpit be killed.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Target
from cockpit.errors import ActionFailed, Refused, TimedOut
from cockpit.snapshot import Snapshot

PENDING_SECONDS, POLL_SECONDS = 120.0, 0.5
ENDED = ("Succeeded", "Failed")
LABELS = {"app.kubernetes.io/managed-by": "cockpit"}
EVERYWHERE = [{"operator": "Exists"}]
"""Tolerates every taint: a pod that looks at a node must land on a cordoned or sick one too."""
HOPELESS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff"}
)


def free_name(snapshot: Snapshot, namespace: str, verb: str, *about: str) -> str:
    """A name for what is made in a namespace: the verb, what it is about, and a number that no pod there has yet."""
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(one.split(".")[0] for one in about).lower()).strip("-")
    mark = f"{zlib.crc32('/'.join(about).encode()):08x}"
    stem = f"{verb}-{words[:30].strip('-')}-{mark[:5]}" if words else f"{verb}-{mark[:5]}"
    taken = {key.name for key in snapshot.pods if key.namespace == namespace} | {key.name for key in snapshot.jobs if key.namespace == namespace}
    number = 1
    while any(name == f"{stem}-{number}" or name.startswith(f"{stem}-{number}-") for name in taken):
        number += 1
    return f"{stem}-{number}"


def creation(body: Mapping[str, Any], summary: str) -> Change:
    """Create an object of the core API for the time of an errand; the inverse deletes it at once."""
    meta = body["metadata"]
    target = Target(body["kind"], meta["name"], meta["namespace"], plural=body["kind"].lower() + "s")
    line = f"kubectl delete {target}"
    inverse = Change("kube", "delete", target, f"delete {target}", line, grace_seconds=1)
    return Change("kube", "create", target, summary, f"kubectl create -f - # {target}", body, "application/json", inverse=inverse)


def literal(text: str) -> str:
    """Text that reaches a container as it is: Kubernetes expands `$(NAME)` in commands, arguments and environments."""
    return text.replace("$", "$$")


def pod_path(namespace: str, name: str) -> str:
    """The API path of a pod."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def until(
    kube: Any, path: str, phases: tuple[str, ...], stop: threading.Event, what: str, hint: str = "", pending_seconds: float = PENDING_SECONDS
) -> dict[str, Any]:
    """The pod once it is in one of these phases, or over. ActionFailed when it cannot start, TimedOut when no node takes it, Refused when stopped."""
    waited = 0.0
    while True:
        pod: dict[str, Any] = kube.request("GET", path)
        status = pod.get("status") or {}
        phase = str(status.get("phase") or "Pending")
        if phase in (*phases, *ENDED):
            return pod
        reason, message = waits_for(status)
        if reason in HOPELESS:
            raise ActionFailed(f"{what} cannot start: {reason} {message}".strip()[:400], hint)
        if phase == "Pending" and waited >= pending_seconds:
            raise TimedOut(f"{what} did not start within {pending_seconds:g} s: {message or reason}"[:400])
        if stop.wait(POLL_SECONDS):
            raise Refused(f"waiting for {what} was broken off", "what was made for it is removed")
        waited += POLL_SECONDS


def waits_for(status: Mapping[str, Any]) -> tuple[str, str]:
    """Why a pod has not started, as its container or its scheduler says."""
    for one in status.get("containerStatuses") or ():
        waiting = ((one.get("state") or {}).get("waiting")) or {}
        if waiting.get("reason"):
            return str(waiting["reason"]), str(waiting.get("message") or "")
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            return str(one.get("reason") or ""), str(one.get("message") or "")
    return "", ""


def exit_code(pod: Mapping[str, Any]) -> int | None:
    """The exit code of a pod's first container; None while it runs, or where nobody knows."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        code = ((one.get("state") or {}).get("terminated") or {}).get("exitCode")
        return code if isinstance(code, int) else None
    return None


def said(kube: Any, path: str, stop: threading.Event) -> Iterator[str]:
    """The lines of a pod's log as they come, to its end."""
    for line in kube.lines(f"{path}/log", params={"follow": "true"}, stop=stop):
        yield line.decode("utf-8", "replace")


def last_line(kube: Any, path: str) -> str:
    """The last line a pod left."""
    text = kube.read(f"{path}/log", params={"tailLines": "20"}).decode("utf-8", "replace")
    return next((line.strip()[:400] for line in reversed(text.splitlines()) if line.strip()), "it left no word")
