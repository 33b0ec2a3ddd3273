"""The CustomResourceDefinitions that the practice cluster serves are ones that any API takes: structural, and without a field nobody knows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.conftest import ROOT, Place
from tests.contract.definitions import CRDS

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
FILES = sorted((ROOT / "cockpit" / "sim" / "crds").glob("*.yaml"))


def definitions(path: Path) -> list[dict[str, Any]]:
    """The definitions of a file, which holds documents or lists of them."""
    documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return [one for document in documents for one in (document if isinstance(document, list) else [document]) if one]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_definition_of_ours_is_taken(place: Place, path: Path) -> None:
    """In a group of the test's own, since the cluster may serve the real one."""
    found = definitions(path)
    assert found
    for definition in found:
        asked = copy.deepcopy(definition)
        asked["spec"]["group"] = f"crd{place.mark}.cockpit.dev"
        asked["metadata"] = {"name": f"{asked['spec']['names']['plural']}.{asked['spec']['group']}"}
        params = {"dryRun": "All", "fieldManager": "cockpit-contract", "fieldValidation": "Strict"}
        path_of = f"{CRDS}/{asked['metadata']['name']}"
        taken = place.kube.request("PATCH", path_of, params=params, body=asked, content_type="application/apply-patch+yaml")
        for ours, theirs in zip(asked["spec"]["versions"], taken["spec"]["versions"], strict=True):
            assert set(theirs["schema"]["openAPIV3Schema"]["properties"]) == set(ours["schema"]["openAPIV3Schema"]["properties"])
