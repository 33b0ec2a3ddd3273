"""The pod and service proxy: /pods/[SCHEME:]NAME[:PORT]/proxy/PATH, the same for services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from cockpit.sim.api.errors import ApiError, bad_request
from cockpit.sim.api.objects import at, conditions
from cockpit.sim.api.requests import Call
from cockpit.sim.api.responses import bytes_response

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

Port = int | str


def split_name(text: str) -> tuple[str, str]:
    """Name and port ('' for none) of [SCHEME:]NAME[:PORT]; ApiError 400."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[1], parts[2]
    if len(parts) == 2:
        return parts[0], parts[1]
    if len(parts) == 1:
        return parts[0], ""
    raise bad_request(f'invalid resource request "{text}"')


def _port(text: str) -> Port:
    return int(text) if text.isdigit() else text


def _first_port(pod: dict[str, Any]) -> Port:
    ports = [port["containerPort"] for one in at(pod, "spec.containers") or () for port in one.get("ports") or ()]
    return ports[0] if ports else 80


def _service_unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, {})


def resolve_service(cluster: Cluster, namespace: str | None, name: str, port: str) -> tuple[str, Port]:
    """A Ready pod behind a service, and the port of it that the service's port leads to; ApiError 404 or 503."""
    service = cluster.get("services", namespace, name)
    ports = at(service, "spec.ports") or []
    chosen = [one for one in ports if not port or port in (one.get("name"), str(one["port"]))]
    if not chosen:
        raise _service_unavailable(f'no service port "{port}" found for service "{name}"')
    selector = at(service, "spec.selector") or {}
    pods = cluster.list("pods", namespace, selector) if selector else []
    ready = [pod for pod in pods if conditions(pod).get("Ready") == "True" and not pod["metadata"].get("deletionTimestamp")]
    if not ready:
        raise _service_unavailable(f'no endpoints available for service "{name}"')
    return ready[0]["metadata"]["name"], chosen[0].get("targetPort") or chosen[0]["port"]


async def answer(cluster: Cluster, kubelet: Any, call: Call) -> web.Response:
    """Pass a request on to a pod, and its answer back."""
    target = call.where
    name, port = split_name(target.name)
    if target.kind.resource == "services":
        pod_name, pod_port = resolve_service(cluster, target.namespace, name, port)
    else:
        pod_name, pod_port = name, _port(port) if port else _first_port(cluster.get("pods", target.namespace, name))
    cluster.require("pods", target.namespace, pod_name)
    if kubelet is None:
        raise _service_unavailable("error trying to reach service: no kubelet")
    query = urlencode(list(call.query.items()))
    path = "/" + target.rest + (f"?{query}" if query else "")
    status, headers, body = await kubelet.proxy(target.namespace, pod_name, pod_port, call.method, path, call.body)
    content_type = next((value for key, value in headers.items() if key.lower() == "content-type"), "text/plain; charset=utf-8")
    return bytes_response(body, status, content_type)
