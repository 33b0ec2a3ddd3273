"""What the GPU device plugin is told for a node: the configuration its label chooses from the plugin's ConfigMap, and the GPUs that one excludes."""

from __future__ import annotations

from typing import Any

import yaml

from cockpit.sim.instance_types import INSTANCE_TYPES
from cockpit.sim.kubelet.devices import GPU, gpu_uuid

Object = dict[str, Any]

LABEL = "nvidia.com/device-plugin.config"
NAMESPACE, CONFIGS, DEFAULT = "kube-system", "nvidia-device-plugin-configs", "default"


def excluded_gpus(cluster: Any, node: Object) -> frozenset[int]:
    """Indices of the GPUs that the node's configuration keeps from pods; a configuration that is not there or cannot be read excludes none."""
    chosen = _labels(node).get(LABEL) or DEFAULT
    held = cluster.find("configmaps", NAMESPACE, CONFIGS) or {}
    try:
        config = yaml.safe_load((held.get("data") or {}).get(chosen) or "") or {}
        uuids = set(config["deviceFilter"]["exclude"]["uuids"])
    except (yaml.YAMLError, KeyError, TypeError):
        return frozenset()
    return frozenset(index for index in range(_gpus(node)) if gpu_uuid(node["metadata"]["name"], index) in uuids)


def registered_without(cluster: Any, node: Object) -> frozenset[int]:
    """Those of the excluded GPUs that the plugin, since it restarted, does not offer any more."""
    excluded = excluded_gpus(cluster, node)
    offered = ((node.get("status") or {}).get("allocatable") or {}).get(GPU)
    return excluded if offered == str(_gpus(node) - len(excluded)) else frozenset()


def _labels(node: Object) -> dict[str, str]:
    return node["metadata"].get("labels") or {}


def _gpus(node: Object) -> int:
    instance = INSTANCE_TYPES.get(_labels(node).get("node.kubernetes.io/instance-type", ""))
    return instance.gpus if instance else 0
