"""CustomResourceDefinitions of the tests' own: no controller acts on them."""

from __future__ import annotations

from typing import Any

from cockpit.errors import NotFound, NotServed
from tests.contract.conftest import Place
from tests.servers import until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANYTHING: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def crd(plural: str, kind: str, group: str, version: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A namespaced CustomResourceDefinition."""
    schema = {"type": "object", "properties": {"spec": spec, "status": ANYTHING}}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def install(place: Place, definition: dict[str, Any]) -> None:
    """Create a CRD and wait until it is served."""
    place.create(CRDS, definition)
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"

    def served() -> bool:
        try:
            place.kube.request("GET", path, params={"limit": "1"})
        except (NotServed, NotFound):
            return False
        return True

    until(served, 60.0)
