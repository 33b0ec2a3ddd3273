"""The cluster's state, in process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cockpit.sim.store import ApiError, Cluster, Loaded

CRD: dict[str, Any] = {
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1},
                                    "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                                },
                            },
                            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(first_rv=1000)
    cluster.create("namespaces", {"metadata": {"name": "default"}})
    return cluster


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec}}


def config_map(name: str, owner: dict[str, Any] | None = None, block: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}
        ]
    return {"metadata": metadata, "data": {"a": "1"}}


def test_create_fills_in_what_a_server_fills_in(cluster: Cluster) -> None:
    made = cluster.create("pods", pod())
    assert made["kind"] == "Pod" and made["apiVersion"] == "v1"
    assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"]
    assert int(made["metadata"]["resourceVersion"]) > 1000
    assert made["spec"]["restartPolicy"] == "Always" and made["status"]["phase"] == "Pending"
    with pytest.raises(ApiError) as raised:
        cluster.create("pods", pod())
    assert (raised.value.code, raised.value.reason, raised.value.message) == (409, "AlreadyExists", 'pods "p" already exists')


def test_generate_name_dry_run_and_missing_namespace(cluster: Cluster) -> None:
    made = cluster.create("configmaps", {"metadata": {"generateName": "x-", "namespace": "default"}}, dry_run=True)
    assert made["metadata"]["name"].startswith("x-") and len(made["metadata"]["name"]) == 7
    assert cluster.list("configmaps") == []
    with pytest.raises(ApiError) as raised:
        cluster.create("configmaps", {"metadata": {"name": "x", "namespace": "nowhere"}})
    assert raised.value.message == 'namespaces "nowhere" not found'


def test_a_stale_replace_is_a_conflict(cluster: Cluster) -> None:
    made = cluster.create("configmaps", config_map("a"))
    cluster.patch("configmaps", "default", "a", {"data": {"b": "2"}})
    with pytest.raises(ApiError) as raised:
        cluster.replace("configmaps", made)
    assert raised.value.code == 409
    assert raised.value.message.startswith('Operation cannot be fulfilled on configmaps "a": the object has been modified')


def test_a_patch_that_changes_nothing_leaves_the_version(cluster: Cluster) -> None:
    made = cluster.create("configmaps", config_map("a"))
    assert cluster.patch("configmaps", "default", "a", {"data": {"a": "1"}})["metadata"] == made["metadata"]


def test_status_is_a_subresource(cluster: Cluster) -> None:
    cluster.install_crd(CRD)
    made = cluster.create("widgets.example.com", {"metadata": {"name": "w", "namespace": "default"}, "spec": {"size": 1, "junk": 2}})
    assert made["spec"] == {"size": 1, "colour": "red"} and made["metadata"]["generation"] == 1
    same = cluster.patch("widgets.example.com", "default", "w", {"status": {"phase": "Up"}})
    assert "status" not in same
    both = cluster.patch("widgets.example.com", "default", "w", {"spec": {"size": 5}, "status": {"phase": "Up"}}, subresource="status")
    assert both["status"] == {"phase": "Up"} and both["spec"]["size"] == 1 and both["metadata"]["generation"] == 1
    assert cluster.patch("widgets.example.com", "default", "w", {"spec": {"size": 5}})["metadata"]["generation"] == 2


def test_a_crd_is_served_at_once_and_validates(cluster: Cluster) -> None:
    with pytest.raises(ApiError):
        cluster.get("widgets.example.com", "default", "w")
    cluster.install_crd(CRD)
    crd = cluster.get("customresourcedefinitions.apiextensions.k8s.io", None, "widgets.example.com")
    assert {one["type"]: one["status"] for one in crd["status"]["conditions"]} == {"NamesAccepted": "True", "Established": "True"}
    with pytest.raises(ApiError) as raised:
        cluster.create("widgets.example.com", {"metadata": {"name": "w", "namespace": "default"}, "spec": {"size": 0, "colour": "pink"}})
    assert raised.value.code == 422
    assert 'spec.colour: Unsupported value: "pink": supported values: "red", "blue"' in raised.value.message
    assert "spec.size" in raised.value.message


def test_owners_collect_their_dependents(cluster: Cluster) -> None:
    owner = cluster.create("configmaps", config_map("owner"))
    child = cluster.create("configmaps", config_map("child", owner))
    cluster.create("configmaps", config_map("grandchild", child))
    cluster.delete("configmaps", "default", "owner")
    assert cluster.list("configmaps") == []


def test_orphans_stay_without_their_owner(cluster: Cluster) -> None:
    owner = cluster.create("configmaps", config_map("owner"))
    cluster.create("configmaps", config_map("child", owner))
    cluster.delete("configmaps", "default", "owner", propagation="Orphan")
    assert "ownerReferences" not in cluster.get("configmaps", "default", "child")["metadata"]


def test_foreground_waits_for_blocking_dependents(cluster: Cluster) -> None:
    owner = cluster.create("configmaps", config_map("owner"))
    child = config_map("child", owner, block=True)
    child["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.create("configmaps", child)
    cluster.delete("configmaps", "default", "owner", propagation="Foreground")
    assert cluster.get("configmaps", "default", "owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.patch("configmaps", "default", "child", {"metadata": {"finalizers": None}})
    assert cluster.list("configmaps") == []


def test_a_pod_on_a_node_waits_for_its_kubelet(cluster: Cluster) -> None:
    cluster.create("nodes", {"metadata": {"name": "n"}})
    cluster.create("pods", pod(nodeName="n"))
    cluster.delete("pods", "default", "p")
    assert cluster.get("pods", "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 30
    cluster.delete("pods", "default", "p", grace_seconds=0)
    assert cluster.find("pods", "default", "p") is None


def test_a_namespace_takes_everything_with_it(cluster: Cluster) -> None:
    cluster.create("namespaces", {"metadata": {"name": "team"}})
    held = {"metadata": {"name": "a", "namespace": "team", "finalizers": ["example.com/hold"]}}
    cluster.create("configmaps", held)
    cluster.delete("namespaces", None, "team")
    assert cluster.get("namespaces", None, "team")["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError) as raised:
        cluster.create("configmaps", {"metadata": {"name": "b", "namespace": "team"}})
    assert "because it is being terminated" in raised.value.message
    cluster.patch("configmaps", "team", "a", {"metadata": {"finalizers": []}})
    assert cluster.find("namespaces", None, "team") is None


async def test_subscription_sees_what_is_and_what_changes(cluster: Cluster) -> None:
    cluster.create("configmaps", config_map("a"))
    subscription = cluster.subscribe("configmaps", "pods")
    cluster.patch("configmaps", "default", "a", {"data": {"a": "2"}})
    cluster.delete("configmaps", "default", "a")
    seen = []
    async for event in subscription:
        seen.append((event.type, event.resource, event.object["data"]["a"]))
        if event.type == "DELETED":
            break
    assert seen == [("ADDED", "configmaps", "1"), ("MODIFIED", "configmaps", "2"), ("DELETED", "configmaps", "2")]
    waiting = asyncio.create_task(anext(subscription))
    await asyncio.sleep(0)
    subscription.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


def test_events_are_aggregated(cluster: Cluster) -> None:
    made = cluster.create("pods", pod())
    for _ in range(3):
        cluster.event(made, "BackOff", "Back-off restarting failed container", "Warning", "kubelet")
    (event,) = cluster.list("events")
    assert event["count"] == 3 and event["involvedObject"]["uid"] == made["metadata"]["uid"]


def test_admission_may_change_or_refuse(cluster: Cluster) -> None:
    def hook(verb: str, obj: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any] | None:
        if obj["data"].get("a") == "no":
            raise ApiError(403, "Forbidden", "no means no")
        return {**obj, "data": {**obj["data"], "verb": verb}}

    cluster.admit("configmaps", hook)
    assert cluster.create("configmaps", config_map("a"))["data"]["verb"] == "CREATE"
    with pytest.raises(ApiError, match="no means no"):
        cluster.patch("configmaps", "default", "a", {"data": {"a": "no"}})


def test_load_and_rewrite_keep_bytes(cluster: Cluster) -> None:
    json = b'{"metadata":{"name":"n1","uid":"u1","labels":{"a":"b"}},"status":{"restartCount":1}}'
    assert cluster.load("nodes", [Loaded(None, "n1", "u1", json, {"a": "b"})]) == 1
    before = cluster.get("nodes", None, "n1")
    record = cluster.record("nodes", "n1")
    assert record is not None and before["kind"] == "Node"
    cluster.rewrite(record, lambda rest: rest.replace(b'"restartCount":1', b'"restartCount":2'))
    after = cluster.get("nodes", None, "n1")
    assert after["status"]["restartCount"] == 2
    assert int(after["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    assert cluster.list("nodes", labels={"a": "b"}) == [after]
    assert cluster.list("nodes", labels={"a": "c"}) == []
