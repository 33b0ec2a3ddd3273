"""DaemonSets, Deployments and Services of a scenario from their short form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
SYSTEM = {"eks.amazonaws.com/nodegroup": "system"}


def _template(entry: Mapping[str, Any]) -> Object:
    """A pod template whose pods the practice cluster serves itself."""
    container: Object = {"name": entry["name"], "image": entry["image"], "resources": {"requests": entry.get("requests") or {}}}
    if entry.get("port"):
        container["ports"] = [entry["port"]]
    spec: Object = {"containers": [container], "serviceAccountName": "default", "priorityClassName": "system-node-critical"}
    if entry.get("hostNetwork"):
        spec["hostNetwork"] = True
    annotations = {"sim.cockpit.dev/served-by": entry["servedBy"]}
    return {"metadata": {"labels": entry["labels"], "annotations": annotations}, "spec": spec}


def _metadata(entry: Mapping[str, Any]) -> Object:
    return {"name": entry["name"], "namespace": entry["namespace"], "labels": entry["labels"]}


def daemonset(entry: Mapping[str, Any]) -> Object:
    """A DaemonSet that tolerates every taint."""
    template = _template(entry)
    template["spec"]["tolerations"] = [{"operator": "Exists"}]
    if entry.get("nodeSelector"):
        template["spec"]["nodeSelector"] = entry["nodeSelector"]
    if entry.get("configs"):
        _configured(template["spec"], entry)
    spec = {"selector": {"matchLabels": entry["labels"]}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": _metadata(entry), "spec": spec}


def _configured(spec: Object, entry: Mapping[str, Any]) -> None:
    """What the chart of the NVIDIA device plugin adds when it is given a ConfigMap: the volumes, and a sidecar that chooses by the node's label."""
    env = {"NODE_LABEL": "nvidia.com/device-plugin.config", "DEFAULT_CONFIG": "default", "CONFIG_FILE_SRCDIR": "/available-configs"}
    mounts = [{"name": "available-configs", "mountPath": "/available-configs"}, {"name": "config", "mountPath": "/config"}]
    variables = [{"name": name, "value": value} for name, value in env.items()]
    sidecar = {"name": f"{entry['name']}-sidecar", "image": entry["image"], "command": ["config-manager"], "env": variables, "volumeMounts": mounts}
    spec["containers"][0] |= {"env": [{"name": "CONFIG_FILE", "value": "/config/config.yaml"}], "volumeMounts": mounts[1:]}
    spec["containers"].append(sidecar)
    spec["volumes"] = [{"name": "available-configs", "configMap": {"name": entry["configs"]}}, {"name": "config", "emptyDir": {}}]


def deployment(entry: Mapping[str, Any]) -> Object:
    """A Deployment on the system nodes."""
    template = _template(entry)
    template["spec"]["nodeSelector"] = SYSTEM
    spec = {"replicas": entry.get("replicas", 1), "selector": {"matchLabels": entry["labels"]}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(entry), "spec": spec}


def service(entry: Mapping[str, Any]) -> Object:
    """The Service in front of a workload's port."""
    port = entry["port"]
    ports = [{"name": port["name"], "port": port["containerPort"], "targetPort": port["name"], "protocol": "TCP"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(entry), "spec": {"selector": entry["labels"], "ports": ports}}
