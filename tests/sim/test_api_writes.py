"""Writes over HTTPS: codes, messages, patches, field validation, dry run, delete."""

from __future__ import annotations

from typing import Any

from tests.sim.serving import Served

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


def pod(name: str = "p", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **more}}


def config_map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_create_get_conflict_not_found(served: Served) -> None:
    made = served.post(CONFIG_MAPS, config_map(x="1"))
    status, body, _ = served.request("POST", CONFIG_MAPS, config_map())
    assert (status, body["reason"]) == (409, "AlreadyExists")
    assert body["details"] == {"name": "a", "kind": "configmaps"}
    served.request("PATCH", f"{CONFIG_MAPS}/a", {"data": {"y": "2"}}, MERGE)
    status, body, _ = served.request("PUT", f"{CONFIG_MAPS}/a", made)
    assert (status, body["reason"]) == (409, "Conflict")
    status, body, _ = served.request("GET", f"{CONFIG_MAPS}/b")
    assert (status, body["reason"], body["message"]) == (404, "NotFound", 'configmaps "b" not found')


def test_dry_run_changes_nothing(served: Served) -> None:
    made = served.post(f"{CONFIG_MAPS}?dryRun=All", config_map())
    assert made["metadata"]["uid"]
    assert served.request("GET", f"{CONFIG_MAPS}/a")[0] == 404
    served.post(CONFIG_MAPS, config_map(x="1"))
    status, body, _ = served.request("PATCH", f"{CONFIG_MAPS}/a?dryRun=All", {"data": {"x": "2"}}, MERGE)
    assert status == 200 and body["data"]["x"] == "2"
    served.request("DELETE", f"{CONFIG_MAPS}/a?dryRun=All")
    assert served.get(f"{CONFIG_MAPS}/a")["data"] == {"x": "1"}


def test_field_validation(served: Served) -> None:
    wrong = pod(hostNetwrok=True)
    status, body, _ = served.request("POST", f"{PODS}?fieldValidation=Strict", wrong)
    assert status == 400
    assert body["message"] == 'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.hostNetwrok"'
    status, body, response = served.request("POST", f"{PODS}?fieldValidation=Warn", wrong)
    assert status == 201 and response.headers["Warning"] == '299 - "unknown field \\"spec.hostNetwrok\\""'
    assert "hostNetwrok" not in body["spec"]
    twice = b'{"metadata":{"name":"q"},"data":{"a":"1","a":"2"}}'
    status, body, _ = served.request("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", twice)
    assert status == 400 and 'duplicate field "a"' in body["message"]
    status, body, _ = served.request("POST", PODS, pod("q", activeDeadlineSeconds="soon"))
    assert status == 400 and "cannot unmarshal string into Go struct field Pod.spec.activeDeadlineSeconds of type int64" in body["message"]


def test_null_fields_are_absent_fields(served: Served) -> None:
    body = {**pod(nodeSelector=None), "status": None}
    body["metadata"]["creationTimestamp"] = None
    made = served.post(f"{PODS}?fieldValidation=Strict", body)
    assert "nodeSelector" not in made["spec"] and made["metadata"]["creationTimestamp"]


def test_wrong_bodies(served: Served) -> None:
    assert served.request("POST", CONFIG_MAPS, b"{nonsense")[0] == 400
    assert served.request("POST", CONFIG_MAPS, [1])[0] == 400
    assert served.request("POST", CONFIG_MAPS, {**config_map(), "apiVersion": "v2"})[0] == 400
    assert served.request("POST", CONFIG_MAPS, {**config_map(), "kind": "Secret"})[0] == 400
    status, body, _ = served.request("POST", CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "other"}})
    assert status == 400 and "does not match the namespace" in body["message"]
    status, body, _ = served.request("POST", CONFIG_MAPS, config_map("Bad_Name"))
    assert (status, body["reason"]) == (422, "Invalid") and body["details"]["causes"][0]["field"] == "metadata.name"
    assert served.request("PATCH", f"{CONFIG_MAPS}/a", {}, "text/plain")[0] == 404
    served.post(CONFIG_MAPS, config_map())
    assert served.request("PATCH", f"{CONFIG_MAPS}/a", {}, "text/plain")[0] == 415
    assert served.request("POST", f"{CONFIG_MAPS}/a", config_map())[0] == 405


def test_a_pod_spec_is_fixed_but_for_its_images(served: Served) -> None:
    served.post(PODS, pod())
    status, body, _ = served.request("PATCH", f"{PODS}/p", {"spec": {"nodeName": "n"}}, MERGE)
    assert status == 422 and "pod updates may not change fields other than" in body["message"]
    status, body, _ = served.request("PATCH", f"{PODS}/p", {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}, STRATEGIC)
    assert status == 200 and body["spec"]["containers"][0]["image"] == "i:2"


def test_what_a_workload_must_have(served: Served) -> None:
    status, body, _ = served.request("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": []}})
    assert status == 422 and "spec.containers: Required value" in body["message"]
    job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    status, body, _ = served.request("POST", "/apis/batch/v1/namespaces/default/jobs", job)
    assert status == 422 and 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"' in body["message"]
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    status, body, _ = served.request("POST", DEPLOYMENTS, deployment)
    assert status == 422 and "`selector` does not match template `labels`" in body["message"]


def test_json_patch(served: Served) -> None:
    served.post(CONFIG_MAPS, config_map(x="1"))
    steps = [{"op": "test", "path": "/data/x", "value": "1"}, {"op": "add", "path": "/data/y~1z", "value": "2"}]
    status, body, _ = served.request("PATCH", f"{CONFIG_MAPS}/a", steps, JSON_PATCH)
    assert status == 200 and body["data"] == {"x": "1", "y/z": "2"}
    assert served.request("PATCH", f"{CONFIG_MAPS}/a", [{"op": "test", "path": "/data/x", "value": "2"}], JSON_PATCH)[0] == 422
    assert served.request("PATCH", f"{CONFIG_MAPS}/a", [{"op": "remove", "path": "/data/none"}], JSON_PATCH)[0] == 422


def test_strategic_merge_keys_lists(served: Served) -> None:
    served.post("/api/v1/nodes", {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
                                  "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    patch = {"status": {"conditions": [{"type": "Hot", "status": "False"}]}}
    status, body, _ = served.request("PATCH", "/api/v1/nodes/n/status", patch, STRATEGIC)
    assert status == 200 and {one["type"] for one in body["status"]["conditions"]} == {"Ready", "Hot"}
    gone = {"status": {"conditions": [{"type": "Hot", "$patch": "delete"}]}}
    body = served.request("PATCH", "/api/v1/nodes/n/status", gone, STRATEGIC)[1]
    assert [one["type"] for one in body["status"]["conditions"]] == ["Ready"]


def test_apply_owns_conflicts_and_gives_up(served: Served) -> None:
    first = {**config_map(x="1", y="1")}
    status, made, _ = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=one", first, APPLY)
    assert status == 201 and made["metadata"]["managedFields"][0]["operation"] == "Apply"
    status, body, _ = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=two", config_map(x="2"), APPLY)
    assert status == 409 and body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.x'
    assert body["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}]
    status, body, _ = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=two&force=true", config_map(x="2"), APPLY)
    assert status == 200 and body["data"] == {"x": "2", "y": "1"}
    body = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=one", config_map(z="1"), APPLY)[1]
    assert body["data"] == {"x": "2", "z": "1"}
    again = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=one", config_map(z="1"), APPLY)[1]
    assert again["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]


def test_apply_keeps_the_list_items_of_others(served: Served) -> None:
    def deployment(*containers: str) -> dict[str, Any]:
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
                "containers": [{"name": name, "image": "i", "resources": {"limits": {"cpu": 1}}} for name in containers]}}}}
    assert served.request("PATCH", f"{DEPLOYMENTS}/d?fieldManager=one", deployment("main", "side"), APPLY)[0] == 201
    assert served.request("PATCH", f"{DEPLOYMENTS}/d?fieldManager=two", deployment("main", "proxy"), APPLY)[0] == 200
    body = served.request("PATCH", f"{DEPLOYMENTS}/d?fieldManager=one", deployment("main"), APPLY)[1]
    assert [one["name"] for one in body["spec"]["template"]["spec"]["containers"]] == ["main", "proxy"]


def test_an_update_takes_ownership(served: Served) -> None:
    served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=one", config_map(x="1"), APPLY)
    served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=hand", {"data": {"x": "9"}}, MERGE)
    status, body, _ = served.request("PATCH", f"{CONFIG_MAPS}/a?fieldManager=one", config_map(x="1"), APPLY)
    assert status == 409 and 'conflict with "hand" using v1: .data.x' in body["message"]


def test_delete_answers_and_preconditions(served: Served) -> None:
    made = served.post(CONFIG_MAPS, config_map())
    status, body, _ = served.request("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "other"}})
    assert status == 409 and "Precondition failed: UID in precondition: other" in body["message"]
    status, body, _ = served.request("DELETE", f"{CONFIG_MAPS}/a")
    assert status == 200 and body["status"] == "Success" and body["details"]["uid"] == made["metadata"]["uid"]
    held = {**config_map("b"), "metadata": {"name": "b", "finalizers": ["example.com/hold"]}}
    served.post(CONFIG_MAPS, held)
    body = served.request("DELETE", f"{CONFIG_MAPS}/b")[1]
    assert body["kind"] == "ConfigMap" and body["metadata"]["deletionTimestamp"]
    served.request("PATCH", f"{CONFIG_MAPS}/b", {"metadata": {"finalizers": None}}, MERGE)
    assert served.request("GET", f"{CONFIG_MAPS}/b")[0] == 404


def test_delete_collection(served: Served) -> None:
    for name in ("a", "b"):
        served.post(CONFIG_MAPS, {"metadata": {"name": name, "labels": {"n": name}}})
    assert served.request("DELETE", f"{CONFIG_MAPS}?labelSelector=n%3Da")[0] == 200
    assert [one["metadata"]["name"] for one in served.get(CONFIG_MAPS)["items"]] == ["b"]


def test_jobs_keep_their_pods_unless_told_otherwise(served: Served) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = {"metadata": {"name": "j"}, "spec": {"template": template}}
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    for propagation, left in (("", 1), ("?propagationPolicy=Background", 0)):
        made = served.post(jobs, job)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": made["metadata"]["uid"], "controller": True}
        served.post(PODS, {**pod(), "metadata": {"name": "p", "ownerReferences": [owner]}})
        served.request("DELETE", f"{jobs}/j{propagation}")
        assert len(served.get(PODS)["items"]) == left
        served.request("DELETE", f"{PODS}/p")
