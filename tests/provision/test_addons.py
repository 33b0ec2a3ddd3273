"""Add-ons, planned from what is served and what helm says is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actions.core import Change
from actions.core.provisioning import Params
from actions.core.provisioning.helm import same_version, to_release
from actions.core.provisioning.pins import addons
from cockpit.errors import BadInput
from cockpit.model import Served
from cockpit.programs import INSTALL
from tests.provision.doubles import Doubles, path_with
from tests.provision.pictures import MONITORS, planned


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubles:
    found = Doubles(tmp_path)
    monkeypatch.setenv("PATH", path_with(tmp_path))
    found.place("helm", "kubectl")
    return found


def listed(*rows: tuple[str, str, str]) -> list[str]:
    return [json.dumps([{"name": name, "namespace": "x", "chart": chart, "status": status} for name, chart, status in rows])]


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
