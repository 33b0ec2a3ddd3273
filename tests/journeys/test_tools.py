"""The working tools on a practice cluster, as a person runs them: what they find, and that nothing of theirs is left."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.worlds import REPOSITORY, World, eventually, idle_scenario, world_at

KUBECTL = shutil.which("kubectl") or ""
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="no kubectl on this machine")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tools")
    with world_at(folder, "--scenario", str(idle_scenario(folder)), "--pace", "0.1") as one:
        yield one


def ours(world: World) -> list[str]:
    """What the tools made and is still there."""
    found = []
    for path in ("/api/v1/pods", "/api/v1/services", "/api/v1/configmaps", "/apis/kubeflow.org/v1/pytorchjobs"):
        query = "?labelSelector=app.kubernetes.io/managed-by%3Dcockpit"
        found += [one["metadata"]["name"] for one in world.ask("GET", path + query)["items"]]
    return found


def gone(world: World) -> bool:
    return not ours(world)


def test_nettest_measures_both_ways_and_leaves_nothing(world: World) -> None:
    nodes = [world.node(0), world.node(1)]
    said = world.cockpit("--action", "nettest", "--node", ",".join(nodes), "--seconds", "1", "--port", "15201", "-o", "json")
    assert said.code == 0, said.err
    forth, back = said.json["result"]
    assert [forth["from"], forth["to"]] == nodes and [back["to"], back["from"]] == nodes
    assert forth["bits_per_second"] > 1e6 and forth["simulated"] is True and forth["tool"] in ("iperf3", "python")
    eventually(lambda: gone(world), "the pods go")


def test_an_image_that_is_not_there_and_a_command_that_fails_leave_nothing_either(world: World) -> None:
    said = world.cockpit("--action", "debug", "--node", world.node(), "--command", "true", "--image", "does-not-exist:1")
    assert said.code == 1 and "the debug pod cannot start" in said.err and "does-not-exist:1" in said.err
    said = world.cockpit("--action", "debug", "--node", world.node(), "--command", "echo seen $((6*7)); exit 3", "-o", "json")
    assert said.code == 1 and [one["line"] for one in said.json["result"]] == ["seen 42"]
    assert "exit code 3" in said.json["error"]["message"]
    assert world.cockpit("--action", "debug", "--node", world.node()).code == 2
    assert world.cockpit("--readonly", "--action", "debug", "--node", world.node(), "--command", "true").code == 4
    eventually(lambda: gone(world), "the pods go")


def test_time_that_is_over_takes_the_pod_along(world: World) -> None:
    said = world.cockpit("--action", "debug", "--node", world.node(), "--command", "sleep 100", "--timeout", "3")
    assert said.code == 124
    eventually(lambda: gone(world), "the pod goes")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_pod_along(world: World, number: int) -> None:
    words = ["-m", "cockpit", "--kubeconfig", world.kubeconfig, "--action", "debug", "--node", world.node(), "--command", "sleep 100"]
    with subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, env=world.env, stderr=subprocess.PIPE, text=True) as running:
        eventually(lambda: ours(world), "the pod comes")
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "what was made for it is removed" in err
    eventually(lambda: gone(world), "the pod goes")


@needs_kubectl
def test_a_shell_in_a_terminal_is_the_pod_s_and_its_end_is_the_pod_s_end(world: World) -> None:
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(REPOSITORY)
        words = ["-m", "cockpit", "--kubeconfig", world.kubeconfig, "--action", "debug", "--node", world.node()]
        os.execve(sys.executable, [sys.executable, *words], world.env)
    text = _typed(screen, b"echo from $(( 40 + 2 )); tty; exit 5\n")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(screen)
    assert "from 42" in text and "/dev/pts/" in text and code == 0, text
    eventually(lambda: gone(world), "the pod goes")


def _typed(screen: int, line: bytes, seconds: float = 60.0) -> str:
    """What a terminal shows to its end; the line is typed at the first prompt."""
    shown, typed, deadline = b"", False, time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                shown += os.read(screen, 4096)
            except OSError:
                break
        if not typed and shown.rstrip().endswith((b"#", b"$")):
            os.write(screen, line)
            typed = True
    return shown.decode(errors="replace")


def test_nccl_test_sums_over_two_nodes_and_says_by_what(world: World) -> None:
    pytest.importorskip("torch")
    words = ("--gpus", "1", "--max-bytes", "64", "--iterations", "2", "--kind", "PyTorchJob")
    said = world.cockpit("--action", "nccl-test", *words, "--timeout", "140", "-o", "json")
    assert said.code == 0, said.err
    found = said.json["result"]
    assert [one["size_bytes"] for one in found] == [8, 16, 32, 64]
    assert all(one["backend"] == "gloo" and one["simulated"] and one["in_place_wrong"] == 0 and one["in_place_time_us"] > 0 for one in found)
    eventually(lambda: gone(world), "the job goes")


def test_suspend_and_resume_on_a_live_job(world: World, tmp_path: Path) -> None:
    world.cockpit("--action", "launch", "--name", "held", "--gpus", "0", "--steps", "100000", "--checkpoints", "none")
    job = "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/held"
    said = world.cockpit("--action", "suspend", "--job", "held", "--wait", "-o", "json")
    assert said.code == 0 and said.json["result"]["left"] == [], said.err
    assert world.ask("GET", job)["spec"]["runPolicy"]["suspend"] is True
    assert world.cockpit("--action", "suspend", "--job", "held").out.strip() == "held already suspended"
    assert world.cockpit("--action", "resume", "--job", "held").code == 0
    assert world.ask("GET", job)["spec"]["runPolicy"]["suspend"] is False
    assert world.cockpit("--action", "scale", "--job", "held", "--workers", "3").code == 4
    world.cockpit("--action", "stop", "--job", "held", "--yes", "--wait")


def test_the_doctor_sees_what_there_is(world: World) -> None:
    said = world.cockpit("--action", "doctor", "-o", "json")
    found: dict[str, Any] = {one["name"]: one for one in said.json["result"]}
    assert said.code == 0, said.err
    assert found["PyTorchJob"]["state"] == found["dcgm-exporter"]["state"] == found["create pods/exec"]["state"] == "ok"
    assert found["TrainJob"]["detail"].startswith("v1alpha1; ") and found["MPIJob"]["state"] == "missing"


@needs_kubectl
def test_kubectl_exec_has_its_streams_its_exit_code_and_its_refusals(world: World) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talker"},
        "spec": {"containers": [{"name": "main", "image": "busybox", "command": ["sleep", "300"], "env": [{"name": "WHO", "value": "me"}]}]},
    }
    world.ask("POST", "/api/v1/namespaces/default/pods", body)
    path = "/api/v1/namespaces/default/pods/talker"
    eventually(lambda: world.ask("GET", path)["status"].get("phase") == "Running", "the pod runs")

    def execute(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        argv = [KUBECTL, "--kubeconfig", world.kubeconfig, "exec", *words]
        return subprocess.run(argv, env=world.env, input=stdin, capture_output=True, text=True, timeout=60)

    said = execute("talker", "--", "sh", "-c", "echo $WHO; echo err >&2; exit 4")
    assert (said.returncode, said.stdout) == (4, "me\n") and "err" in said.stderr
    assert execute("-i", "talker", "--", "cat", stdin="typed\n").stdout == "typed\n"
    assert execute("talker", "--", "no-such-thing").returncode == 127
    assert "container nope is not valid" in execute("talker", "-c", "nope", "--", "ls").stderr
    world.ask("DELETE", path, {"gracePeriodSeconds": 0})
