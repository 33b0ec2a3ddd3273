"""One loopback rendezvous per job attempt: the names and ports every pod of a job is told lead to 127.0.0.1."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cockpit.sim.kubelet.loopback import LoopbackPorts

PYTORCHJOB = "training.kubeflow.org/job-name"
JOBSET = "jobset.sigs.k8s.io/jobset-name"
JOBSET_UID = "jobset.sigs.k8s.io/jobset-uid"
ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
ADDRESSES = ("MASTER_ADDR", "PET_MASTER_ADDR")
PORTS = ("MASTER_PORT", "PET_MASTER_PORT")
ENDPOINT = "PET_RDZV_ENDPOINT"
ADDRESS_OPTION = r"--(?:master[-_]addr|rdzv[-_]endpoint)"


@dataclass(frozen=True)
class JobKey:
    """Pods with the same key meet at the same port."""

    namespace: str
    job: str
    uid: str
    attempt: str


def job_key(pod: dict[str, Any]) -> JobKey | None:
    """The job attempt a pod belongs to, None for a pod of no distributed job."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    name = labels.get(JOBSET) or labels.get(PYTORCHJOB)
    if not name:
        return None
    owner = next((ref["uid"] for ref in metadata.get("ownerReferences") or [] if ref.get("controller")), "")
    uid = labels.get(JOBSET_UID, "") if JOBSET in labels else owner
    return JobKey(metadata["namespace"], name, uid, labels.get(ATTEMPT, ""))


class Rendezvous:
    """Gives each job attempt one port for as long as a pod of it lives."""

    def __init__(self, ports: LoopbackPorts) -> None:
        self._ports = ports
        self._port: dict[JobKey, int] = {}
        self._members: dict[JobKey, set[str]] = {}

    def join(self, key: JobKey, pod_uid: str) -> int:
        """The attempt's port, taken when its first pod joins."""
        if key not in self._port:
            self._port[key] = self._ports.take()
        self._members.setdefault(key, set()).add(pod_uid)
        return self._port[key]

    def leave(self, key: JobKey, pod_uid: str) -> None:
        """Forget a pod; the port is free again after the last one."""
        members = self._members.get(key, set())
        members.discard(pod_uid)
        if not members and key in self._port:
            self._ports.give_back(self._port.pop(key))
            self._members.pop(key, None)


def _hosts(job: str) -> str:
    """Regular expression of the host names of a job's pods and services: `job`, `job-master-0`, `job-node-0-0.job[.ns.svc...]`."""
    return rf"(?:{re.escape(job)}(?:-[a-z0-9]+)*(?:\.[a-z0-9.-]+)?|localhost|127\.0\.0\.1)"


def meet(env: dict[str, str], job: str, port: int) -> dict[str, str]:
    """The environment with the job's rendezvous names turned to loopback and `port`; other values stay."""
    hosts = re.compile(_hosts(job))
    met = dict(env)
    for name in ADDRESSES:
        if name in env and hosts.fullmatch(env[name]):
            met[name] = "127.0.0.1"
    for name in PORTS:
        if name in env:
            met[name] = str(port)
    host = env.get(ENDPOINT, "").rpartition(":")[0] or env.get(ENDPOINT, "")
    if ENDPOINT in env and hosts.fullmatch(host):
        met[ENDPOINT] = f"127.0.0.1:{port}"
    if any(name.startswith("PET_") for name in env):
        met.setdefault("PET_LOCAL_ADDR", "127.0.0.1")
    return met


def meet_word(word: str, job: str, port: int) -> str:
    """A command word with the job's rendezvous written out (`--rdzv_endpoint=job-worker-0:23456`) turned to loopback and `port`."""
    numbered = rf"{re.escape(job)}-(?:master|worker|node|launcher)-\d+(?:-\d+)*(?:\.[a-z0-9.-]*[a-z0-9])?"
    word = re.sub(rf"(?<![\w.-]){numbered}:\d+", f"127.0.0.1:{port}", word)
    word = re.sub(rf"({ADDRESS_OPTION}[= ]){numbered}(?![\w.-])", r"\g<1>127.0.0.1", word)
    return re.sub(r"(--(?:master|rdzv)[-_]port=)\d+", rf"\g<1>{port}", word)


def meet_words(words: list[str], job: str, port: int) -> list[str]:
    """A command with the job's rendezvous turned to loopback, also where option and value are two words."""
    met = [meet_word(word, job, port) for word in words]
    for index, word in enumerate(met[:-1]):
        if re.fullmatch(r"--(?:master|rdzv)[-_]port", word) and met[index + 1].isdigit():
            met[index + 1] = str(port)
        elif re.fullmatch(ADDRESS_OPTION, word):
            met[index + 1] = meet_word(f"{word} {met[index + 1]}", job, port).partition(" ")[2]
    return met
