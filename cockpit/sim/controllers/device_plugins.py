"""Device plugins: a node has GPUs and EFA devices while the plugin's pod on it runs; which, the plugin reads when it starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.machines import EFA, GPU, SIMULATED, device_capacity
from cockpit.sim.controllers.objects import Object, is_deleting, labels_of, name_of, status_of
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.instance_types import INSTANCE_TYPES
from cockpit.sim.kubelet.plugin_configs import excluded_gpus


class DevicePlugins(Reconciler):
    """Registers a node's GPUs and EFA devices while the plugin pod on it runs; nothing is allocatable once it does not."""

    name = "device-plugins"
    watches = ("pods",)
    plugins = (("nvidia-device-plugin", GPU), ("efa-device-plugin", EFA))

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        self._ran: set[tuple[str, str]] = set()
        self._excluded: dict[str, tuple[str, int]] = {}
        """Node to the plugin pod that read a configuration, and how many GPUs that one excludes."""

    def keys(self, event: Any) -> Iterable[Key]:
        """A device plugin pod touches its node."""
        node = event.object["spec"].get("nodeName")
        mine = any(name_of(event.object).startswith(plugin) for plugin, _ in self.plugins)
        return [("", node)] if node and mine else []

    def reconcile(self, key: Key) -> float | None:
        """Register or withdraw one node's devices."""
        node = self.cluster.find("nodes", None, key[1])
        instance = INSTANCE_TYPES.get(labels_of(node).get("node.kubernetes.io/instance-type", "")) if node else None
        if node is None or instance is None or labels_of(node).get(SIMULATED) != "true":
            return None
        running = self._running_on(key[1])
        status = status_of(node)
        capacity, allocatable = dict(status.get("capacity") or {}), dict(status.get("allocatable") or {})
        for plugin, resource in self.plugins:
            count = device_capacity(instance).get(resource)
            if count and plugin in running:
                self._ran.add((key[1], plugin))
                left = int(count) - (self._without(node, running[plugin]) if resource == GPU else 0)
                capacity[resource] = allocatable[resource] = str(left)
            elif (key[1], plugin) in self._ran and resource in allocatable:
                allocatable[resource] = "0"
        self.set_status("nodes", node, {"capacity": capacity, "allocatable": allocatable})
        return None

    def _without(self, node: Object, uid: str) -> int:
        """How many GPUs the configuration excludes that this plugin pod found when it started."""
        read = self._excluded.get(name_of(node))
        if read is None or read[0] != uid:
            read = self._excluded[name_of(node)] = (uid, len(excluded_gpus(self.cluster, node)))
        return read[1]

    def _running_on(self, node: str) -> dict[str, str]:
        """The plugins that run on a node, with the uid of their pod."""
        pods = [pod for pod in self.cluster.list("pods", "kube-system") if pod["spec"].get("nodeName") == node]
        up = {name_of(pod): str(pod["metadata"]["uid"]) for pod in pods if status_of(pod).get("phase") == "Running" and not is_deleting(pod)}
        return {plugin: uid for plugin, _ in self.plugins for name, uid in up.items() if name.startswith(plugin)}
