"""lint: what the workshop prints has every defect named and no other, what we launch has none, and --fix leaves comments, order and secrets alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actions.core import load, parse
from actions.core.lints import context_of, findings_of, flaws_of, mend, rules
from actions.core.lints.flaws import Document
from actions.core.lints.judging import RULES as SERVER_RULES
from actions.core.lints.manifests import parsed, plain
from actions.lint import SHAPES
from cockpit.errors import VerdictBad
from cockpit.model import PodKey, Runtime
from tests.actions.lint_cases import FILES, TOKEN, lint, linted
from tests.actions.pictures import PYTORCHJOB, TYPE, node, picture, price, trainjob

KNOWN_DEFECTS = {
    "trainjob-t5": {
        ("trainjob-old-shape", "spec.podTemplateOverrides", 33),
        ("trainjob-processes", "spec.trainer.numProcPerNode", 14),
        ("trainjob-targets", "spec.podTemplateOverrides[0].targetJobs[0]", 34),
        ("trainjob-env", "spec.podTemplateOverrides[0].spec.containers[0].env", 44),
        ("resource-name", "spec.trainer.resourcesPerNode.limits[nvidia.com]", 30),
        ("resource-name", "spec.trainer.resourcesPerNode.requests[nvidia.com]", 32),
        ("shell-continuation", "spec.trainer.command[2]", 19),
        ("git-clone", "spec.trainer.command[2]", 19),
        ("nccl-renamed", "spec.podTemplateOverrides[0].spec.containers[0].env[1].name", 47),
        ("nccl-no-effect", "spec.podTemplateOverrides[0].spec.containers[0].env[2].name", 49),
        ("not-text", "spec.podTemplateOverrides[0].spec.containers[0].env[3].value", 52),
        ("shm-missing", "spec.podTemplateOverrides[0].spec.volumes", 38),
        ("efa-none", "spec.trainer.resourcesPerNode", 28),
    },
    "trainjob-llama": {
        ("trainjob-old-shape", "spec.podTemplateOverrides", 38),
        ("trainjob-processes", "spec.trainer.numProcPerNode", 12),
        ("trainjob-pet-env", "spec.trainer.env[3]", 27),
        ("secret-in-clear", "spec.trainer.env[0].value", 22),
        ("efa-count", "spec.trainer.resourcesPerNode.limits[vpc.amazonaws.com/efa]", 32),
        ("efa-zones", "spec.podTemplateOverrides[0].spec", 44),
        ("nccl-no-effect", "spec.trainer.env[2].name", 25),
        ("gpu-toleration", "spec.podTemplateOverrides[0].spec.tolerations", 44),
        ("shm-eats-memory", "spec.podTemplateOverrides[0].spec.volumes[0].emptyDir.sizeLimit", 56),
    },
    "pytorchjob": {
        ("queue-label", "metadata.annotations[kueue.x-k8s.io/queue-name]", 8),
        *(
            (rule, f"spec.pytorchReplicaSpecs.{role}.template{path}", line + more)
            for role, more in (("Master", 0), ("Worker", 17))
            for rule, path, line in (
                ("gang-scheduler", ".spec.schedulerName", 16),
                ("git-clone", ".spec.containers[0].args[0]", 22),
                ("gpu-toleration", ".spec.tolerations", 15),
                ("do-not-disrupt", ".metadata.annotations", 14),
                ("shm-missing", ".spec.volumes", 15),
            )
        ),
    },
    "kueue": {
        ("flavor-node-labels", "spec.nodeSelector", 7),
        ("queue-namespace-selector", "spec", 14),
        ("queue-flavors", "spec.resourceGroups[0]", 16),
    },
    "nodepool": {("nodepool-cpu-limit", "spec.limits.cpu", 31)},
    "fsx": {("fsx-flock", "spec", 5), ("pvc-storage-class", "spec", 24)},
    "monitoring": {
        ("alloy-cri", "data[config.alloy]", 7),
        ("dcgm-renamed", "data[counters.csv]", 22),
        ("npd-not-repaired", "data[gpu-monitor.json]", 32),
    },
    "fsdp": set(),
}
"""Every finding of each file for Trainer 2.3: id, path, line."""
NEEDS_A_PERSON = {"git-clone", "nodepool-cpu-limit", "npd-not-repaired", "efa-none"}


@pytest.mark.parametrize("name", KNOWN_DEFECTS)
def test_every_known_defect_is_named_where_it_stands_and_no_other(name: str) -> None:
    found, error = lint(file=str(FILES / f"{name}.yaml"), trainer="2.3")
    assert {(one["id"], one["path"], one["line_number"]) for one in found} == KNOWN_DEFECTS[name]
    assert (error is None) == (not KNOWN_DEFECTS[name])
    assert all(one["message"] and one["why"] and one["mended"] for one in found)


def test_no_file_is_without_an_expectation() -> None:
    assert {path.stem for path in FILES.glob("*.yaml")} == set(KNOWN_DEFECTS)


@pytest.mark.parametrize("name", KNOWN_DEFECTS)
@pytest.mark.parametrize("trainer", SHAPES)
def test_what_is_mended_has_only_what_a_person_must_decide(name: str, trainer: str, tmp_path: Path) -> None:
    mended = tmp_path / "mended.yaml"
    lint(file=str(FILES / f"{name}.yaml"), trainer=trainer, output_file=str(mended))
    again, _ = lint(file=str(mended), trainer=trainer)
    told = {one["id"] for one in again}
    if trainer == "2.0" and name.startswith("trainjob"):
        told -= {"trainjob-old-shape", "shm-missing", "gpu-toleration", "efa-zones", "shm-eats-memory"}  # 2.0 has no room for pod metadata
    assert told <= NEEDS_A_PERSON, [one["line"] for one in again]


def test_comments_order_quotes_and_untouched_documents_stay(tmp_path: Path) -> None:
    text = (FILES / "trainjob-llama.yaml").read_text()
    untouched = "# kept   as it is\napiVersion: v1\nkind: ConfigMap\nmetadata: {name:   a}\n---\n"
    found, _ = linted(tmp_path, untouched + text, trainer="2.3", fix=True)
    written = found[-1]["text"]
    assert written.startswith(untouched)
    assert "# Llama-3-8B with DeepSpeed ZeRO-3 on four g6e.12xlarge; the token pasted in." in written
    assert 'nvidia.com/gpu: "4"' in written
    assert written.index("runtimeRef:") < written.index("trainer:") < written.index("runtimePatches:")
    assert "podTemplateOverrides" not in written


def test_a_file_without_flaws_is_printed_as_it_came(tmp_path: Path) -> None:
    found, error = lint(file=str(FILES / "fsdp.yaml"), fix=True)
    assert error is None
    assert found[-1]["text"] == (FILES / "fsdp.yaml").read_text()


def test_write_mends_in_place_and_keeps_the_rights_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fsx.yaml"
    path.write_text((FILES / "fsx.yaml").read_text())
    path.chmod(0o640)
    found, error = lint(file=str(path), write=True)
    assert error is None
    assert [one["fixed"] for one in found if "fixed" in one] == [True, True]
    assert path.stat().st_mode & 0o777 == 0o640
    assert 'storageClassName: ""' in path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["fsx.yaml"]
    assert lint(file=str(path)) == ([], None)


def test_a_secret_is_found_and_never_shown() -> None:
    found, error = lint(file=str(FILES / "trainjob-llama.yaml"), trainer="2.3", fix=True)
    secret = next(one for one in found if one.get("id") == "secret-in-clear")
    assert secret["fixed"]
    assert error is None
    assert TOKEN[3:] not in json.dumps(found)
    assert "secretKeyRef" in found[-1]["text"]


@pytest.mark.parametrize(
    "text",
    [
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{HF_TOKEN: {TOKEN}}}\n",
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  x: token is {TOKEN}\n",
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers: [{{name: a, image: b, args: [--hf-token={TOKEN}]}}]\n",
    ],
)
def test_a_manifest_that_still_holds_a_secret_is_not_printed(text: str, tmp_path: Path) -> None:
    found, error = linted(tmp_path, text, fix=True)
    assert isinstance(error, VerdictBad)
    assert "still holds a secret" in found[-1]["note"]
    assert TOKEN[3:] not in json.dumps(found) + str(error)
    out = tmp_path / "out.yaml"
    lint(file=str(tmp_path / "job.yaml"), output_file=str(out))
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_secret_is_masked_in_what_others_say() -> None:
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    env = [{"name": "HF_TOKEN", "value": "NCCL_sesame"}, {"name": "NCCL_sesame", "value": "1"}]
    found = findings_of([body | {"spec": {"containers": [{"name": "a", "image": "b", "env": env}]}}])
    assert {one.id for one in found} == {"secret-in-clear", "nccl-unknown"}
    assert "sesame" not in json.dumps([one.to_dict() for one in found])


SHAPED = [PYTORCHJOB, trainjob("podSpecOverrides"), trainjob("podTemplateOverrides"), trainjob("runtimePatches")]


@pytest.mark.parametrize("served", SHAPED, ids=lambda one: "".join(one.fields) or one.kind)
@pytest.mark.parametrize(
    "given",
    [
        {"nodes": 1, "nproc": 2},
        {"nodes": 2, "nproc": 8},
        {"nodes": 2, "nproc": 8, "instance_type": TYPE, "zone": "2a", "max_restarts": 2},
        {"nodes": 2, "nproc": 2, "gpus": 0},
    ],
)
def test_what_we_launch_has_no_flaw(served: Any, given: dict[str, Any]) -> None:
    launch = load("launch")
    torch = Runtime(PodKey("", "torch-distributed"), "1", "torch")
    snapshot = picture(served=[served], nodes=[node("n1"), node("n2")], prices=[price()], runtimes=[torch])
    assert launch.plan is not None
    plan = launch.plan(snapshot, parse(launch.params, given))
    bodies = [dict(change.body or {}) for change in plan.changes]
    assert findings_of(bodies, snapshot) == []
    assert [one for one in findings_of(bodies) if one.severity != "info" and one.id != "efa-zones"] == []


def test_a_launch_manifest_goes_through_all_shapes_and_back() -> None:
    """Converting is lossless: 2.1 to 2.3 and back is the same job."""
    (document, _), *_ = parsed("x", (FILES / "trainjob-llama.yaml").read_text()).documents()
    mend(document, context_of([document], trainer=SHAPES["2.1"]))
    first = plain(document.data)
    mend(document, context_of([document], trainer=SHAPES["2.3"]))
    assert plain(document.data)["spec"].keys() >= {"runtimePatches"}
    mend(document, context_of([document], trainer=SHAPES["2.1"]))
    again = plain(document.data)
    first["spec"]["trainer"].pop("numProcPerNode"), again["spec"]["trainer"].pop("numProcPerNode", None)
    assert again == first


def test_ids_are_unique_and_the_page_says_what_is_mended() -> None:
    every = (*rules(), *SERVER_RULES)
    assert len({rule.id for rule in every}) == len(every)
    page = (Path(__file__).parents[2] / "docs/lint.md").read_text()
    assert all(f"| `{rule.id}` | {rule.severity} |" in page for rule in every)


def test_only_rules_that_say_so_mend() -> None:
    for path in FILES.glob("*.yaml"):
        documents = [document for document, _ in parsed(path.name, path.read_text()).documents()]
        for trainer in ("", *SHAPES.values()):
            context = context_of(documents, trainer=trainer)
            assert [flaw.rule.id for one in documents for flaw in flaws_of(one, context) if flaw.mend is not None and not flaw.rule.mends] == []


def test_rules_stand_what_is_of_no_shape() -> None:
    """Whatever stands where a mapping, a list or a text should, no rule breaks on it."""
    for path in FILES.glob("*.yaml"):
        for document, _ in parsed(path.name, path.read_text()).documents():
            for broken in _broken(plain(document.data))[::6]:
                one = Document(broken)
                flaws_of(one, context_of([one], trainer=SHAPES["2.3"]))


def test_what_cannot_be_mended_stays_with_its_finding() -> None:
    """Where the schema has something else, a mend is tried on a copy and given up."""
    (document, _), *_ = parsed("x", (FILES / "trainjob-t5.yaml").read_text()).documents()
    for broken in _broken(plain(document.data))[::60]:
        one = Document(broken)
        mend(one, context_of([one], trainer=SHAPES["2.3"]))
        assert json.loads(json.dumps(one.data)) == one.data


def _broken(data: Any) -> list[Any]:
    """The object once for each of its values, with something else in its place."""
    made: list[Any] = []

    def visit(value: Any, path: tuple[Any, ...]) -> None:
        for other in (None, 7, "text", [], {}, [None], ["x"], True):
            if path and path != ("kind",):
                copy = json.loads(json.dumps(data))
                held = copy
                for step in path[:-1]:
                    held = held[step]
                held[path[-1]] = other
                made.append(copy)
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, one in inner:
            visit(one, (*path, key))

    visit(data, ())
    return made
