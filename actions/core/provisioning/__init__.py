"""What the targets of `provision` share: the parameters, what was asked of the outside and what it said, names and places."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Change, Clients, Target, param
from cockpit.errors import BadInput, CockpitError, Forbidden, NoKubeconfig, NotServed, Refused
from cockpit.model import Answer
from cockpit.programs import install_line
from cockpit.snapshot import Snapshot
from cockpit.store import Fact, Upsert

SOURCE = "provision"
DISCOVERY = "karpenter.sh/discovery"
TARGETS = ("vpc", "cluster", "addons", "nodepool", "queue", "fsx", "placement-group", "teardown")
PRESETS = ("gpu", "gpu-efa", "cpu-amx")
ARN = re.compile(r"arn:aws[\w-]*:eks:(?P<region>[\w-]+):\d*:cluster/(?P<name>[\w-]+)")
EKSCTL = re.compile(r"(?P<name>[A-Za-z][\w-]*)\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.eksctl\.io")
EKS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True)
class Params:
    """What to make; each parameter says for which targets it counts."""

    target: str = param("what to make, or teardown", choices=TARGETS)
    name: str = param("cluster: its name in EKS (default: the cluster of the context)", "")
    region: str = param("AWS region (default: the cluster's, then AWS_REGION)", "")
    zones: tuple[str, ...] = param("vpc, nodepool, fsx: availability zones", ())
    cidr: str = param("vpc: its addresses", "10.0.0.0/16")
    kubernetes: str = param("cluster: version of Kubernetes (default: the pinned one)", "")
    addon: tuple[str, ...] = param("addons: names, or all", ("all",))
    again: bool = param("addons: install also what is there in its pinned version", False)
    bucket: str = param("addons: S3 bucket for Loki (default: a volume of the cluster)", "")
    preset: str = param("nodepool: which kind of nodes", "gpu", choices=PRESETS)
    nodepool: str = param("nodepool: its name (default: the preset's); queue: the pool its flavor stands for", "", picks="nodepools")
    instance_types: tuple[str, ...] = param("nodepool: EC2 types (default: the preset's that are offered)", ())
    capacity: tuple[str, ...] = param("nodepool: capacity types", ("on-demand", "spot"), choices=("on-demand", "spot", "reserved"))
    gpus: int | None = param("nodepool: most GPUs; queue: quota of GPUs", None, minimum=1)
    cpus: int | None = param("nodepool cpu-amx: most CPUs; queue: quota of CPUs", None, minimum=1)
    reservation: str = param("nodepool: id of a capacity reservation or capacity block", "")
    group: str = param("placement-group: its name; nodepool: the placement group its nodes go to", "")
    queue: str = param("queue: name of the LocalQueue", "training")
    cluster_queue: str = param("queue: name of the ClusterQueue (default: the queue's)", "")
    cohort: str = param("queue: cohort to borrow in", "")
    storage_gib: int = param("fsx: size in GiB", 1200, minimum=1200)
    deployment: str = param("fsx: kind of file system", "SCRATCH_2", choices=("SCRATCH_2", "PERSISTENT_2"))
    throughput: int = param("fsx PERSISTENT_2: MB/s per TiB", 250, choices=(125, 250, 500, 1000))
    efa: bool = param("fsx PERSISTENT_2: reach it over EFA", False)
    claim: str = param("fsx: name of the PersistentVolumeClaim", "fsx-pvc")
    with_data: bool = param("teardown: delete the file systems of the cluster too", False)
    with_vpc: bool = param("teardown: delete the VPC too, if it is ours", False)
    namespace: str = param("queue, fsx: namespace", "default", picks="namespaces")


def look(scope: str, question: str, ask: Callable[..., Any], *about: Any) -> Fact:
    """Ask the outside; the answer, or why there is none, as a fact for the plan."""
    try:
        answer = Answer(f"{scope}/{question}", ask(*about))
    except CockpitError as error:
        answer = Answer(f"{scope}/{question}", None, error)
    return Upsert(SOURCE, "answers", (answer,))


def told(snapshot: Snapshot, scope: str, question: str) -> Any:
    """What the outside answered; its own error when it did not, Refused when nobody asked yet."""
    answer = snapshot.answers.get(f"{scope}/{question}")
    if answer is None:
        raise Refused(f"{question.replace(':', ' ')}: not looked at yet", "the plan is made when the outside was asked")
    if answer.why is not None:
        raise answer.why
    return answer.value


def heard(snapshot: Snapshot, scope: str, question: str, default: Any = None) -> tuple[Any, str]:
    """The same where the plan can do without: the answer or the default, and why it is the default."""
    try:
        return told(snapshot, scope, question), ""
    except CockpitError as error:
        return default, error.message


def scope_of(params: Params) -> str:
    """What answers are kept under, so that those for one cluster never serve another."""
    return f"{params.target}/{params.region}/{params.name}"


def place(params: Params, clients: Clients) -> tuple[str, str]:
    """The EKS name and the region (empty: the environment's) that are meant."""
    name, region = eks_place(clients.kube.cluster) if clients.kube else ("", "")
    return params.name or name, params.region or region


def eks(params: Params, clients: Clients) -> tuple[str, str]:
    """The same, where the name becomes part of names in AWS and of paths here: BadInput when it cannot."""
    name, region = place(params, clients)
    return named(name), region


def eks_place(cluster: str) -> tuple[str, str]:
    """The EKS name and region in a kubeconfig's cluster name, as aws and eksctl write it; another name stays and has no region."""
    found = ARN.fullmatch(cluster) or EKSCTL.fullmatch(cluster)
    return (found["name"], found["region"]) if found else (cluster, "")


def named(name: str) -> str:
    """The cluster's name, checked; BadInput when none was given."""
    if not name:
        raise BadInput("which cluster? there is no context to take its name from", "--name NAME")
    if not EKS_NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name of an EKS cluster", "letters, digits, - and _, at most 100; --name NAME")
    return name


def the_kube(clients: Clients) -> Any:
    """The cluster that is needed; NoKubeconfig without one."""
    if clients.kube is None:
        raise NoKubeconfig("this needs a cluster, and there is no kubeconfig", "set KUBECONFIG, or give --kubeconfig or --sim")
    return clients.kube


def tool_note(snapshot: Snapshot, scope: str, program: str) -> tuple[str, ...]:
    """A warning with the line that installs a program that is not there."""
    found, _ = heard(snapshot, scope, f"tool:{program}", True)
    return () if found else (f"{program} is not installed: {install_line(program)}",)


def fetched(kube: Any, path: str) -> Mapping[str, Any] | None:
    """An object as the API holds it; None when it is not there."""
    from cockpit.errors import NotFound

    try:
        found: Mapping[str, Any] = kube.request("GET", path)
    except (NotFound, NotServed):
        return None
    return found


def may_write(kube: Any, target: Target) -> bool:
    """Whether the object may be created and changed by server-side apply."""
    return all(kube.may(verb, target.group, target.plural, target.namespace) for verb in ("create", "patch"))


def check_may(snapshot: Snapshot, scope: str, targets: list[Target]) -> None:
    """Forbidden, before anything is done, when one of the objects may not be written."""
    for target in targets:
        allowed, _ = heard(snapshot, scope, f"may:{target.resource}:{target.namespace}", True)
        if not allowed:
            raise Forbidden(f"you may not create or patch {target.resource}", "kubectl auth can-i says who you are and what you may")


def applied(target: Target, body: Mapping[str, Any], before: Mapping[str, Any] | None, what: str, **more: Any) -> Change | None:
    """Server-side apply of an object; None when it already says all of it. A new one is undone by deleting it."""
    if before is not None and within(body.get("spec"), before.get("spec")):
        return None
    undo = None
    if before is None:
        undo = Change("kube", "delete", target, f"delete {target}", f"kubectl delete {target.resource}/{target.name}{_space(target)}")
    shown = None if before is None else {"spec": before.get("spec")}
    verb = "create" if before is None else "change"
    return Change("kube", "apply", target, f"{verb} {what}", _line(target), body, before=shown, after=body, inverse=undo, **more)


def _line(target: Target) -> str:
    return f"kubectl apply --server-side --field-manager=cockpit -f - # {target}"


def _space(target: Target) -> str:
    return f" -n {target.namespace}" if target.namespace else ""


def within(wanted: Any, there: Any) -> bool:
    """True when all that is wanted is there; what the server added besides does not count."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(key in there and within(value, there[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(wanted) == len(there) and all(within(one, other) for one, other in zip(wanted, there, strict=True))
    return bool(wanted == there) or str(wanted) == str(there)


def aws_change(call: str, region: str, arguments: Mapping[str, Any], target: Target, summary: str, line: str, **more: Any) -> Change:
    """A change of cockpit.clients.aws_changes; `line` is what the aws tool would be told."""
    body = {"call": call, "region": region, "arguments": dict(arguments)}
    return Change("aws", "run", target, summary, line, body, after=dict(arguments), **more)
