"""The CustomResourceDefinitions the practice cluster serves; TrainJob exists in two versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

HERE = Path(__file__).parent
TRAINERS = ("2.1", "2.3")
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"


def crds(trainer: str) -> list[dict[str, Any]]:
    """Every definition, with the TrainJob of this trainer version; ValueError for a version that is not served."""
    if trainer not in TRAINERS:
        raise ValueError(f"trainer version {trainer!r} is not one of {', '.join(TRAINERS)}")
    others = {f"trainjob-{version}.yaml" for version in TRAINERS if version != trainer}
    files = sorted(path for path in HERE.glob("*.yaml") if path.name not in others)
    return [document for path in files for document in definitions_in(path)]


def definitions_in(path: Path) -> list[dict[str, Any]]:
    """The definitions of a file: documents, or a list of them."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(path.read_text(encoding="utf-8"), loader)
    return [one for document in documents for one in (document if isinstance(document, list) else [document]) if one]


def install_crds(cluster: Cluster, trainer: str) -> None:
    """Serve every definition that is not served yet in this shape; may be called again."""
    for definition in crds(trainer):
        held = cluster.find(DEFINITIONS, None, definition["metadata"]["name"])
        if held is None or held["spec"]["versions"] != definition["spec"]["versions"]:
            cluster.install_crd(definition)
