"""Where a pod may go: the filters of the default kube-scheduler, in its order and in its words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cockpit.sim.controllers.affinity import affinity_failure
from cockpit.sim.controllers.objects import Object, expression_holds, labels_of, name_of, status_of
from cockpit.sim.controllers.pods import pod_requests, tolerates
from cockpit.sim.controllers.quantities import Amounts, amounts, lacking, total

UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
RESOLVABLE = (
    "Insufficient ",
    "Too many pods",
    "node(s) didn't match pod anti-affinity",
    "node(s) didn't satisfy existing",
    "node(s) didn't have free",
)


@dataclass
class NodeView:
    """What the scheduler knows of one node: its object, the pods on it and what they request (thousandths)."""

    node: Object
    pods: list[Object] = field(default_factory=list)
    requested: Amounts = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return name_of(self.node)

    @property
    def labels(self) -> Mapping[str, str]:
        """The node's labels."""
        return labels_of(self.node)

    @property
    def allocatable(self) -> Amounts:
        """status.allocatable in thousandths."""
        return amounts(status_of(self.node).get("allocatable"))

    @property
    def free(self) -> Amounts:
        """Allocatable less requested, in thousandths."""
        return {resource: amount - self.requested.get(resource, 0) for resource, amount in self.allocatable.items()}

    def add(self, pod: Object) -> None:
        """Count a pod as placed here."""
        self.pods.append(pod)
        self.requested = total([self.requested, pod_requests(pod["spec"])])


@dataclass(frozen=True)
class Placement:
    """A decision: a node's name, or why there is none."""

    node: str | None
    message: str = ""


def place(pod: Object, views: Sequence[NodeView]) -> Placement:
    """The node that fits and has the most left, or the scheduler's FailedScheduling message."""
    if not views:
        return Placement(None, "no nodes available to schedule pods")
    reasons = {view.name: node_failures(pod, view, views) for view in views}
    fitting = [view for view in views if not reasons[view.name]]
    if not fitting:
        return Placement(None, failure_message(list(reasons.values())))
    return Placement(min(fitting, key=lambda view: (-_share_left(view, pod), view.name)).name)


def node_failures(pod: Object, view: NodeView, views: Sequence[NodeView]) -> list[str]:
    """Why this node does not take the pod: the reasons of the first filter that says no, empty when it fits."""
    spec = pod["spec"]
    if view.node.get("spec", {}).get("unschedulable") and not tolerates(spec.get("tolerations") or [], UNSCHEDULABLE_TAINT):
        return ["node(s) were unschedulable"]
    taint = untolerated_taint(spec.get("tolerations") or [], view.node.get("spec", {}).get("taints") or [])
    if taint:
        return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"]
    if not matches_node(spec, view.labels, view.name):
        return ["node(s) didn't match Pod's node affinity/selector"]
    if _host_ports(spec) & {port for held in view.pods for port in _host_ports(held["spec"])}:
        return ["node(s) didn't have free ports for the requested pod ports"]
    short = lacking(pod_requests(spec), view.free)
    if short:
        return ["Too many pods" if resource == "pods" else f"Insufficient {resource}" for resource in short]
    failure = affinity_failure(pod, view, views)
    return [failure] if failure else []


def untolerated_taint(tolerations: Sequence[Mapping[str, Any]], taints: Iterable[Object]) -> Object | None:
    """The first NoSchedule or NoExecute taint that no toleration covers."""
    hard = (one for one in taints if one.get("effect") in ("NoSchedule", "NoExecute"))
    return next((one for one in hard if not tolerates(tolerations, one)), None)


def matches_node(spec: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    """Whether nodeSelector and required node affinity accept these labels."""
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    terms = required_terms(spec)
    return terms is None or any(_term_holds(term, labels, name) for term in terms)


def required_terms(spec: Mapping[str, Any]) -> list[Object] | None:
    """The nodeSelectorTerms of required node affinity, None when there is none."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else list(required.get("nodeSelectorTerms") or [])


def _term_holds(term: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    named = {"metadata.name": name}
    return all(expression_holds(one, labels) for one in expressions) and all(expression_holds(one, named) for one in fields)


def _host_ports(spec: Mapping[str, Any]) -> set[tuple[str, int]]:
    ports = (port for one in spec.get("containers") or [] for port in one.get("ports") or [])
    shared = bool(spec.get("hostNetwork"))
    wanted = ((port.get("protocol", "TCP"), port.get("hostPort") or (port["containerPort"] if shared else 0)) for port in ports)
    return {(protocol, number) for protocol, number in wanted if number}


def failure_message(reasons: Sequence[Sequence[str]]) -> str:
    """The scheduler's sentence for a pod that fits nowhere; one list of reasons a node."""
    count = len(reasons)
    counted = sorted(f"{number} {reason}" for reason, number in Counter(one for many in reasons for one in many).items())
    verdicts = Counter(_preemption_verdict(many) for many in reasons)
    preemption = ", ".join(sorted(f"{number} {verdict}" for verdict, number in verdicts.items()))
    head = f"0/{count} nodes are available"
    return f"{head}: {', '.join(counted)}. no new claims to deallocate, preemption: {head}: {preemption}."


def _preemption_verdict(reasons: Sequence[str]) -> str:
    resolvable = all(reason.startswith(RESOLVABLE) for reason in reasons)
    return "No preemption victims found for incoming pod" if resolvable else "Preemption is not helpful for scheduling"


def _share_left(view: NodeView, pod: Object) -> float:
    """The mean share of cpu and memory left after placing the pod: least-allocated scoring."""
    allocatable, free, wanted = view.allocatable, view.free, pod_requests(pod["spec"])
    shares = [(free.get(one, 0) - wanted.get(one, 0)) / allocatable[one] for one in ("cpu", "memory") if allocatable.get(one)]
    return round(sum(shares) / len(shares), 4) if shares else 0.0


def node_views(nodes: Iterable[Object], pods: Iterable[Object]) -> list[NodeView]:
    """The nodes with the unfinished pods bound to them."""
    views = {name_of(node): NodeView(node) for node in nodes}
    for pod in pods:
        view = views.get(pod["spec"].get("nodeName") or "")
        if view is not None and status_of(pod).get("phase") not in ("Succeeded", "Failed"):
            view.add(pod)
    return list(views.values())
