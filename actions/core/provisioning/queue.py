"""A queue: the ResourceFlavor of a node pool, a ClusterQueue with its quota, and the LocalQueue that jobs name, in the version that is served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.lookups import closest
from actions.core.provisioning import Params, applied, check_may, fetched, look, may_write, scope_of, the_kube, told
from actions.core.render import manifest
from cockpit.errors import BadInput, NotServed
from cockpit.model import NodePool
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

GROUP = "kueue.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
GPU, EFA = "nvidia.com/gpu", "vpc.amazonaws.com/efa"
CPUS_PER_GPU, GIB_PER_GPU, EFA_PER_GPU = 24, 256, 4
"""The share of a large GPU node that one of its GPUs has, where neither pool nor parameter says more."""
GIB = 1 << 30


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The three objects, as they are."""
    scope, kube = scope_of(params), the_kube(clients)
    version = _version(snapshot)
    for target in _targets(params, version) if version else ():
        yield look(scope, f"object:{target}", fetched, kube, target.path())
        yield look(scope, f"may:{target.resource}:{target.namespace}", may_write, kube, target)


def _version(snapshot: Snapshot) -> str:
    """The version of Kueue's API that the cluster prefers, of those whose fields we know; empty without Kueue."""
    served = snapshot.served.get(f"clusterqueues.{GROUP}")
    return served.version if served and served.version in VERSIONS else ""


def _targets(params: Params, version: str) -> tuple[Target, Target, Target]:
    flavor = Target("ResourceFlavor", params.nodepool or params.queue, "", GROUP, version, "resourceflavors")
    cluster_queue = Target("ClusterQueue", params.cluster_queue or params.queue, "", GROUP, version, "clusterqueues")
    return flavor, cluster_queue, Target("LocalQueue", params.queue, params.namespace, GROUP, version, "localqueues")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The three objects where they are not so yet."""
    scope, version = scope_of(params), _version(snapshot)
    if not version:
        served = snapshot.served.get(f"clusterqueues.{GROUP}")
        what = f"Kueue's {served.version} is none we know ({', '.join(VERSIONS)})" if served else "the cluster serves no Kueue"
        raise NotServed(what, "provision --target addons --addon kueue installs it")
    targets = _targets(params, version)
    check_may(snapshot, scope, list(targets))
    pool = _pool(snapshot, params)
    quota = quota_of(pool, params)
    bodies = (_flavor(params, version, pool), _cluster_queue(snapshot, params, version, quota), _local_queue(params, version))
    words = ", ".join(f"{amount} {name}" for name, amount in quota.items())
    where = f"nodes of {pool.name}" if pool else "any node"
    whats = (
        f"ResourceFlavor {targets[0].name}: {where}",
        f"ClusterQueue {targets[1].name}: {words}" + (f", cohort {params.cohort}" if params.cohort else ""),
        f"LocalQueue {targets[2].name} in {params.namespace}",
    )
    changes: list[Change] = []
    for target, body, what in zip(targets, bodies, whats, strict=True):
        change = applied(target, body, told(snapshot, scope, f"object:{target}"), what)
        changes += [change] if change else []
    if not changes:
        return Plan(already=f"queue {params.queue} in {params.namespace} is there and is so")
    return Plan(tuple(changes), warnings=_warnings(snapshot, params, pool, version), risk=Risk.CHANGE)


def _pool(snapshot: Snapshot, params: Params) -> NodePool | None:
    if not params.nodepool:
        return None
    pool = snapshot.nodepools.get(params.nodepool)
    if pool is None:
        raise BadInput(f"no NodePool {params.nodepool!r}", closest(params.nodepool, snapshot.nodepools, "node pools"))
    return pool


def quota_of(pool: NodePool | None, params: Params) -> dict[str, Any]:
    """What the queue may hold: as asked for, else as far as the pool's limits reach; CPUs and memory that let all GPUs be used."""
    limits = pool.limits if pool else {}
    gpus = params.gpus if params.gpus is not None else int(limits.get(GPU, 0)) or None
    cpus = params.cpus if params.cpus is not None else int(limits.get("cpu", 0)) or None
    if gpus is None and cpus is None:
        raise BadInput("a queue needs a quota", "--gpus N, or --nodepool POOL whose limits it takes")
    memory = limits.get("memory")
    found: dict[str, Any] = {"cpu": cpus or (gpus or 0) * CPUS_PER_GPU}
    found["memory"] = f"{int(memory // GIB)}Gi" if memory else f"{(gpus or found['cpu'] / 8) * GIB_PER_GPU:.0f}Gi"
    if gpus is not None:
        found |= {GPU: gpus, EFA: gpus * EFA_PER_GPU}
    return found


def _flavor(params: Params, version: str, pool: NodePool | None) -> dict[str, Any]:
    labels = {"karpenter.sh/nodepool": pool.name} if pool else None
    tolerations = [_tolerated(one) for one in pool.taints] if pool else []
    holes = {"version": version, "name": params.nodepool or params.queue, "node_labels": labels, "tolerations": tolerations or None}
    return manifest("queues/resourceflavor", holes)


def _tolerated(taint: str) -> dict[str, str]:
    """`key=value:Effect` -> the toleration a pod of the flavor is given."""
    pair, _, effect = taint.rpartition(":")
    return {"key": pair.partition("=")[0], "operator": "Exists", "effect": effect}


def _cluster_queue(snapshot: Snapshot, params: Params, version: str, quota: dict[str, Any]) -> dict[str, Any]:
    served = snapshot.served[f"clusterqueues.{GROUP}"]
    renamed = "spec.cohortName" in served.fields if served.fields else version != "v1beta1"
    resources = [{"name": name, "nominalQuota": amount} for name, amount in quota.items()]
    holes: dict[str, Any] = {
        "version": version,
        "name": params.cluster_queue or params.queue,
        "cohort_name": params.cohort or None if renamed else None,
        "cohort": params.cohort or None if not renamed else None,
        "namespaces": {},
        "reclaim": "Any" if params.cohort else "Never",
        "resources": list(quota),
        "flavors": [{"name": params.nodepool or params.queue, "resources": resources}],
    }
    return manifest("queues/clusterqueue", holes)


def _local_queue(params: Params, version: str) -> dict[str, Any]:
    holes = {"version": version, "name": params.queue, "namespace": params.namespace, "cluster_queue": params.cluster_queue or params.queue}
    return manifest("queues/localqueue", holes)


def _warnings(snapshot: Snapshot, params: Params, pool: NodePool | None, version: str) -> tuple[str, ...]:
    found = []
    limit = pool.limits.get(GPU) if pool else None
    if limit and params.gpus and params.gpus > limit:
        found.append(f"the quota of {params.gpus} GPUs is more than {params.nodepool} may hold, {limit:g}: the rest will wait for ever")
    if version == "v1beta1":
        found.append("v1beta1 of Kueue is deprecated since 0.16; jobs are admitted all the same")
    return tuple(found)
