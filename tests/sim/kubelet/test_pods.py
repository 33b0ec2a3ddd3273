"""Pods as real processes: status, events, restarts and ends as the real kubelet shows them."""

from __future__ import annotations

import signal

import pytest

from cockpit.sim.kubelet import processes
from tests.sim.kubelet.worlds import World, pod, until


async def test_a_pod_runs_to_success(world: World) -> None:
    world.create(pod("done", "sh", "-c", "echo out; echo err >&2"))
    status = await world.phase("done", "Succeeded")
    terminated = world.state("done")["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (0, "Completed")
    assert sorted(world.log("done")) == ["err", "out"]
    assert world.condition("done", "Ready") | {"lastTransitionTime": ""} == {
        "type": "Ready", "status": "False", "reason": "PodCompleted", "lastProbeTime": None, "lastTransitionTime": "",
    }  # fmt: skip
    assert world.condition("done", "Initialized")["status"] == "True"
    assert status["hostIP"] == "10.0.0.1" and status["podIP"].startswith("10.")
    assert status["containerStatuses"][0]["imageID"].startswith("registry.example/trainer@sha256:")


async def test_events_are_phrased_as_by_the_kubelet(world: World) -> None:
    world.create(pod("first", "true"))
    await world.phase("first", "Succeeded")
    world.create(pod("second", "true"))
    await world.phase("second", "Succeeded")
    events = world.events("first")
    assert events["Pulling"] == 'Pulling image "registry.example/trainer:1"'
    assert events["Pulled"].startswith('Successfully pulled image "registry.example/trainer:1" in ')
    assert events["Pulled"].endswith(" bytes.") and "including waiting). Image size: " in events["Pulled"]
    assert events["Created"] == "Created container: main" and events["Started"] == "Started container main"
    assert world.events("second")["Pulled"] == 'Container image "registry.example/trainer:1" already present on machine'
    field = next(e["involvedObject"]["fieldPath"] for e in world.cluster.list("events") if e["reason"] == "Started")
    assert field == "spec.containers{main}"


async def test_failure_is_told_with_its_exit_code(world: World) -> None:
    world.create(pod("bad", "sh", "-c", "exit 3"))
    await world.phase("bad", "Failed")
    assert world.state("bad")["terminated"]["exitCode"] == 3
    assert world.state("bad")["terminated"]["reason"] == "Error"


async def test_running_pod_is_ready_and_a_signal_is_128_plus(world: World) -> None:
    uid = world.create(pod("long", "sleep", "100"))
    await world.phase("long", "Running")
    assert world.condition("long", "Ready")["status"] == "True"
    assert world.entry("long")["ready"] and world.entry("long")["started"]
    for pid in world.pids(uid):
        processes.os.kill(pid, signal.SIGKILL)
    await world.phase("long", "Failed")
    terminated = world.state("long")["terminated"]
    assert (terminated["exitCode"], terminated["signal"]) == (137, 9)


async def test_init_containers_run_in_order_and_a_sidecar_beside(world: World) -> None:
    spec = {
        "initContainers": [
            {"name": "side", "image": "a:1", "restartPolicy": "Always", "command": ["sleep", "100"]},
            {"name": "one", "image": "a:1", "command": ["sh", "-c", "echo one > $DIR/order"], "env": [{"name": "DIR", "value": "/shared"}],
             "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
            {"name": "two", "image": "a:1", "command": ["sh", "-c", "echo two >> /shared/order"],
             "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
        ],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    }  # fmt: skip
    uid = world.create(pod("ordered", "cat", "/shared/order", spec=spec, volumeMounts=[{"name": "shared", "mountPath": "/shared"}]))
    await world.phase("ordered", "Succeeded")
    assert world.log("ordered") == ["one", "two"]
    await until(lambda: not world.pids(uid), "the sidecar ends with the pod")


async def test_a_failing_init_container_fails_a_pod_that_never_restarts(world: World) -> None:
    spec = {"initContainers": [{"name": "init", "image": "a:1", "command": ["false"]}]}
    world.create(pod("stuck", "true", spec=spec))
    await world.phase("stuck", "Failed")
    assert world.state("stuck") == {"waiting": {"reason": "PodInitializing"}}
    assert world.condition("stuck", "Initialized")["reason"] == "ContainersNotInitialized"


async def test_restarts_back_off_and_keep_the_previous_log(world: World) -> None:
    world.create(pod("again", "sh", "-c", "echo attempt; exit 1", spec={"restartPolicy": "OnFailure"}))
    await until(lambda: world.entry("again").get("restartCount", 0) >= 2, "two restarts")
    await until(lambda: world.state("again").get("waiting", {}).get("reason") == "CrashLoopBackOff", "back-off")
    message = world.state("again")["waiting"]["message"]
    assert message.startswith("back-off ") and "restarting failed container=main pod=again_default(" in message
    assert world.entry("again")["lastState"]["terminated"]["exitCode"] == 1
    assert world.status("again")["phase"] == "Running"
    assert world.log("again", previous=True) == ["attempt"]
    assert world.events("again")["BackOff"].startswith("Back-off restarting failed container main in pod again_default(")


async def test_command_not_found_is_a_start_error(world: World) -> None:
    world.create(pod("typo", "no-such-command"))
    await world.phase("typo", "Failed")
    terminated = world.state("typo")["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
    assert 'exec: "no-such-command": executable file not found in $PATH' in terminated["message"]
    world.create(pod("loop", "/no/such/file", spec={"restartPolicy": "Always"}))
    await until(lambda: world.state("loop").get("waiting", {}).get("reason") == "CrashLoopBackOff", "crash loop")


async def test_too_long_an_environment_is_a_start_error(world: World) -> None:
    world.create(pod("long", "true", env=[{"name": "LONG", "value": "x" * 200_000}]))
    await world.phase("long", "Failed")
    assert world.state("long")["terminated"]["message"] == "failed to create containerd task: Argument list too long"


async def test_unknown_image_backs_off(world: World) -> None:
    uid = world.create(pod("noimage", "true", image="registry.example/does-not-exist:1"))
    waiting = await until(lambda: world.state("noimage").get("waiting", {}).get("reason") == "ImagePullBackOff", "ImagePullBackOff")
    assert waiting and world.status("noimage")["phase"] == "Pending" and not world.pids(uid)
    assert "not found" in world.state("noimage")["waiting"]["message"]


async def test_a_pod_without_command_idles_and_says_so(world: World) -> None:
    uid = world.create(pod("idle"))
    await world.phase("idle", "Running")
    await until(lambda: world.log("idle"), "the line")
    assert world.log("idle") == ["SIMULATED: the entrypoint of image registry.example/trainer:1 is not known here; idling"]
    await until(lambda: world.pids(uid), "its process")


async def test_deletion_is_term_then_kill(world: World) -> None:
    polite = world.create(pod("polite", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
    stubborn = world.create(pod("stubborn", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    await until(lambda: world.log("polite") == ["up"] and world.log("stubborn") == ["up"], "both up")
    path = world.kubelet.log_path("default", "polite", "main")
    assert path is not None
    with path.open() as lines:
        world.cluster.delete("pods", "default", "polite")
        world.cluster.delete("pods", "default", "stubborn", grace_seconds=1)
        assert world.cluster.get("pods", "default", "stubborn")["metadata"]["deletionTimestamp"]
        await until(lambda: not world.status("polite"), "polite is gone")
        assert lines.read().splitlines()[-1].endswith("stdout F bye")
    await until(lambda: not world.status("stubborn"), "stubborn is gone")
    assert not world.pids(polite) and not world.pids(stubborn)
    assert world.events("polite")["Killing"] == "Stopping container main"


async def test_processes_in_sessions_of_their_own_die_with_the_pod(world: World) -> None:
    uid = world.create(pod("family", "sh", "-c", "setsid sleep 100 & setsid sh -c 'sleep 100 & wait' & echo up; wait"))
    await until(lambda: len(world.pids(uid)) >= 4 and world.log("family") == ["up"], "the family")
    sessions = {processes.session_of(pid) for pid in world.pids(uid)}
    assert len(sessions) >= 3
    world.cluster.delete("pods", "default", "family", grace_seconds=0)
    await until(lambda: not world.pids(uid), "all gone")


async def test_active_deadline(world: World) -> None:
    uid = world.create(pod("late", "sleep", "100", spec={"activeDeadlineSeconds": 1}))
    status = await world.phase("late", "Failed")
    assert status["reason"] == "DeadlineExceeded"
    await until(lambda: not world.pids(uid), "its process ends")


async def test_devices_are_given_out_and_taken_back(world: World) -> None:
    limits = {"limits": {"nvidia.com/gpu": "5", "vpc.amazonaws.com/efa": "4"}}
    world.create(pod("holder", "sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES; sleep 100", resources=limits))
    await until(lambda: world.log("holder"), "the log")
    assert len(world.log("holder")[0].split(",")) == 5
    assert {index: holder.place for index, holder in world.kubelet.gpus("node-1").items()} == {n: n for n in range(5)}
    world.create(pod("greedy", "true", resources=limits))
    status = await world.phase("greedy", "Failed")
    assert status["reason"] == "UnexpectedAdmissionError"
    assert "Requested: 5, Available: 3" in status["message"]
    world.cluster.delete("pods", "default", "holder")
    await until(lambda: not world.kubelet.gpus("node-1"), "taken back")


async def test_memory_limit_ends_in_oomkilled(world: World) -> None:
    hungry = "import time; block = b'x' * (96 << 20); print('full', flush=True); time.sleep(100)"
    world.create(pod("hungry", "python", "-c", hungry, resources={"limits": {"memory": "48Mi"}}))
    await until(lambda: world.log("hungry") == ["full"], "it is full")
    world.kubelet.memory.check()
    await world.phase("hungry", "Failed")
    terminated = world.state("hungry")["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "OOMKilled")


async def test_served_pods_are_ready_at_once_and_static_ones_left_alone(world: World) -> None:
    served = pod("exporter")
    served["metadata"]["annotations"] = {"sim.cockpit.dev/served-by": "pause"}
    static = pod("painted")
    static["metadata"]["annotations"] = {"sim.cockpit.dev/static": "true"}
    uids = [world.create(served), world.create(static)]
    await world.phase("exporter", "Running")
    assert world.condition("exporter", "Ready")["status"] == "True"
    await world.cluster.settled()
    assert "containerStatuses" not in world.status("painted")
    assert not any(world.pids(uid) for uid in uids)
    world.cluster.delete("pods", "default", "exporter")
    await until(lambda: not world.status("exporter"), "gone at once", seconds=3)


@pytest.mark.parametrize("policy", ["Never", "Always"])
async def test_missing_config_waits_until_it_exists(world: World, policy: str) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]
    world.create(pod("waits", "sh", "-c", "echo $A; sleep 100", env=env, spec={"restartPolicy": policy}))
    await until(lambda: world.state("waits").get("waiting", {}).get("reason") == "CreateContainerConfigError", "the error")
    assert world.state("waits")["waiting"]["message"] == 'configmap "later" not found'
    world.config_map("later", {"a": "b"})
    await until(lambda: world.log("waits") == ["b"], "it starts")
