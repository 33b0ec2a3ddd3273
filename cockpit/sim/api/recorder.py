"""core/v1 Events, aggregated by object, reason and message as client-go's recorder does."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

EVENT_TTL_SECONDS = 3600.0
EVENTS_KEPT = 5000


def reference(involved: dict[str, Any]) -> dict[str, Any]:
    """An ObjectReference to an object; a reference is passed through."""
    metadata = involved.get("metadata")
    if metadata is None:
        return dict(involved)
    parts = {
        "kind": involved.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "apiVersion": involved.get("apiVersion"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {key: value for key, value in parts.items() if value is not None}


class Recorder:
    """Writes events into the cluster and forgets the oldest."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: OrderedDict[tuple[str, ...], tuple[str, str, float]] = OrderedDict()

    def event(self, involved: dict[str, Any], reason: str, message: str, type_: str, component: str) -> None:
        ref = reference(involved)
        namespace = ref.get("namespace") or "default"
        identity = (ref.get("kind", ""), namespace, ref.get("name", ""), ref.get("uid", ""), reason, message, type_, component)
        known = self._known.get(identity)
        if known and self._cluster.find("events", namespace, known[1]):
            self._again(namespace, known[1])
            self._known.move_to_end(identity)
        else:
            name = self._first(ref, namespace, reason, message, type_, component)
            self._known[identity] = (namespace, name, time.monotonic())
        self._forget()

    def _again(self, namespace: str, name: str) -> None:
        count = self._cluster.get("events", namespace, name).get("count", 1) + 1
        self._cluster.patch("events", namespace, name, {"count": count, "lastTimestamp": self._cluster.now()})

    def _first(self, ref: dict[str, Any], namespace: str, reason: str, message: str, type_: str, component: str) -> str:
        now = self._cluster.now()
        name = f"{ref.get('name', 'event')}.{uuid.uuid4().hex[:16]}"
        source = {"component": component} if component else {}
        if ref.get("kind") == "Node" and component == "kubelet":
            source["host"] = ref["name"]
        self._cluster.create(
            "events",
            {
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": ref,
                "reason": reason,
                "message": message,
                "type": type_,
                "source": source,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "eventTime": None,
                "reportingComponent": component,
                "reportingInstance": "",
            },
        )
        return name

    def _forget(self) -> None:
        oldest_kept = time.monotonic() - EVENT_TTL_SECONDS
        while self._known:
            identity, (namespace, name, since) = next(iter(self._known.items()))
            if len(self._known) <= EVENTS_KEPT and since > oldest_kept:
                return
            del self._known[identity]
            if self._cluster.find("events", namespace, name):
                self._cluster.delete("events", namespace, name)
