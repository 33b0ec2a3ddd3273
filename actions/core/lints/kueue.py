"""Kueue: flavors, queues and the label that sends a job through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, items, mapping, put, rename
from actions.core.lints.resources import GPU, quantity
from actions.core.lints.shapes import TRAINING, pods_of
from actions.core.params import nearest

QUEUE = "kueue.x-k8s.io/queue-name"
LOCAL_QUEUES = "localqueues.kueue.x-k8s.io"
NEW, OLD = "kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1"
FLAVOR_LABELS = Rule(
    "flavor-node-labels", "error", "nodeSelector in a ResourceFlavor", "the field is nodeLabels; a flavor without it fits every node", mends=True
)
FLAVOR_UNMET = Rule(
    "flavor-matches-nothing", "warning", "no NodePool gives its nodes a flavor's labels", "what is admitted to it waits for nodes for ever"
)
BARE = Rule(
    "queue-flavors",
    "error",
    "a resource group that is not of Kueue's shape",
    "flavors are objects, each with the quota of every resource, and coveredResources names the resources",
    mends=True,
)
COVERED = Rule(
    "queue-covered-resources",
    "error",
    "coveredResources and a flavor's resources differ",
    "the webhook wants the same ones in the same order",
    mends=True,
)
SELECTOR = Rule("queue-namespace-selector", "error", "no namespaceSelector", "null selects nothing: no workload is ever admitted", mends=True)
COHORT = Rule("queue-cohort", "error", "the cohort under the other version's name", "it is cohort in v1beta1 and cohortName in v1beta2", mends=True)
VERSION = Rule("kueue-version", "info", "v1beta1 where v1beta2 is served", "since Kueue 0.16 v1beta2 is stored and v1beta1 deprecated", mends=True)
NO_FLAVOR = Rule("queue-unknown-flavor", "error", "a ResourceFlavor that does not exist", "the ClusterQueue stays inactive: FlavorNotFound")
NO_CLUSTER_QUEUE = Rule("queue-unknown-cluster-queue", "error", "a ClusterQueue that does not exist", "the LocalQueue admits nothing")
NO_QUEUE = Rule("job-unknown-queue", "error", "a LocalQueue that does not exist", "the job stays suspended")
LABEL = Rule("queue-label", "error", "the queue's name is not a label of the job itself", "Kueue looks at the job's own labels only", mends=True)
QUOTA = Rule("queue-quota", "error", "more than the queue's whole quota", "the workload can never be admitted")
RULES = (FLAVOR_LABELS, FLAVOR_UNMET, BARE, COVERED, SELECTOR, COHORT, VERSION, NO_FLAVOR, NO_CLUSTER_QUEUE, NO_QUEUE, LABEL, QUOTA)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with Kueue's objects, and with a job's way into a queue."""
    if document.group == "kueue.x-k8s.io":
        yield from _version(document, context)
    if document.kind == "ResourceFlavor":
        yield from _flavor(document, context)
    elif document.kind == "ClusterQueue":
        yield from _cluster_queue(document, context)
    elif document.kind == "LocalQueue":
        name = str(mapping(document.data, "spec").get("clusterQueue") or "")
        there = set(context.named("ClusterQueue")) | _queues(context, "")
        if name and name not in there and _sees(context):
            yield NO_CLUSTER_QUEUE.at(("spec", "clusterQueue"), f"no ClusterQueue {name!r}", nearest(name, sorted(there)))
    elif document.kind in TRAINING:
        yield from _job(document, context)


def _sees(context: Context, namespace: str = "") -> bool:
    """True when every queue there is is known."""
    return context.snapshot is not None and context.snapshot.sees("queues", namespace)


def _queues(context: Context, namespace: str) -> set[str]:
    return {key.name for key in context.snapshot.queues if key.namespace == namespace} if context.snapshot else set()


def _version(document: Document, context: Context) -> Iterator[Flaw]:
    version = str(document.data.get("apiVersion"))
    served = [one for one in context.snapshot.served.values() if one.group == "kueue.x-k8s.io"] if context.snapshot else []
    path: Path = ("spec", "cohort" if version == NEW else "cohortName")
    right = "cohortName" if version == NEW else "cohort"
    modern = any("cohortName" in field.split(".") for one in served for field in one.fields)
    if document.kind == "ClusterQueue" and at(document.data, *path) is not None and not (version == OLD and modern):
        yield COHORT.at(path, f"{version} calls it {right}", f"{right}: {at(document.data, *path)}", lambda root: rename(root, path, right))
    if version == OLD and any(one.version == "v1beta2" for one in served):
        yield VERSION.at(("apiVersion",), f"this cluster serves {NEW}", f"apiVersion: {NEW}", _renew)


def _renew(root: Any) -> None:
    root["apiVersion"] = NEW
    rename(root, ("spec", "cohort"), "cohortName")


def _flavor(document: Document, context: Context) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    if "nodeSelector" in spec:
        mend = None if "nodeLabels" in spec else lambda root: rename(root, ("spec", "nodeSelector"), "nodeLabels")
        yield FLAVOR_LABELS.at(("spec", "nodeSelector"), "a ResourceFlavor has no nodeSelector", "nodeLabels: the same labels", mend)
    labels = dict(mapping(spec, "nodeLabels") or mapping(spec, "nodeSelector"))
    pools = list(context.objects("NodePool"))
    own = {key: str(value) for key, value in labels.items() if "/" not in key}
    if own and pools and not any(_gives(one, own) for one in pools):
        shown = ", ".join(f"{key}={value}" for key, value in own.items())
        names = ", ".join(sorted(str(mapping(one, "metadata").get("name")) for one in pools))
        path: Path = ("spec", "nodeLabels" if "nodeLabels" in spec else "nodeSelector")
        yield FLAVOR_UNMET.at(
            path, f"none of the NodePools ({names}) labels its nodes {shown}", "the labels of a NodePool's template.metadata.labels"
        )


def _gives(pool: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    found = {key: str(value) for key, value in mapping(pool, "spec", "template", "metadata", "labels").items()}
    for one in items(pool, "spec", "template", "spec", "requirements"):
        if mapping(one).get("operator") == "In" and len(items(one, "values")) == 1:
            found[str(one["key"])] = str(one["values"][0])
    return all(found.get(key) == value for key, value in labels.items())


def _cluster_queue(document: Document, context: Context) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    if spec.get("namespaceSelector") is None:
        yield SELECTOR.at(("spec",), "it selects no namespace", "namespaceSelector: {}", lambda root: put(root, ("spec", "namespaceSelector"), {}))
    for index, group in enumerate(items(spec, "resourceGroups")):
        path: Path = ("spec", "resourceGroups", index)
        held = mapping(group)
        bare = any(not isinstance(one, Mapping) or not items(one, "resources") for one in items(held, "flavors"))
        if bare or "resources" in held or not held.get("flavors") or not held.get("coveredResources"):
            yield _bare(path, held)
        else:
            yield from _covered(path, held)
        yield from _flavors_there(path, held, context)


def _bare(path: Path, group: Mapping[str, Any]) -> Flaw:
    wrong = [
        text
        for text, true in (
            ("flavors are plain names", any(not isinstance(one, Mapping) for one in items(group, "flavors"))),
            ("resources stand beside the flavors", "resources" in group),
            ("coveredResources is missing", not group.get("coveredResources")),
            ("there are no flavors", not group.get("flavors")),
        )
        if true
    ]
    quotas = _quotas(group)
    names = [_flavor_name(one) for one in items(group, "flavors")]
    mended = (
        f"coveredResources: [{', '.join(quotas) or GPU}], flavors: [{{name: {names[0] if names else '...'}, resources: [{{name, nominalQuota}}]}}]"
    )
    mend = (lambda root: _regroup(root, path)) if quotas and all(names) and names else None
    more = "; the first flavor gets the quota, the others 0" if len(names) > 1 and "resources" in group else ""
    return BARE.at(path, ", ".join(wrong or ["a flavor has no resources"]) + more, mended, mend)


def _flavor_name(one: Any) -> str:
    return str(mapping(one).get("name") or "") if isinstance(one, Mapping) else str(one or "")


def _quotas(group: Mapping[str, Any]) -> dict[str, Any]:
    """The quota of each resource that stands at the group, as a list of objects or as a mapping; else that of the flavors."""
    held = group.get("resources")
    if isinstance(held, Mapping):
        return {str(name): mapping(one).get("nominalQuota", one) if isinstance(one, Mapping) else one for name, one in held.items()}
    if isinstance(held, list):
        return {
            str(one.get("name")): next((one[key] for key in ("nominalQuota", "quota", "value") if key in one), 0)
            for one in held
            if isinstance(one, Mapping)
        }
    return {str(mapping(one).get("name")): mapping(one).get("nominalQuota") for held in items(group, "flavors") for one in items(held, "resources")}


def _regroup(root: Any, path: Path) -> None:
    """Write a resource group in Kueue's shape."""
    group = at(root, *path)
    quotas = _quotas(group)
    flavors = []
    for number, one in enumerate(group["flavors"]):
        own = {str(mapping(held).get("name")): held for held in items(one, "resources")}
        resources = [
            own.get(name, {"name": name, "nominalQuota": quota if not number or "resources" not in group else 0}) for name, quota in quotas.items()
        ]
        flavors.append({"name": _flavor_name(one), "resources": resources})
    group.pop("resources", None)
    group["coveredResources"] = list(quotas)
    group["flavors"] = flavors


def _covered(path: Path, group: Mapping[str, Any]) -> Iterator[Flaw]:
    covered = [str(one) for one in items(group, "coveredResources")]
    for number, flavor in enumerate(items(group, "flavors")):
        names = [str(mapping(one).get("name")) for one in items(flavor, "resources")]
        if names != covered:
            mend = partial(put, path=(*path, "coveredResources"), value=names) if len(items(group, "flavors")) == 1 else None
            message = f"flavor {_flavor_name(flavor)} has {', '.join(names)}; covered are {', '.join(covered)}"
            yield COVERED.at((*path, "flavors", number, "resources"), message, f"coveredResources: [{', '.join(names)}]", mend)


def _flavors_there(path: Path, group: Mapping[str, Any], context: Context) -> Iterator[Flaw]:
    there = set(context.named("ResourceFlavor"))
    for number, one in enumerate(items(group, "flavors")):
        name = _flavor_name(one)
        if name and name not in there and "ResourceFlavor" in context.complete:
            yield NO_FLAVOR.at((*path, "flavors", number), f"no ResourceFlavor {name!r}", nearest(name, sorted(there)))


def _job(document: Document, context: Context) -> Iterator[Flaw]:
    meta = mapping(document.data, "metadata")
    name = str(mapping(meta, "labels").get(QUEUE) or "")
    if not name:
        yield from _misplaced(document, context)
        return
    space = context.space(document)
    there = set(context.named("LocalQueue", space)) | _queues(context, space)
    if name not in there and context.snapshot is not None and context.snapshot.sees("queues", space, LOCAL_QUEUES):
        yield NO_QUEUE.at(("metadata", "labels", QUEUE), f"no LocalQueue {name!r} in {space}", nearest(name, sorted(there)))
    yield from _within_quota(document, context, name, space)


def _misplaced(document: Document, context: Context) -> Iterator[Flaw]:
    places: list[Path] = [("metadata", "annotations")]
    for pods in pods_of(document, context):
        if pods.path and pods.annotated:
            places += [(*pods.path, "metadata", part) for part in ("labels", "annotations")]
    for path in places:
        value = mapping(document.data, *path).get(QUEUE)
        if value:
            mended = f"metadata: {{labels: {{{QUEUE}: {value}}}}}"
            yield LABEL.at((*path, QUEUE), f"{QUEUE} stands where Kueue does not look", mended, partial(_to_labels, path=path, value=value))
            return


def _to_labels(root: Any, path: Path, value: Any) -> None:
    del at(root, *path)[QUEUE]
    if not at(root, *path):
        del at(root, *path[:-1])[path[-1]]
    put(root, ("metadata", "labels", QUEUE), value)


def _within_quota(document: Document, context: Context, queue: str, space: str) -> Iterator[Flaw]:
    wanted = sum(pods.gpus * pods.count for pods in pods_of(document, context))
    nominal = _nominal(context, queue, space)
    if wanted and nominal is not None and wanted > nominal:
        message = f"{wanted} GPUs in all; queue {queue} has a quota of {nominal:g}"
        yield QUOTA.at(("metadata", "labels", QUEUE), message, "fewer pods or GPUs, or a larger nominalQuota")


def _nominal(context: Context, queue: str, space: str) -> float | None:
    """The GPUs of the best flavor of the ClusterQueue behind a LocalQueue; None when that is not known, or it may borrow from a cohort."""
    held = context.named("LocalQueue", space).get(queue)
    local = (
        next((one for key, one in context.snapshot.queues.items() if (key.namespace, key.name) == (space, queue)), None) if context.snapshot else None
    )
    name = str(mapping(held, "spec").get("clusterQueue") or "") or (local.cluster_queue if local else "")
    cluster_queue = context.named("ClusterQueue").get(name)
    if cluster_queue is None or at(cluster_queue, "spec", "cohort") or at(cluster_queue, "spec", "cohortName"):
        return None
    amounts = [
        quantity(mapping(one).get("nominalQuota"))
        for group in items(cluster_queue, "spec", "resourceGroups")
        for flavor in items(group, "flavors")
        for one in items(flavor, "resources")
        if mapping(one).get("name") == GPU
    ]
    known = [amount for amount in amounts if amount is not None]
    return max(known) if known and len(known) == len(amounts) else None
