"""What happens to pod processes when the practice cluster stops, dies or starts again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from cockpit.sim.exporters import Exporters
from cockpit.sim.kubelet import Kubelet, processes
from cockpit.sim.store import Cluster
from tests.sim.kubelet.worlds import World, pod, until

CLUSTER = """
    import asyncio, sys
    from pathlib import Path
    from cockpit.sim.exporters import Exporters
    from cockpit.sim.kubelet import Kubelet
    from cockpit.sim.store import Cluster
    from tests.sim.kubelet.worlds import node, pod

    async def main():
        cluster = Cluster()
        cluster.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        cluster.create("nodes", node("node-1", "10.0.0.1"))
        kubelet = Kubelet(cluster, Path(sys.argv[1]), Exporters(cluster), pace=0.01)
        running = asyncio.create_task(kubelet.run())
        await asyncio.sleep(0)
        created = cluster.create("pods", pod("p", "sh", "-c", "setsid sleep 300 & exec sleep 300"))
        print(created["metadata"]["uid"], flush=True)
        await running

    asyncio.run(main())
"""


async def test_stop_leaves_no_process(world: World) -> None:
    uids = [world.create(pod(name, "sh", "-c", "trap '' TERM; setsid sleep 300 & sleep 300")) for name in ("a", "b")]
    await until(lambda: all(len(world.pids(uid)) == 3 for uid in uids), "three processes each")
    await world.kubelet.stop()
    assert not any(world.pids(uid) for uid in uids)
    assert not list(world.kubelet.machine.records.iterdir())


async def test_after_kill_9_direct_children_die_and_the_next_start_kills_the_rest(tmp_path: Path) -> None:
    sim = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CLUSTER), str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert sim.stdout is not None
        uid = (await asyncio.to_thread(sim.stdout.readline)).decode().strip()
        await until(lambda: len(processes.find(uid)) == 2, "main process and its child in another session")
        main = int(next(tmp_path.glob("pods/records/*.json")).stem)
        sim.send_signal(signal.SIGKILL)
        sim.wait()
        await until(lambda: main not in [process.pid for process in processes.find(uid)], "the main process dies with its parent")
        assert len(processes.find(uid)) == 1
        cluster = Cluster()
        kubelet = Kubelet(cluster, tmp_path, Exporters(cluster))
        assert kubelet.prepare() == 1
        await until(lambda: not processes.find(uid), "the orphan is killed")
        assert not list(tmp_path.glob("pods/records/*.json"))
    finally:
        sim.kill()
        sim.wait()
        assert sim.stdout is not None
        sim.stdout.close()


def test_a_reused_pid_is_not_killed(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        (tmp_path / f"{other.pid}.json").write_text(f'{{"pid": {other.pid}, "start_ticks": 1, "mark": "no-such-pod/c/0"}}')
        assert processes.kill_recorded(tmp_path) == 0
        assert other.poll() is None and not list(tmp_path.iterdir())
    finally:
        other.kill()
        other.wait()


async def test_no_zombies_stay(world: World) -> None:
    uid = world.create(pod("workers", "sh", "-c", "setsid sleep 300 & setsid sleep 300 & echo up; sleep 300"))
    await until(lambda: world.log("workers") == ["up"] and len(world.pids(uid)) == 4, "the workers")
    pids = world.pids(uid)
    world.cluster.delete("pods", "default", "workers", grace_seconds=0)
    await until(lambda: not world.status("workers"), "the pod is gone")

    def all_reaped() -> bool:
        processes.reap()
        return not any(os.path.exists(f"/proc/{pid}") for pid in pids)

    await until(all_reaped, "no zombie is left")
