"""The pod proxy: requests to a pod's port, answered by the practice cluster itself or forwarded to a loopback port of the pod."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.context import METRICS_PORTS
from cockpit.sim.kubelet.loopback import listens
from cockpit.sim.kubelet.served import served_by

if TYPE_CHECKING:
    from cockpit.sim.kubelet.agent import Kubelet

Answer = tuple[int, dict[str, str], bytes]
TIMEOUT_SECONDS = 10.0
TEXT = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
PORTS = {"dcgm-exporter": 9400, "efa-node-exporter": 9810, "karpenter": 8080}


class PodProxy:
    """Answers for pods by name and port."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to pods."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(self, namespace: str, name: str, port: int | str, method: str, path: str, body: bytes) -> Answer:
        """Status, headers and body of the pod's answer; ApiError 404 when there is no such pod."""
        pod = self._kubelet.cluster.get("pods", namespace, name)
        number = _number(pod, port)
        if number is None:
            return refused(f"no port named {port!r} in pod {name}", code=400, reason="BadRequest")
        server = served_by(pod)
        if server is not None:
            return self._served(pod, server, number, path)
        address = (pod.get("status") or {}).get("podIP") or "<pending>"
        local = self._local(pod["metadata"]["uid"], number)
        if local is None:
            return refused(f"error trying to reach service: dial tcp {address}:{number}: connect: connection refused")
        return await self._forward(f"{address}:{number}", local, method, path, body)

    def _served(self, pod: dict[str, Any], server: str, port: int, path: str) -> Answer:
        node, texts = pod["spec"]["nodeName"], self._kubelet.exporters
        if PORTS.get(server) != port or not self._kubelet.node_up(node).is_set():
            return refused(f"error trying to reach service: dial tcp {pod['status'].get('podIP')}:{port}: connect: connection refused")
        if path.partition("?")[0].strip("/") != "metrics":
            return 404, {"Content-Type": "text/plain; charset=utf-8"}, b"404 page not found\n"
        if server == "dcgm-exporter":
            return 200, TEXT, texts.dcgm_text(node)
        return 200, TEXT, texts.efa_text(node) if server == "efa-node-exporter" else texts.karpenter_text()

    def _local(self, uid: str, port: int) -> int | None:
        """The loopback port behind a pod's port, None when no process of the pod listens there."""
        run = self._kubelet.runs.get(uid)
        if run is None or not run.context.node_up.is_set():
            return None
        for declared, base in run.context.metrics.items():
            if declared <= port < declared + METRICS_PORTS:
                return base + port - declared
        pids = [process.pid for process in processes.find(uid)]
        return port if listens(pids, port) else None

    async def _forward(self, target: str, port: int, method: str, path: str, body: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), auto_decompress=False)
        try:
            url = f"http://127.0.0.1:{port}/{path.lstrip('/')}"
            async with self._session.request(method, url, data=body or None, allow_redirects=False) as response:
                content = await response.read()
                headers = {k: v for k, v in response.headers.items() if k in ("Content-Type", "Content-Encoding", "Location")}
                return response.status, headers, content
        except TimeoutError:
            return refused(f"error trying to reach service: dial tcp {target}: i/o timeout", code=504, reason="Timeout")
        except aiohttp.ClientError:
            return refused(f"error trying to reach service: dial tcp {target}: connect: connection refused")


def _number(pod: dict[str, Any], port: int | str) -> int | None:
    """A port as a number, by name among the containers' ports where it is not one."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    declared = (entry for container in pod["spec"]["containers"] for entry in container.get("ports") or [])
    return next((entry["containerPort"] for entry in declared if entry.get("name") == port), None)


def refused(message: str, code: int = 503, reason: str = "ServiceUnavailable") -> Answer:
    """A Status answer in the API server's words."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}
    return code, {"Content-Type": "application/json"}, json.dumps(status).encode()
