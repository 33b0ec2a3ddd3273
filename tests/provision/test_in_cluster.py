"""Add-ons, node pools and queues, planned from what is served and what is there."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from actions.core import Change, Clients, Plan
from actions.core.provisioning import Params, within
from actions.core.provisioning.helm import same_version, to_release
from actions.core.provisioning.pins import addons
from actions.core.provisioning.presets import PRESETS, known_offers, reaches, room
from actions.provision import ACTION, follow, look, plan
from cockpit.clients.shell import Shell
from cockpit.cloud import Offer
from cockpit.errors import BadInput, CockpitError, Forbidden, NotFound, NotServed, Refused
from cockpit.model import Condition, NodeClass, NodePool, PoolName, Served
from cockpit.programs import INSTALL
from cockpit.store import Store, Upsert
from tests.provision.doubles import Doubles, path_with

KUEUE = "clusterqueues.kueue.x-k8s.io"
MONITORS = Served("servicemonitors.monitoring.coreos.com", "monitoring.coreos.com", "v1", "ServiceMonitor")
SERVED = (
    Served("nodepools.karpenter.sh", "karpenter.sh", "v1", "NodePool", False),
    Served("ec2nodeclasses.karpenter.k8s.aws", "karpenter.k8s.aws", "v1", "EC2NodeClass", False, {"spec.capacityReservationSelectorTerms": "array"}),
    Served(KUEUE, "kueue.x-k8s.io", "v1beta2", "ClusterQueue", False, {"spec.cohortName": "string"}),
)
P5 = Offer("p5.48xlarge", 8, "h100", 80 << 30, 32, 192, 2 << 40, ("us-east-1a",), 55.04, {"us-east-1a": 20.5})
G6E = Offer("g6e.48xlarge", 8, "l40s", 48 << 30, 4, 192, 1536 << 30, ("us-east-1b",), 30.13)


class Kube:
    """A cluster with these objects."""

    simulated, context, kubeconfig, impersonate, cluster = False, "ctx", "/etc/kube config", None, "train-one.us-east-1.eksctl.io"

    def __init__(self, objects: Mapping[str, Any], forbidden: Iterable[str] = ()) -> None:
        self.objects, self.forbidden = objects, set(forbidden)

    def request(self, method: str, path: str, **_: Any) -> Any:
        if path not in self.objects:
            raise NotFound(path)
        return self.objects[path]

    def may(self, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        return resource not in self.forbidden


@dataclasses.dataclass
class Cloud:
    """An AWS that answers from a table."""

    said: Mapping[str, Any]
    region: str = "us-east-1"

    def at(self, region: str) -> Cloud:
        return self

    def ask(self, name: str, **_: Any) -> Any:
        found = self.said[name]
        if isinstance(found, CockpitError):
            raise found
        return found


def planned(
    params: Params,
    objects: Mapping[str, Any] | None = None,
    served: tuple[Served, ...] = SERVED,
    said: Mapping[str, Any] | None = None,
    pools: tuple[NodePool, ...] = (),
    forbidden: Iterable[str] = (),
) -> Plan:
    """The plan of a target as the engine comes to it: sources, look, plan."""
    store = Store()
    store.apply(Upsert("served", "served", served), Upsert("nodepools", "nodepools", pools))
    cloud: Any = Cloud({"offers": (P5, G6E), "security_groups": (), "reservations": ()} | dict(said or {}))
    clients = Clients(kube=Kube(objects or {}, forbidden), shell=Shell(), aws=cloud)
    for fact in look(clients, store.snapshot(), params, threading.Event()):
        store.apply(fact)
    return plan(store.snapshot(), params)


def bodies(found: Plan) -> dict[str, Any]:
    return {change.target.kind: change.body for change in found.changes}


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubles:
    found = Doubles(tmp_path)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    found.place("helm", "kubectl")
    return found


def listed(*rows: tuple[str, str, str]) -> list[str]:
    return [json.dumps([{"name": name, "namespace": "x", "chart": chart, "status": status} for name, chart, status in rows])]


# -- node pools ------------------------------------------------------------------------------------------------------------------------------


def test_a_pool_shows_types_prices_efa_and_what_its_limits_reach() -> None:
    found = planned(Params("nodepool", preset="gpu-efa", gpus=20, zones=("us-east-1a",)))
    assert found.notes == ("p5.48xlarge: 8 x h100, 32 EFA, $55.04/h, spot $20.5/h; 2 nodes = 16 of 20 GPUs",)
    pool = bodies(found)["NodePool"]["spec"]
    assert pool["limits"]["nvidia.com/gpu"] == 20
    assert pool["limits"]["cpu"] == 2 * 192, "CPUs never bind before GPUs"
    zone, types = (next(one for one in pool["template"]["spec"]["requirements"] if one["key"].endswith(end)) for end in ("/zone", "/instance-type"))
    assert (zone["values"], types["values"]) == (["us-east-1a"], ["p5.48xlarge"])
    klass = bodies(found)["EC2NodeClass"]["spec"]
    assert klass["role"] == "eksctl-KarpenterNodeRole-train-one"
    assert "placementGroupSelector" not in klass
    assert any("security group" in warning for warning in found.warnings)


def test_a_pool_that_is_so_is_left_and_another_shows_what_changes() -> None:
    params = Params("nodepool", gpus=8)
    made = {change.target.path(): change.body for change in planned(params).changes}
    assert planned(params, made).already == "nodepool/gpu is there and is so"
    (changed,) = planned(Params("nodepool", gpus=16), made).changes
    assert (changed.summary.split()[0], changed.inverse, bool(changed.before)) == ("change", None, True)


def test_a_limit_below_one_node_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match=r"--gpus 4 is less than one node: the smallest, .*, has 8"):
        planned(Params("nodepool", gpus=4))


def test_without_aws_the_table_is_used_and_said() -> None:
    found = planned(Params("nodepool", preset="cpu-amx", cpus=192), said={"offers": Forbidden("no ec2 for you")})
    assert "no ec2 for you" in found.warnings[0]
    assert any(note.startswith("c7i.48xlarge: 192 CPUs, 1 EFA, $8.568/h; 1 node = 192 CPUs") for note in found.notes)
    assert bodies(found)["NodePool"]["spec"]["template"]["spec"]["taints"][0]["key"] == "intel.com/amx"


@pytest.mark.parametrize(
    ("params", "error", "about"),
    [
        (Params("nodepool", instance_types=("c5.large",)), BadInput, "c5.large: no type of the preset gpu"),
        (Params("nodepool", zones=("us-east-1f",)), Refused, "offered in us-east-1f"),
        (Params("nodepool", group="pg"), Refused, "placementGroupSelector"),
        (Params("nodepool", reservation="cr-9"), BadInput, "no active reservation"),
    ],
)
def test_what_cannot_be_bought(params: Params, error: type[CockpitError], about: str) -> None:
    with pytest.raises(error, match=about):
        planned(params)


def test_what_may_not_be_written_is_said_in_the_plan() -> None:
    with pytest.raises(Forbidden, match=r"ec2nodeclasses\.karpenter\.k8s\.aws"):
        planned(Params("nodepool"), forbidden=("ec2nodeclasses",))
    store = Store()
    with pytest.raises(Refused, match="not looked at yet"):
        plan(store.snapshot(), Params("nodepool"))


def test_waiting_says_which_condition_holds() -> None:
    store = Store()
    assert follow(store.snapshot(), Params("nodepool")).line == "nodepool/gpu: not seen yet"
    held = (Condition("SubnetsReady", "False", "SubnetsNotFound", "no subnets"), Condition("Ready", "False"), Condition("AMIsReady", "True"))
    pool = NodePool(PoolName("gpu"), "1", False, (Condition("NodeClassReady", "False", "NodeClassNotReady"),))
    store.apply(Upsert("nodepools", "nodepools", (pool,)), Upsert("nodeclasses", "nodeclasses", (NodeClass("gpu", "1", False, held),)))
    found = follow(store.snapshot(), Params("nodepool"))
    assert (found.done, found.line) == (False, "nodepool/gpu: waits for SubnetsReady: SubnetsNotFound no subnets; NodeClassReady: NodeClassNotReady")
    store.apply(Upsert("nodepools", "nodepools", (NodePool(PoolName("gpu"), "2", True),)))
    assert follow(store.snapshot(), Params("nodepool")).done


def test_every_preset_reaches_its_default_limit_with_its_own_table() -> None:
    for preset in PRESETS.values():
        reached = reaches(preset, known_offers(preset), 192 if preset.counts == "cpu" else 16)
        cpus, memory = room(reached)
        assert all(one.cpus <= cpus and one.nodes * one.offer.memory_bytes <= memory for one in reached)


# -- queues ----------------------------------------------------------------------------------------------------------------------------------


def test_a_queue_takes_the_limits_and_taints_of_its_pool() -> None:
    pool = NodePool(PoolName("efa"), "1", limits={"nvidia.com/gpu": 64.0, "cpu": 1536.0}, taints=("nvidia.com/gpu=present:NoSchedule",))
    found = bodies(planned(Params("queue", nodepool="efa", queue="team", cohort="all", namespace="ml"), pools=(pool,)))
    flavor = found["ResourceFlavor"]["spec"]
    assert flavor["nodeLabels"] == {"karpenter.sh/nodepool": "efa"}
    assert flavor["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    queue = found["ClusterQueue"]["spec"]
    assert (queue["namespaceSelector"], queue["cohortName"]) == ({}, "all")
    (group,) = queue["resourceGroups"]
    amounts = {one["name"]: one["nominalQuota"] for one in group["flavors"][0]["resources"]}
    assert list(amounts) == group["coveredResources"]
    assert (amounts["nvidia.com/gpu"], amounts["cpu"]) == (64, 1536)
    assert found["LocalQueue"]["metadata"] == {"name": "team", "namespace": "ml"}


def test_a_queue_for_kueue_that_says_cohort() -> None:
    old = Served(KUEUE, "kueue.x-k8s.io", "v1beta1", "ClusterQueue", False, {"spec.cohort": "string"})
    found = bodies(planned(Params("queue", gpus=8, cohort="all"), served=(old,)))
    assert found["ClusterQueue"]["apiVersion"] == "kueue.x-k8s.io/v1beta1"
    assert found["ClusterQueue"]["spec"]["cohort"] == "all"
    assert "cohortName" not in found["ClusterQueue"]["spec"]


@pytest.mark.parametrize(
    ("params", "served", "error"),
    [(Params("queue"), SERVED, BadInput), (Params("queue", gpus=8), (), NotServed), (Params("queue", nodepool="no", gpus=1), SERVED, BadInput)],
)
def test_a_queue_that_cannot_be(params: Params, served: tuple[Served, ...], error: type[CockpitError]) -> None:
    with pytest.raises(error):
        planned(params, served=served)


# -- add-ons ---------------------------------------------------------------------------------------------------------------------------------


def test_each_addon_is_one_command_in_its_pinned_version(helm: Doubles) -> None:
    helm.answers("list", stdout=listed())
    found = planned(Params("addons"), served=())
    by_name = {change.target.name: change for change in found.changes}
    assert by_name["dcgm-exporter"].argv == (
        *("helm", "upgrade", "--install", "dcgm-exporter", "dcgm-exporter", "--version", "4.7.1", "--namespace", "monitoring"),
        *("--repo", "https://nvidia.github.io/dcgm-exporter/helm-charts", "--create-namespace", "--values", "-", "--wait", "--timeout", "15m"),
        *("--kube-context", "ctx", "--kubeconfig", "/etc/kube config"),
    )
    assert by_name["kueue"].argv[4] == "oci://registry.k8s.io/kueue/charts/kueue"
    assert "--repo" not in by_name["kueue"].argv
    assert by_name["training-operator"].argv[:4] == ("kubectl", "apply", "--server-side", "--force-conflicts")
    assert "node-problem-detector" not in by_name, "the two detectors are a choice"
    assert list(by_name).index("prometheus") < list(by_name).index("dcgm-exporter")
    assert helm.argv() == [
        ["helm", "list", "--all-namespaces", "--all", "--output", "json", "--kube-context", "ctx", "--kubeconfig", "/etc/kube config"]
    ]


def test_counters_that_are_off_by_default_are_on(helm: Doubles) -> None:
    helm.answers("list", stdout=listed())
    (change,) = planned(Params("addons", addon=("dcgm-exporter",))).changes
    assert change.body is not None
    lines = [line for line in change.body["customMetrics"].splitlines() if line and not line.startswith("#")]
    names = [line.split(",")[0] for line in lines]
    assert len(names) == len(set(names))
    assert all(len(line.split(", ", 2)) == 3 and line.split(", ")[1] in ("gauge", "counter") for line in lines)
    assert {"DCGM_FI_DEV_GPU_UTIL", "DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_FI_PROF_SM_ACTIVE"} <= set(names)


def test_alloy_strips_what_the_runtime_writes_and_loki_goes_to_the_bucket(helm: Doubles) -> None:
    helm.answers("list", stdout=listed())
    alloy, loki = (planned(Params("addons", addon=(name,), bucket="logs-1")).changes[0].body for name in ("alloy", "loki"))
    assert alloy is not None and loki is not None
    assert "stage.cri {}" in alloy["alloy"]["configMap"]["content"]
    assert "/var/log/pods/*$1/*.log" in alloy["alloy"]["configMap"]["content"]
    assert (loki["loki"]["storage"]["type"], loki["loki"]["storage"]["bucketNames"]["chunks"]) == ("s3", "logs-1")


def test_what_is_there_is_left_and_what_was_cut_short_goes_on(helm: Doubles) -> None:
    helm.answers(
        "list",
        stdout=listed(
            ("kueue", "kueue-0.15.2", "deployed"),
            ("loki", "loki-6.49.0", "pending-install"),
            ("prometheus", "kube-prometheus-stack-79.0.0", "deployed"),
        ),
    )
    found = planned(Params("addons", addon=("kueue", "loki", "prometheus")))
    assert [change.summary.split(":")[0] for change in found.changes] == [
        "upgrade prometheus 80.4.1",
        "uninstall loki, which was cut short as pending-install",
        "install loki 6.49.0",
    ]
    assert found.notes == ("kueue is there",)
    assert "there in the pinned version" in planned(Params("addons", addon=("kueue",))).already


def test_the_efa_exporter_waits_for_the_kind_prometheus_brings(helm: Doubles) -> None:
    helm.answers("list", stdout=listed())

    def made(*names: str, served: tuple[Served, ...] = ()) -> list[Change]:
        return [one for one in planned(Params("addons", addon=names), served=served).changes if one.target.kind == "ServiceMonitor"]

    assert [one.via for one in made("prometheus", "efa-exporter")] == ["shell"]
    assert [one.via for one in made("efa-exporter", served=(MONITORS,))] == ["kube"]
    assert made("efa-exporter") == []


def test_without_helm_the_plan_is_shown_with_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path))
    found = planned(Params("addons", addon=("loki",)))
    assert f"helm is not installed: {INSTALL['helm']}" in found.warnings
    assert len(found.changes) == 1


def test_an_addon_nobody_knows(helm: Doubles) -> None:
    with pytest.raises(BadInput) as error:
        planned(Params("addons", addon=("keueu",)))
    assert error.value.hint == "did you mean kueue?"


def test_every_addon_has_values_and_a_pinned_version() -> None:
    root = Path(__file__).resolve().parents[2] / "manifests" / "addons"
    for one in addons().values():
        assert one.version
        assert bool(one.chart) + bool(one.kustomize) + bool(one.objects) == 1
        assert not one.chart or (root / f"{one.name}.yaml").exists()
        assert set(one.needs) <= set(addons())


def test_releases_as_helm_lists_them() -> None:
    found = to_release({"name": "efa", "namespace": "kube-system", "chart": "aws-efa-k8s-device-plugin-v0.5.8", "status": "deployed"})
    assert (found.chart, same_version(found.version, "0.5.8")) == ("aws-efa-k8s-device-plugin", True)
    young = to_release({"name": "x", "namespace": "y", "chart": "kube-prometheus-stack-80.4.1-rc.1", "status": "failed"})
    assert (young.chart, young.version) == ("kube-prometheus-stack", "80.4.1-rc.1")


def test_within() -> None:
    assert within({"a": [1, {"b": "2"}]}, {"a": [1, {"b": "2", "c": 3}], "d": 4})
    assert within({"cpu": 1000}, {"cpu": "1000"})
    assert not within({"a": [1]}, {"a": [1, 2]})
    assert not within({"a": None}, {})


def test_the_action_says_which_targets_there_are() -> None:
    (target, *_) = ACTION.describe()["params"]
    assert target["choices"] == ["vpc", "cluster", "addons", "nodepool", "queue", "fsx", "placement-group", "teardown"]
