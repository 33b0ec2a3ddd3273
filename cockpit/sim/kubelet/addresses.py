"""Pod and host IP addresses: text only, unique in the cluster, nothing listens on them."""

from __future__ import annotations

from typing import Any


class Addresses:
    """Gives each pod an address of 10.0.128.0/17 and upwards, skipping the nodes'."""

    def __init__(self) -> None:
        self._next = 0

    def of(self, cluster: Any, pod: dict[str, Any]) -> dict[str, str]:
        """podIP and hostIP of a pod about to run; a hostNetwork pod has its node's address."""
        node = cluster.find("nodes", None, pod["spec"]["nodeName"]) or {}
        listed = (node.get("status") or {}).get("addresses") or []
        host = next((entry["address"] for entry in listed if entry["type"] == "InternalIP"), "10.0.0.1")
        if pod["spec"].get("hostNetwork"):
            return {"podIP": host, "hostIP": host}
        self._next += 1
        number = self._next % (200 * 256 * 254)
        second, rest = divmod(number, 256 * 254)
        third, fourth = divmod(rest, 254)
        return {"podIP": f"10.{40 + second}.{third}.{fourth + 1}", "hostIP": host}
