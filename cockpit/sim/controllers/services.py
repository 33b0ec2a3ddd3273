"""Services: a cluster IP, and Endpoints and EndpointSlices of the ready pods they select."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.objects import Object, is_deleting, labels_of, name_of, namespace_of, owner_reference, status_of
from cockpit.sim.controllers.pods import is_finished, is_ready
from cockpit.sim.controllers.reconcilers import Key, Reconciler


class Services(Reconciler):
    """Gives each Service an address and keeps its endpoints true."""

    name = "endpoint-controller"
    watches = ("services", "pods")

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches every Service of its namespace that selects it."""
        if event.resource == "services":
            return super().keys(event)
        namespace, labels = namespace_of(event.object), labels_of(event.object)
        return [(namespace, name_of(one)) for one in self.cluster.list("services", namespace) if _selects(one, labels)]

    def reconcile(self, key: Key) -> float | None:
        """Write one Service's address and endpoints."""
        service = self.cluster.find("services", *key)
        if service is None or is_deleting(service):
            self.discard("endpoints", *key)
            return None
        if not service["spec"].get("clusterIP") and service["spec"].get("type") != "ExternalName":
            address = cluster_address(f"{key[0]}/{key[1]}")
            self.cluster.patch("services", *key, {"spec": {"clusterIP": address, "clusterIPs": [address]}})
        if not service["spec"].get("selector"):
            return None
        pods = [pod for pod in self.cluster.list("pods", key[0]) if _selects(service, labels_of(pod)) and not is_finished(pod)]
        self._write(service, [pod for pod in pods if status_of(pod).get("podIP") and not is_deleting(pod)])
        return None

    def _write(self, service: Object, pods: list[Object]) -> None:
        """Endpoints and one slice, only when they changed."""
        early = bool(service["spec"].get("publishNotReadyAddresses"))
        subset = _subset(service, pods, early)
        metadata = {"name": name_of(service), "namespace": namespace_of(service), "labels": labels_of(service)}
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset] if subset else None}
        self._put("endpoints", endpoints, ("subsets",))
        labels = {**labels_of(service), "kubernetes.io/service-name": name_of(service)}
        labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io"
        sliced: Object = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels, "ownerReferences": [owner_reference(service)]},
            "addressType": "IPv4",
            "endpoints": [_slice_entry(pod, early) for pod in pods],
            "ports": _ports(service, pods),
        }
        self._put("endpointslices.discovery.k8s.io", sliced, ("endpoints", "ports"))

    def _put(self, resource: str, wanted: Object, fields: tuple[str, ...]) -> None:
        held = self.cluster.find(resource, namespace_of(wanted), name_of(wanted))
        if held is None:
            self.cluster.create(resource, {field: value for field, value in wanted.items() if value is not None})
        elif any((held.get(field) or None) != (wanted[field] or None) for field in fields):
            self.cluster.patch(resource, namespace_of(wanted), name_of(wanted), {field: wanted[field] for field in fields})


def _selects(service: Object, labels: dict[str, str]) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _target(pod: Object) -> Object:
    return {"kind": "Pod", "name": name_of(pod), "namespace": namespace_of(pod), "uid": pod["metadata"]["uid"]}


def _address(pod: Object) -> Object:
    address: Object = {"ip": status_of(pod)["podIP"], "targetRef": _target(pod)}
    more = {"nodeName": pod["spec"].get("nodeName"), "hostname": pod["spec"].get("hostname")}
    return address | {field: value for field, value in more.items() if value}


def _subset(service: Object, pods: list[Object], early: bool) -> Object:
    ready = [_address(pod) for pod in pods if early or is_ready(pod)]
    waiting = [_address(pod) for pod in pods if not (early or is_ready(pod))]
    subset = {"addresses": ready, "notReadyAddresses": waiting, "ports": _ports(service, pods)}
    return {field: value for field, value in subset.items() if value} if ready or waiting else {}


def _slice_entry(pod: Object, early: bool) -> Object:
    ready = early or is_ready(pod)
    conditions = {"ready": ready, "serving": ready, "terminating": False}
    return {
        "addresses": [status_of(pod)["podIP"]],
        "conditions": conditions,
        "nodeName": pod["spec"].get("nodeName"),
        "targetRef": _target(pod),
    }


def _ports(service: Object, pods: list[Object]) -> list[Object]:
    ports = []
    for port in service["spec"].get("ports") or []:
        number = _target_port(port, pods)
        if number is not None:
            named = {"name": port["name"]} if port.get("name") else {}
            ports.append({**named, "port": number, "protocol": port.get("protocol", "TCP")})
    return ports


def _target_port(port: Object, pods: list[Object]) -> int | None:
    """The number of a Service port on the pods: a name is looked up in their container ports."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    held = (one for pod in pods for container in pod["spec"]["containers"] for one in container.get("ports") or [])
    return next((int(one["containerPort"]) for one in held if one.get("name") == target), None)


def cluster_address(seed: str) -> str:
    """A stable address in the service range 172.20.0.0/16."""
    number = zlib.crc32(seed.encode()) % 65_000 + 256
    return f"172.20.{number >> 8}.{number & 255}"
