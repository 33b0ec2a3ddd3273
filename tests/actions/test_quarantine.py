"""quarantine-gpu and its undoing: which configuration, which label, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml

from actions.core import Clients, Plan, load, parse, performing
from actions.core.apply import ApplyFailed, apply
from actions.core.journal import Journal
from actions.core.quarantining import LABEL, config_name, excluding, look_at, to_plugin
from cockpit.errors import BadInput, Refused
from cockpit.model import DeviceKey, DevicePlugin, Gpu, NodeName, Pod, PodKey
from tests.actions.pictures import FakeKube, node, picture

QUARANTINE, BACK = load("quarantine-gpu"), load("unquarantine-gpu")
PLUGIN = DevicePlugin(PodKey("kube-system", "nvdp"), "k8s-device-plugin:v0.18.2", "app=nvdp", "configs", "9", {"default": "version: v1\n"}, "default")
OWN = config_name("n1")


def gpu(index: int, on: str = "n1", **more: Any) -> Gpu:
    return Gpu(DeviceKey(NodeName(on), str(index)), index, f"GPU-{on}-{index}", **more)


def shown(*nodes: Any, plugins: Any = (PLUGIN,), **more: Any) -> Any:
    return picture(
        nodes=nodes or [node("n1"), node("n2")], gpus=[gpu(0), gpu(1, pod=PodKey("default", "t5")), gpu(0, "n2")], deviceplugins=plugins, **more
    )


def quarantined(names: str, *nodes: Any, **more: Any) -> Plan:
    return QUARANTINE.plan(shown(*nodes, **more), parse(QUARANTINE.params, {"gpu": names}))


def test_one_configuration_one_label_one_restart_and_what_is_then_offered() -> None:
    plan = quarantined("GPU-n1-1")
    config, label, restart, wait = plan.changes
    assert config.target.path() == "/api/v1/namespaces/kube-system/configmaps/configs" and config.resource_version == "9"
    assert yaml.safe_load(config.body["data"][OWN]) == {"version": "v1", "deviceFilter": {"exclude": {"uuids": ["GPU-n1-1"]}}}
    assert config.inverse.body == {"data": {OWN: None}}
    assert label.body["metadata"]["labels"] == {LABEL: OWN} and label.body["metadata"]["annotations"]["cockpit.dev/quarantined-gpus"] == "GPU-n1-1"
    assert label.inverse.body["metadata"]["labels"] == {LABEL: None}
    assert (restart.selector, restart.field_selector, restart.settling) == ("app=nvdp", "spec.nodeName=n1", True)
    assert wait.body == {"status": {"allocatable": {"nvidia.com/gpu": "7"}}} and wait.inverse.body == {
        "status": {"allocatable": {"nvidia.com/gpu": "8"}}
    }
    assert plan.warnings == ("pod/t5 -n default has GPU-n1-1 and keeps it until it ends",)


def test_gpus_of_several_nodes_share_the_configmap_and_are_named_by_place_too() -> None:
    plan = quarantined("n1/0,GPU-n2-0")
    assert [change.verb for change in plan.changes] == ["patch", "patch", "patch", "delete", "delete", "wait", "wait"]
    assert set(plan.changes[0].body["data"]) == {OWN, config_name("n2")}


def test_another_gpu_of_the_same_node_joins_the_first() -> None:
    held = node("n1", 7, plugin_config=OWN, former_config="mig", quarantined=("GPU-n1-1",))
    own = DevicePlugin(
        PLUGIN.key, PLUGIN.image, PLUGIN.selector, "configs", "9", {"mig": "flags: {a: b}", OWN: excluding("flags: {a: b}", ["GPU-n1-1"])}
    )
    assert quarantined("GPU-n1-1", held, plugins=(own,)).already == "GPU-n1-1 quarantined already"
    plan = quarantined("GPU-n1-0", held, plugins=(own,))
    config = yaml.safe_load(plan.changes[0].body["data"][OWN])
    assert config["deviceFilter"]["exclude"]["uuids"] == ["GPU-n1-0", "GPU-n1-1"] and config["flags"] == {"a": "b"}
    assert plan.changes[-1].body == {"status": {"allocatable": {"nvidia.com/gpu": "6"}}}
    back = BACK.plan(shown(held, plugins=(own,)), parse(BACK.params, {"gpu": "GPU-n1-1"}))
    assert back.changes[0].body == {"data": {OWN: None}} and back.changes[1].body["metadata"]["labels"] == {LABEL: "mig"}
    assert back.changes[-1].body == {"status": {"allocatable": {"nvidia.com/gpu": "8"}}}
    assert BACK.plan(shown(), parse(BACK.params, {"gpu": "GPU-n1-0"})).already == "GPU-n1-0 not quarantined"


def test_what_cannot_be_done_is_refused_plainly() -> None:
    with pytest.raises(BadInput, match="no GPU that DCGM reports"):
        quarantined("GPU-n1-9")
    with pytest.raises(BadInput, match="is on n1, not on n2"):
        QUARANTINE.plan(shown(), parse(QUARANTINE.params, {"gpu": "GPU-n1-0", "node": "n2"}))
    with pytest.raises(Refused, match="no NVIDIA device plugin runs on n1"):
        quarantined("GPU-n1-0", plugins=())
    bare = DevicePlugin(PLUGIN.key, PLUGIN.image, PLUGIN.selector)
    with pytest.raises(Refused, match="takes no configuration from a ConfigMap") as raised:
        quarantined("GPU-n1-0", plugins=(bare,))
    assert "config.name" in raised.value.hint
    for text, said in (("a: [", "not YAML"), ("- a", "not a mapping")):
        broken = DevicePlugin(PLUGIN.key, PLUGIN.image, PLUGIN.selector, "configs", "9", {"default": text}, "default")
        with pytest.raises(Refused, match=said):
            quarantined("GPU-n1-0", plugins=(broken,))


def test_of_two_plugins_the_one_with_a_pod_on_the_node_counts() -> None:
    other = DevicePlugin(PodKey("gpu-operator", "plugin"), "k8s-device-plugin", "app=op", "op-configs", "1", {}, "")
    mine = Pod(PodKey("gpu-operator", "plugin-x"), "7", "Running", "Running", node=NodeName("n1"), owner="DaemonSet/plugin")
    assert quarantined("GPU-n1-0", plugins=(PLUGIN, other), pods=[mine]).changes[0].target.name == "op-configs"


def test_a_plugin_that_heeds_no_filter_is_found_out(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "GONE_POLL_SECONDS", 0.01)
    plan = quarantined("GPU-n1-0")
    short = dataclasses.replace(plan, changes=(dataclasses.replace(plan.changes[-1], grace_seconds=0),))
    kube = FakeKube(lambda method, path: {"status": {"allocatable": {"nvidia.com/gpu": "8"}}})
    with pytest.raises(ApplyFailed, match=r"nvidia\.com/gpu of node/n1 is 8") as raised:
        apply(short, Clients(kube=kube), action="q", params=parse(QUARANTINE.params, {"gpu": "GPU-n1-0"}), journal=Journal(tmp_path / "j"))
    assert "knows no device filter" in raised.value.hint


def test_the_name_of_a_configuration_is_a_label_value_and_its_nodes_own() -> None:
    long = "ip-10-0-24-118.with-a-very-long-domain.us-gov-west-1.compute.internal"
    assert len(config_name(long)) <= 63 and config_name(long) != config_name(long.replace("west", "east"))


def test_the_plugin_is_found_by_its_image_and_its_configmap_by_the_volume_of_the_chart() -> None:
    container = {"name": "ctr", "image": "nvcr.io/nvidia/k8s-device-plugin:v0.18.2", "env": [{"name": "DEFAULT_CONFIG", "value": "any"}]}
    volumes = [{"name": "available-configs", "configMap": {"name": "configs"}}, {"name": "config", "emptyDir": {}}]
    spec = {"selector": {"matchLabels": {"b": "2", "a": "1"}}, "template": {"spec": {"containers": [container], "volumes": volumes}}}
    raw = {"metadata": {"name": "nvdp", "namespace": "kube-system"}, "spec": spec}
    row = to_plugin(raw)
    assert row is not None and (row.selector, row.configmap, row.default) == ("a=1,b=2", "configs", "any")
    other = {"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [{"image": "eks/aws-efa-k8s-device-plugin:v0.5.14"}]}}}}
    assert to_plugin(other) is None

    def answer(method: str, path: str) -> dict[str, Any]:
        if path.endswith("daemonsets"):
            return {"items": [raw, other]}
        return {"metadata": {"resourceVersion": "5"}, "data": {"any": "version: v1"}}

    facts = list(look_at(Clients(kube=FakeKube(answer)), picture()))
    assert [(one.key.name, one.configmap_version, one.configs) for one in facts[1].rows] == [("nvdp", "5", {"any": "version: v1"})]
