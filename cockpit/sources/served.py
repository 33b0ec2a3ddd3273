"""What the cluster serves, with the fields of the training CRDs, and the runtimes a TrainJob can name.

The fields are how the cockpit learns which TrainJob version it faces.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from cockpit.errors import CockpitError, Forbidden, NotServed
from cockpit.model import PodKey, Runtime, Served
from cockpit.sources.listings import in_namespace
from cockpit.sources.reflect import ABSENT_SECONDS, BACKOFF_SECONDS
from cockpit.store import Failed, Store, Synced, Upsert

WITH_FIELDS = (
    "trainjobs.trainer.kubeflow.org",
    "pytorchjobs.kubeflow.org",
    "jobsets.jobset.x-k8s.io",
    "trainingruntimes.trainer.kubeflow.org",
    "clustertrainingruntimes.trainer.kubeflow.org",
    "nodepools.karpenter.sh",
    "ec2nodeclasses.karpenter.k8s.aws",
    "resourceflavors.kueue.x-k8s.io",
    "clusterqueues.kueue.x-k8s.io",
)
RUNTIMES = ("trainingruntimes", "clustertrainingruntimes")
TRAINER = "/apis/trainer.kubeflow.org/v1alpha1"
FIELD_LEVELS = 4
FIELDS_EVERY = 10


class Discovery:
    """Asks again every half to one minute; the schemas, which are large, every tenth time or when a resource is new."""

    name = "served"

    def __init__(self) -> None:
        self._fields: dict[tuple[str, str], Mapping[str, str]] = {}
        self._round = 0

    def list(self, kube: Any, store: Store) -> None:
        """Everything served and every runtime."""
        self._read(kube, store)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """Ask until stopped, sooner when the last time nobody answered."""
        while not stop.is_set():
            stop.wait(random.uniform(*ABSENT_SECONDS) if self._read(kube, store) else random.uniform(*BACKOFF_SECONDS))

    def _read(self, kube: Any, store: Store) -> bool:
        try:
            served = kube.served(refresh=True)
            if self._round % FIELDS_EVERY == 0:
                self._fields.clear()
            self._round += 1
            rows = tuple(self._row(kube, one) for one in served.values())
            kinds = [(plural, one) for plural in RUNTIMES if (one := served.get(f"{plural}.trainer.kubeflow.org"))]
            runtimes = tuple(to_runtime(item) for plural, one in kinds for item in _items(kube, plural, one.namespaced))
        except CockpitError as error:
            store.apply(Failed(self.name, error))
            return False
        store.apply(
            Upsert(self.name, "served", rows),
            Upsert(self.name, "runtimes", runtimes),
            Synced(self.name, "served", frozenset(row.resource for row in rows)),
            Synced(self.name, "runtimes", frozenset(row.key for row in runtimes)),
        )
        return True

    def _row(self, kube: Any, one: Any) -> Served:
        fields: Mapping[str, str] = {}
        if one.resource in WITH_FIELDS:
            place = (one.resource, one.version)
            if place not in self._fields:
                self._fields[place] = _fields(kube, one)
            fields = self._fields[place]
        return Served(one.resource, one.group, one.version, one.kind, one.namespaced, fields)


def _fields(kube: Any, one: Any) -> Mapping[str, str]:
    """From the CRD; from the published OpenAPI where CRDs may not be read."""
    try:
        crd = kube.crd(one.resource)
    except Forbidden:
        crd = None
    schema = crd_schema(crd, one.version) if crd else _published(kube, one)
    return fields_of(schema)


def _published(kube: Any, one: Any) -> Mapping[str, Any]:
    try:
        document = kube.request("GET", f"/openapi/v3/apis/{one.group}/{one.version}")
    except CockpitError:
        return {}
    for schema in ((document.get("components") or {}).get("schemas") or {}).values():
        for known in schema.get("x-kubernetes-group-version-kind") or ():
            if known.get("kind") == one.kind and known.get("group") == one.group:
                found: Mapping[str, Any] = schema
                return found
    return {}


def crd_schema(crd: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    """The openAPIV3Schema of one version of a CustomResourceDefinition."""
    for one in (crd.get("spec") or {}).get("versions") or ():
        if one.get("name") == version:
            found: Mapping[str, Any] = (one.get("schema") or {}).get("openAPIV3Schema") or {}
            return found
    return {}


def fields_of(schema: Mapping[str, Any]) -> Mapping[str, str]:
    """`spec` and what is below it, three levels deep, by dotted path; the fields of an array's items stand below the array."""
    spec = (schema.get("properties") or {}).get("spec")
    return dict(_walk("spec", spec, FIELD_LEVELS)) if isinstance(spec, dict) else {}


def _walk(path: str, schema: Mapping[str, Any], levels: int) -> Iterator[tuple[str, str]]:
    yield path, "int-or-string" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type") or "object")
    if levels == 1:
        return
    items = schema.get("items")
    properties = schema.get("properties") or (items.get("properties") if isinstance(items, dict) else None) or {}
    for name, inner in properties.items():
        if isinstance(inner, dict):
            yield from _walk(f"{path}.{name}", inner, levels - 1)


def _items(kube: Any, plural: str, namespaced: bool) -> list[Mapping[str, Any]]:
    """The runtimes of a kind; those of the context's namespace where listing all is forbidden."""
    for path in (f"{TRAINER}/{plural}", in_namespace(f"{TRAINER}/{plural}", kube.namespace if namespaced else "")):
        try:
            found = kube.request("GET", path, params={"limit": "500"})
        except (Forbidden, NotServed):
            continue
        return [one for one in found.get("items") or () if isinstance(one, dict) and (one.get("metadata") or {}).get("name")]
    return []


def to_runtime(raw: Mapping[str, Any]) -> Runtime:
    """A TrainingRuntime or ClusterTrainingRuntime -> Runtime."""
    meta = raw["metadata"]
    labels = meta.get("labels") or {}
    return Runtime(
        PodKey(str(meta.get("namespace") or ""), str(meta["name"])),
        str(meta.get("resourceVersion") or ""),
        str(labels.get("trainer.kubeflow.org/framework") or ""),
        labels.get("trainer.kubeflow.org/support") == "deprecated",
    )


def source() -> Discovery:
    """Every served resource and every training runtime."""
    return Discovery()
