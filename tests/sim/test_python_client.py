"""The official Python client, typed models and its Watch, against the practice cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sim.serving import Served, eventually

kubernetes = pytest.importorskip("kubernetes")


@pytest.fixture
def core(served: Served) -> Iterator[Any]:
    client = kubernetes.config.new_client_from_config(str(served.state.kubeconfig))
    yield kubernetes.client.CoreV1Api(client)
    client.close()


def pod(name: str) -> Any:
    models = kubernetes.client
    container = models.V1Container(name="c", image="busybox", resources=models.V1ResourceRequirements(limits={"nvidia.com/gpu": "1"}))
    return models.V1Pod(metadata=models.V1ObjectMeta(name=name, labels={"app": "x"}), spec=models.V1PodSpec(containers=[container]))


def test_typed_models_round_trip(core: Any) -> None:
    made = core.create_namespaced_pod("default", pod("p"))
    assert made.metadata.uid and made.status.phase == "Pending" and made.spec.containers[0].image == "busybox"
    assert made.metadata.creation_timestamp.year >= 2025
    core.patch_namespaced_pod("p", "default", {"metadata": {"annotations": {"a": "b"}}})
    listed = core.list_namespaced_pod("default", label_selector="app=x")
    assert [one.metadata.annotations for one in listed.items] == [{"a": "b"}]
    core.delete_namespaced_pod("p", "default")
    with pytest.raises(kubernetes.client.ApiException) as raised:
        core.read_namespaced_pod("p", "default")
    assert raised.value.status == 404 and raised.value.reason == "Not Found"


def test_paging(core: Any) -> None:
    for index in range(5):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"c{index}"}})
    page = core.list_namespaced_config_map("default", limit=2)
    names = [one.metadata.name for one in page.items]
    while page.metadata._continue:
        page = core.list_namespaced_config_map("default", limit=2, _continue=page.metadata._continue)
        names += [one.metadata.name for one in page.items]
    assert names == ["c0", "c1", "c2", "c3", "c4"]


def test_watch(core: Any, served: Served) -> None:
    start = core.list_namespaced_pod("default").metadata.resource_version
    core.create_namespaced_pod("default", pod("p"))
    core.delete_namespaced_pod("p", "default")
    watch = kubernetes.watch.Watch()
    seen = [(event["type"], event["object"].metadata.name)
            for event in watch.stream(core.list_namespaced_pod, "default", resource_version=start, timeout_seconds=1)]
    assert seen == [("ADDED", "p"), ("DELETED", "p")]
    served.run(served.sim.api.expire_watches)
    with pytest.raises(kubernetes.client.ApiException) as raised:
        for _ in kubernetes.watch.Watch().stream(core.list_namespaced_pod, "default", resource_version="5", timeout_seconds=1):
            pass
    assert raised.value.status == 410


def test_a_dynamic_kind(core: Any, served: Served) -> None:
    from tests.sim.test_store import CRD

    api = kubernetes.client.ApiextensionsV1Api(core.api_client)
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **CRD}
    api.create_custom_resource_definition(crd)
    custom = kubernetes.client.CustomObjectsApi(core.api_client)
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
    made = custom.create_namespaced_custom_object("example.com", "v1", "default", "widgets", body)
    assert made["spec"] == {"size": 3, "colour": "red"}
    read = api.read_custom_resource_definition("widgets.example.com")
    assert {one.type: one.status for one in read.status.conditions} == {"NamesAccepted": "True", "Established": "True"}
    api.delete_custom_resource_definition("widgets.example.com")
    assert eventually(lambda: served.request("GET", "/apis/example.com/v1/namespaces/default/widgets")[0] == 404)
