"""From a container's spec to a command, an environment and a folder on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cockpit.sim.kubelet.context import METRICS_PORTS, PodContext
from cockpit.sim.kubelet.devices import GPU, gpu_uuid
from cockpit.sim.kubelet.environment import environment, expand
from cockpit.sim.kubelet.mounts import Mounts, show
from cockpit.sim.kubelet.rendezvous import meet, meet_word, meet_words
from cockpit.sim.kubelet.volumes import mount_folders

METRICS_PORT = "TRAINING_METRICS_PORT"
PYTHON_BIN = Path(sys.executable).parent
DEFAULTS = {
    "LANG": "C.UTF-8",
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


class CommandNotFound(LookupError):
    """The container's command does not exist; the text is the runtime's message (reason StartError)."""


@dataclass(frozen=True)
class Prepared:
    """Ready to start. `idle` says that the image's own entrypoint would run, which nobody knows here."""

    command: list[str]
    env: dict[str, str]
    cwd: Path
    idle: bool
    mounts: Mounts


def prepare(context: PodContext, container: dict[str, Any]) -> Prepared:
    """Resolve everything a container needs; ConfigError when a reference is missing, CommandNotFound when the command is."""
    folder = context.folder / container["name"]
    for name in ("home", "tmp", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    given = environment(context.machine.cluster, context.pod, container, context.address)
    given = _ported(context, container, given)
    words = [expand(str(word), given) for word in (container.get("command") or []) + (container.get("args") or [])]
    if context.job is not None and context.rendezvous_port is not None:
        words = meet_words(words, context.job.job, context.rendezvous_port)
    mounts, cwd = _mounted(context, container, given, folder)
    env = _based(context, container, {name: mounts.rewrite(value) for name, value in given.items()}, folder)
    words = [mounts.rewrite(word) for word in words]
    if container.get("command"):
        return Prepared([executable(words[0], env["PATH"], cwd), *words[1:]], env, cwd, False, mounts)
    if words and _found(words[0], env["PATH"], cwd):
        return Prepared([executable(words[0], env["PATH"], cwd), *words[1:]], env, cwd, False, mounts)
    return Prepared([executable("sleep", env["PATH"], cwd), "infinity"], env, cwd, True, mounts)


def _mounted(context: PodContext, container: dict[str, Any], env: dict[str, str], folder: Path) -> tuple[Mounts, Path]:
    """The container's mounts, its working directory among them, and the folder to start in."""
    folders = mount_folders(container, context.volumes, env)
    root = folder / "root"
    parents = show(folders, root)
    work = container.get("workingDir")
    if not work or work.strip("/") == "":
        return Mounts(folders, parents), root
    cwd = Mounts(folders).resolve(work, root)
    cwd.mkdir(parents=True, exist_ok=True)
    return Mounts({work: cwd} | folders, parents), cwd


def _ported(context: PodContext, container: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """The environment with the job's rendezvous and the metrics port turned to this machine's loopback."""
    env = dict(given)
    if context.job is not None and context.rendezvous_port is not None:
        job, port = context.job.job, context.rendezvous_port
        env = meet(env, job, port)
        env = {name: meet_word(value, job, port) if ":" in value else value for name, value in env.items()}
    declared = next((p["containerPort"] for p in container.get("ports") or [] if p.get("name") == "metrics"), None)
    wanted = env.get(METRICS_PORT, "")
    container_port = declared or (int(wanted) if wanted.isdigit() else None)
    if container_port is None:
        return env
    if container_port not in context.metrics:
        context.metrics[container_port] = context.machine.ports.take(METRICS_PORTS)
    if wanted:
        env[METRICS_PORT] = str(context.metrics[container_port])
    return env


def _based(context: PodContext, container: dict[str, Any], given: dict[str, str], folder: Path) -> dict[str, str]:
    """The whole environment: our defaults, the container's own, and what cannot be anywhere else than in the pod's folder."""
    pod = context.pod
    path = f"{PYTHON_BIN}:{context.machine.shims}:/usr/bin:/bin"
    env = DEFAULTS | {"HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"]} | given
    env["PATH"] = f"{path}:{given['PATH']}" if given.get("PATH") else path
    for name, place in (("HOME", folder / "home"), ("TMPDIR", folder / "tmp")):
        if not env.get(name, "").startswith(str(context.machine.folder)):
            env[name] = str(place)
    env["COCKPIT_SIM_NAMES"] = str(context.machine.names / pod["metadata"]["namespace"])
    gpus = context.machine.devices.of(context.node, GPU, context.uid, container["name"])
    if gpus:
        env["NVIDIA_VISIBLE_DEVICES"] = ",".join(gpu_uuid(context.node, index) for index in gpus)
    return env


def _found(word: str, path: str, cwd: Path) -> str | None:
    """The executable a command word names: by PATH, by path, or by its name when an image's own bin folder is meant."""
    if "/" not in word:
        return shutil.which(word, path=path)
    absolute = word if os.path.isabs(word) else str(cwd / word)
    if os.access(absolute, os.X_OK) and os.path.isfile(absolute):
        return absolute
    name = os.path.basename(word)
    return shutil.which(name, path=path) if os.path.basename(os.path.dirname(word)) == "bin" else None


def executable(word: str, path: str, cwd: Path) -> str:
    """The path of a command; CommandNotFound in the runtime's words."""
    found = _found(word, path, cwd)
    if found is None:
        missing = "no such file or directory" if "/" in word else "executable file not found in $PATH"
        quoted = f'exec: "{word}": {missing}' if "/" not in word else f'exec: "{word}": stat {word}: {missing}'
        raise CommandNotFound(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
            f"unable to start container process: error during container init: {quoted}"
        )
    return found
