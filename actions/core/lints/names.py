"""What an object says it is: kind, API version, name, neighbours of the same name, and values that YAML reads as something else than text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, mapping, put
from actions.core.lints.shapes import pods_of, variables_of

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
NAME_CHARS = 63
YAML_1_1 = frozenset({"yes", "no", "on", "off", "y", "n"})
"""Words that kubectl, whose YAML is 1.1, reads as true or false."""
VERSIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("TrainJob", "TrainingRuntime", "ClusterTrainingRuntime"), ("trainer.kubeflow.org/v1alpha1",)),
    "PyTorchJob": ("kubeflow.org/v1",),
    "MPIJob": ("kubeflow.org/v2beta1", "kubeflow.org/v1"),
    "JobSet": ("jobset.x-k8s.io/v1alpha2",),
    "NodePool": ("karpenter.sh/v1",),
    "NodeClaim": ("karpenter.sh/v1",),
    "EC2NodeClass": ("karpenter.k8s.aws/v1",),
    **dict.fromkeys(
        ("ResourceFlavor", "ClusterQueue", "LocalQueue", "Cohort", "WorkloadPriorityClass", "AdmissionCheck", "Topology", "Workload"),
        ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1", "kueue.x-k8s.io/v1alpha1"),
    ),
    **dict.fromkeys(("ServiceMonitor", "PodMonitor", "PrometheusRule"), ("monitoring.coreos.com/v1",)),
    **dict.fromkeys(("Job", "CronJob"), ("batch/v1",)),
    **dict.fromkeys(("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"), ("apps/v1",)),
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), ("rbac.authorization.k8s.io/v1",)),
    **dict.fromkeys(
        ("Pod", "Service", "ConfigMap", "Secret", "Namespace", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota"),
        ("v1",),
    ),
    "StorageClass": ("storage.k8s.io/v1",),
    "PriorityClass": ("scheduling.k8s.io/v1",),
    "PodDisruptionBudget": ("policy/v1",),
    "NetworkPolicy": ("networking.k8s.io/v1",),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1",),
}
NOT_AN_OBJECT = Rule("not-an-object", "error", "a document is no Kubernetes object", "kubectl refuses what has no apiVersion, kind and name")
UNKNOWN_KIND = Rule("unknown-kind", "info", "a kind these rules do not know", "only the server's dry run can judge it")
API_VERSION = Rule("api-version", "error", "a kind under an API version that does not have it", "no API server has this kind there", mends=True)
DUPLICATE = Rule("duplicate-name", "error", "two documents are the same object", "the last one applied wins, and the other is lost without a word")
JOB_NAME = Rule("job-name", "error", "a job's name is no DNS-1035 label", "the webhook refuses it: pods and services are named after the job")
NOT_TEXT = Rule("not-text", "error", "a label, annotation, selector or variable is not text", "the API server takes only strings there", mends=True)
RULES = (NOT_AN_OBJECT, UNKNOWN_KIND, API_VERSION, DUPLICATE, JOB_NAME, NOT_TEXT)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with an object whatever its kind."""
    data = document.data
    if not isinstance(data, Mapping) or not document.kind or not data.get("apiVersion") or not _is_named(data):
        yield NOT_AN_OBJECT.at((), _lacks(data), "apiVersion, kind and metadata: {name: ...}")
        return
    yield from _versions(document, context)
    yield from _twins(document, context)
    if document.kind in ("PyTorchJob", "TrainJob") and document.name and not is_dns_1035(document.name):
        message = f"{document.name!r} must match ^[a-z]([-a-z0-9]*[a-z0-9])?$ and have at most {NAME_CHARS} characters"
        yield JOB_NAME.at(("metadata", "name"), message, f"name: {_nearest_name(document.name)}")
    yield from _texts(document, context)


def _is_named(data: Mapping[str, Any]) -> bool:
    meta = mapping(data, "metadata")
    return bool(meta.get("name") or meta.get("generateName")) or data.get("kind") == "Kustomization"


def _lacks(data: Any) -> str:
    if not isinstance(data, Mapping):
        return f"this is {'a list' if isinstance(data, list) else 'one value'} and no mapping"
    lacking = [name for name in ("apiVersion", "kind") if not data.get(name)] + ([] if _is_named(data) else ["metadata.name"])
    return f"it has no {', '.join(lacking)}"


def is_dns_1035(name: str) -> bool:
    """True for a name that a Service may have."""
    return len(name) <= NAME_CHARS and DNS_1035.fullmatch(name) is not None


def _nearest_name(name: str) -> str:
    plain = re.sub(r"[^-a-z0-9]+", "-", name.lower()).strip("-")[:NAME_CHARS].rstrip("-")
    return plain if plain[:1].isalpha() else f"job-{plain}"


def _versions(document: Document, context: Context) -> Iterator[Flaw]:
    version = str(document.data["apiVersion"])
    known = VERSIONS.get(document.kind)
    served = [f"{one.group}/{one.version}" if one.group else one.version for one in _served(document.kind, context)]
    if known is None and not served:
        yield UNKNOWN_KIND.at(("kind",), f"{document.kind} of {version} is not judged by any rule here")
    elif version not in (known or ()) and version not in served and not _of_same_group(version, served):
        right = (known or served)[0]
        message = f"{document.kind} is not in {version}, but in {right}"
        yield API_VERSION.at(("apiVersion",), message, f"apiVersion: {right}", lambda root: put(root, ("apiVersion",), right))


def _served(kind: str, context: Context) -> list[Any]:
    return [one for one in context.snapshot.served.values() if one.kind == kind] if context.snapshot else []


def _of_same_group(version: str, served: list[str]) -> bool:
    """Another version of a group that is served: the picture holds only the preferred one, so the server must say."""
    return any(version.rpartition("/")[0] == one.rpartition("/")[0] for one in served)


def _twins(document: Document, context: Context) -> Iterator[Flaw]:
    if not document.name:
        return
    same = [one for one in context.documents if _identity(one, context) == _identity(document, context)]
    if len(same) > 1 and same[0] is not document:
        first = same[0]
        line = first.lines(())
        where = f"{first.file}:{line}" if line else "the first"
        yield DUPLICATE.at(("metadata", "name"), f"{document.kind} {document.name} stands at {where} already", "another name, or one of the two")


def _identity(document: Document, context: Context) -> tuple[str, ...]:
    return document.kind, document.group, context.space(document), document.name


def _texts(document: Document, context: Context) -> Iterator[Flaw]:
    """Values that must be strings and are read as something else."""
    meta: list[Path] = [("metadata", part) for part in ("labels", "annotations")]
    for pods in pods_of(document, context):
        if pods.path != ("spec",) or document.kind != "TrainJob":
            meta += [(*pods.path, "metadata", part) for part in ("labels", "annotations")] if pods.annotated and pods.path else []
            meta.append((*pods.spec_path, "nodeSelector"))
    for place, variable in variables_of(document, context):
        yield from _text(document, (*place, "value"), variable.get("value"))
    for path in meta:
        for key, value in mapping(document.data, *path).items():
            yield from _text(document, (*path, key), value)


def _text(document: Document, path: Path, value: Any) -> Iterator[Flaw]:
    word = type(value) is str and bool(document.file) and value.lower() in YAML_1_1
    if value is None or (isinstance(value, str) and not word):
        return
    text = str(value).lower() if isinstance(value, bool) else str(value)
    shown = f'{path[-1]}: "{text}"' if isinstance(value, bool | int | float) or word else "a string"
    mend = None if isinstance(value, Mapping | list) else lambda root: put(root, path, _quoted(text))
    yield NOT_TEXT.at(path, f"YAML reads this value as {'a truth value' if word else _type(value)}", shown, mend)


def _type(value: Any) -> str:
    return "a truth value" if isinstance(value, bool) else "a number" if isinstance(value, int | float) else "a structure"


def _quoted(text: str) -> str:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return DoubleQuotedScalarString(text)
