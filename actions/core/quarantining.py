"""One GPU of a node kept from pods: a configuration of the NVIDIA device plugin for that node alone, whose device filter excludes it by UUID.

The plugin takes its configuration from a ConfigMap; the label nvidia.com/device-plugin.config of a node says which. A plugin of a version that
knows no device filter goes on offering the GPU: that shows in what is allocatable, which the last step of the plan waits for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from actions.core import Change, Clients, Target
from actions.core.params import nearest
from cockpit.errors import BadInput, CockpitError, NotFound, Refused
from cockpit.model import DevicePlugin, Gpu, Node, NodeName, PodKey
from cockpit.snapshot import Snapshot
from cockpit.store import Delete, Fact, Synced, Upsert

SOURCE = "deviceplugins"
LABEL = "nvidia.com/device-plugin.config"
QUARANTINED = "cockpit.dev/quarantined-gpus"
FORMER = "cockpit.dev/device-plugin-config-before"
PREFIX = "quarantine-"
GPU = "nvidia.com/gpu"
SETTLE_SECONDS = 180
UNHEEDED = (
    "the device plugin restarted and still offers as many GPUs: its version knows no device filter; "
    "--action undo takes the configuration back, cordon or replace-node keeps pods off the node"
)


# -- what is there ----------------------------------------------------------------------------------------------------------------------------


def look_at(clients: Clients, snapshot: Snapshot) -> Iterator[Fact]:
    """Facts of the DaemonSets that run the NVIDIA device plugin, with the configurations of their ConfigMaps."""
    found = clients.kube.request("GET", "/apis/apps/v1/daemonsets").get("items") or []
    rows = tuple(_with_configs(clients, row) for one in found if (row := to_plugin(one)) is not None)
    known = {row.key for row in rows}
    yield Delete(SOURCE, "deviceplugins", tuple(key for key in snapshot.deviceplugins if key not in known))
    yield Upsert(SOURCE, "deviceplugins", rows)
    yield Synced(SOURCE)


def to_plugin(daemonset: Mapping[str, Any]) -> DevicePlugin | None:
    """A DaemonSet -> DevicePlugin, None when it runs another program. The ConfigMap is the one its volume available-configs is made of."""
    meta, spec = daemonset.get("metadata") or {}, daemonset.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = [one for one in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())) if isinstance(one, dict)]
    plugin = next((one for one in containers if _runs_it(str(one.get("image") or ""))), None)
    if plugin is None or not meta.get("name"):
        return None
    settings = {str(one.get("name")): str(one.get("value") or "") for box in containers for one in box.get("env") or ()}
    volumes = {str(one.get("name")): (one.get("configMap") or {}).get("name") for one in pod.get("volumes") or ()}
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return DevicePlugin(
        key=PodKey(str(meta.get("namespace") or ""), str(meta["name"])),
        image=str(plugin.get("image")),
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        configmap=str(volumes.get("available-configs") or ""),
        default=settings.get("DEFAULT_CONFIG", ""),
    )


def _runs_it(image: str) -> bool:
    name = image.split("@")[0].rpartition("/")[2].partition(":")[0]
    return name in ("k8s-device-plugin", "nvidia-device-plugin", "nvidia-k8s-device-plugin")


def _with_configs(clients: Clients, row: DevicePlugin) -> DevicePlugin:
    if not row.configmap:
        return row
    try:
        found = clients.kube.request("GET", f"/api/v1/namespaces/{row.key.namespace}/configmaps/{row.configmap}")
    except NotFound:
        return replace(row, why=f"its ConfigMap {row.configmap} is not there")
    except CockpitError as error:
        return replace(row, why=error.message)
    version = str((found.get("metadata") or {}).get("resourceVersion") or "")
    return replace(row, configs={str(key): str(text) for key, text in (found.get("data") or {}).items()}, configmap_version=version)


def plugin_of(snapshot: Snapshot, node: Node) -> DevicePlugin:
    """The plugin of a node: the one with a pod there, else the only one; Refused when it takes no configuration by node."""
    if not snapshot.believed(SOURCE):
        raise Refused("the device plugin was not read yet", "plan it again")
    owners = {(pod.key.namespace, pod.owner.partition("/")[2]) for pod in snapshot.pods_on(node.name) if pod.owner.startswith("DaemonSet/")}
    every = list(snapshot.deviceplugins.values())
    here = [one for one in every if one.key in owners] or (every if len(every) == 1 else [])
    if not here:
        raise Refused(f"no NVIDIA device plugin runs on {node.name}", "install it, or cordon the node")
    if not here[0].configmap or here[0].why:
        name = f"DaemonSet {here[0].key.name} -n {here[0].key.namespace}"
        why = here[0].why or "it takes no configuration from a ConfigMap"
        raise Refused(f"{name}: {why}", "helm upgrade it with --set config.name=CONFIGMAP (values: config.map); until then cordon the node")
    return here[0]


def gpus_named(snapshot: Snapshot, uuids: Iterable[str]) -> list[Gpu]:
    """Those GPUs, each once, by UUID or as NODE/INDEX; BadInput with the nearest UUID when there is none."""
    by_uuid = {gpu.uuid: gpu for gpu in snapshot.gpus.values() if gpu.uuid}
    by_place = {f"{gpu.key.node}/{gpu.index}": gpu for gpu in by_uuid.values()}
    found: dict[str, Gpu] = {}
    for name in uuids:
        gpu = by_uuid.get(name) or by_place.get(name)
        if gpu is None:
            raise BadInput(f"--gpu {name!r}: no GPU that DCGM reports is it", nearest(name, sorted(by_place if "/" in name else by_uuid)[:200]))
        found[gpu.uuid] = gpu
    return list(found.values())


# -- the change -------------------------------------------------------------------------------------------------------------------------------


def config_name(node: str) -> str:
    """The name of a node's own configuration: a ConfigMap key that is a label value too."""
    return f"{PREFIX}{node.split('.')[0][:40]}-{hashlib.sha256(node.encode()).hexdigest()[:6]}"


def excluding(text: str, uuids: Sequence[str]) -> str:
    """A configuration of the plugin with these GPUs, and no others, excluded; Refused when it cannot be read."""
    import yaml

    try:
        config = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as problem:
        raise Refused(f"the plugin's configuration is not YAML: {str(problem)[:200]}", "mend the ConfigMap first") from problem
    if not isinstance(config, dict):
        raise Refused("the plugin's configuration is not a mapping", "mend the ConfigMap first")
    chosen = {"version": "v1", **config, "deviceFilter": {"exclude": {"uuids": sorted(uuids)}}}
    return str(yaml.safe_dump(chosen, sort_keys=False))


def changes_for(snapshot: Snapshot, wanted: Mapping[str, Sequence[str]]) -> Iterator[Change]:
    """What brings each node to have exactly these GPUs excluded: the ConfigMap once, then label, restart and wait for each node."""
    nodes = [snapshot.nodes[NodeName(name)] for name in wanted]
    plugins = {node.name: plugin_of(snapshot, node) for node in nodes}
    for key in sorted({one.key for one in plugins.values()}):
        mine = [node for node in nodes if plugins[node.name].key == key]
        yield _configured(plugins[mine[0].name], mine, wanted)
    for node in nodes:
        yield _labelled(node, wanted[node.name])
    for node in nodes:
        yield _restarted(node, plugins[node.name])
    for node in nodes:
        if node.gpu_allocatable is not None:
            yield _settled(node, wanted[node.name])


def _base(plugin: DevicePlugin, node: Node) -> str:
    """The configuration the node would have without the quarantine."""
    own = plugin.configs.get(config_name(node.name), "")
    if node.plugin_config == config_name(node.name) and own:
        return own
    return plugin.configs.get(node.plugin_config or plugin.default, "")


def _configured(plugin: DevicePlugin, nodes: Sequence[Node], wanted: Mapping[str, Sequence[str]]) -> Change:
    target = Target("ConfigMap", plugin.configmap, plugin.key.namespace, plural="configmaps")
    names = {node.name: config_name(node.name) for node in nodes}
    data = {names[node.name]: excluding(_base(plugin, node), wanted[node.name]) if wanted[node.name] else None for node in nodes}
    before = {name: plugin.configs.get(name) for name in names.values()}
    kept, gone = [name for name, text in data.items() if text], [name for name, text in data.items() if not text]
    told = " and ".join(filter(None, (f"write {', '.join(kept)}" if kept else "", f"remove {', '.join(gone)}" if gone else "")))
    line = f"kubectl patch configmap {plugin.configmap} -n {plugin.key.namespace} --type merge -p ..."
    inverse = Change("kube", "patch", target, f"bring {plugin.configmap} back", line, {"data": before})
    return Change(
        "kube",
        "patch",
        target,
        f"{told} in configmap/{plugin.configmap} -n {plugin.key.namespace}",
        line,
        {"data": data},
        resource_version=plugin.configmap_version,
        before={"data": before},
        after={"data": data},
        inverse=inverse,
    )


def _labelled(node: Node, uuids: Sequence[str]) -> Change:
    target, name = Target("Node", node.name, plural="nodes"), config_name(node.name)
    former = node.former_config if node.plugin_config == name else node.plugin_config
    now = {"labels": {LABEL: node.plugin_config or None}, "annotations": {QUARANTINED: ",".join(node.quarantined) or None}}
    then = {"labels": {LABEL: name if uuids else former or None}, "annotations": {QUARANTINED: ",".join(sorted(uuids)) or None}}
    now["annotations"][FORMER] = node.former_config or None
    then["annotations"][FORMER] = former or None if uuids else None
    line = f"kubectl label node {node.name} {LABEL}{'=' + str(then['labels'][LABEL]) if then['labels'][LABEL] else '-'} --overwrite"
    undo = f"kubectl label node {node.name} {LABEL}{'=' + node.plugin_config if node.plugin_config else '-'} --overwrite"
    return Change(
        "kube",
        "patch",
        target,
        f"{node.name} uses {'configuration ' + str(then['labels'][LABEL]) if then['labels'][LABEL] else 'the default configuration'}",
        line,
        {"metadata": then},
        resource_version=node.resource_version,
        before={"config": node.plugin_config, "quarantined": list(node.quarantined)},
        after={"config": then["labels"][LABEL] or "", "quarantined": sorted(uuids)},
        inverse=Change("kube", "patch", target, f"{node.name} uses what it used", undo, {"metadata": now}),
    )


def _restarted(node: Node, plugin: DevicePlugin) -> Change:
    target = Target("Pod", "", plugin.key.namespace, plural="pods")
    fields = f"spec.nodeName={node.name}"
    line = f"kubectl delete pod -n {plugin.key.namespace} -l {plugin.selector} --field-selector {fields}"
    once = Change(
        "kube",
        "delete",
        target,
        f"restart {plugin.key.name} on {node.name}",
        line,
        selector=plugin.selector,
        field_selector=fields,
        settling=True,
    )
    return _both_ways(once, once)


def _settled(node: Node, uuids: Sequence[str]) -> Change:
    now = node.gpu_allocatable or 0
    return _both_ways(_offers(node, max(0, now + len(node.quarantined) - len(uuids)), f" ({now} now)"), _offers(node, now))


def _offers(node: Node, count: int, told: str = "") -> Change:
    """Until the node offers that many GPUs."""
    target = Target("Node", node.name, plural="nodes")
    line = f"kubectl get node {node.name} -o jsonpath={{.status.allocatable}}"
    return Change(
        "kube",
        "wait",
        target,
        f"wait until {node.name} offers {count} GPUs{told}",
        line,
        {"status": {"allocatable": {GPU: str(count)}}},
        before={"gpu_allocatable": node.gpu_allocatable},
        after={"gpu_allocatable": count, "hint": UNHEEDED},
        grace_seconds=SETTLE_SECONDS,
        settling=True,
    )


def counted(changes: Iterable[Change]) -> Iterator[str]:
    """What each node offers before and after."""
    for change in changes:
        if change.verb == "wait" and change.before and change.after:
            yield f"{change.before['gpu_allocatable']} GPUs allocatable now, {change.after['gpu_allocatable']} after: {change.target.name}"


def _both_ways(change: Change, inverse: Change) -> Change:
    return dataclasses.replace(change, inverse=inverse)
