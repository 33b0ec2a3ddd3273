"""lint: what it reads, and what it says of what cannot be read: file, line and reason, never a value."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from actions.core import Clients
from actions.core.lints.manifests import MOST_NODES
from cockpit.errors import BadInput, NotFound, VerdictBad
from tests.actions.lint_cases import FILES, lint, linted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [1\nb: 2", "job.yaml:2: this is not YAML"),
        ("a: 1\nb: {\n", "this is not YAML"),
        ("a: 1\n---\nb: 1\nb: hf_sesame\n", "job.yaml:4: this is not YAML: the key b stands twice"),
        ("a: \x01\n", "this is not YAML"),
        ("", "no document"),
        ("# nothing\n", "no document"),
        ("a: " + "[" * 500, "this is not YAML"),
        ("x0: &x0 [1,1,1,1,1,1,1,1]\n" + "".join(f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 9)), f"more than {MOST_NODES}"),
    ],
)
def test_what_is_not_yaml_has_file_line_and_reason_and_says_no_value(text: str, reason: str, tmp_path: Path) -> None:
    _, error = linted(tmp_path, text)
    assert isinstance(error, BadInput)
    assert reason in str(error)
    assert "job.yaml" in str(error)
    assert "sesame" not in f"{error}{error.hint}"


def test_what_is_no_text_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"a: 1\nb: \xff\xfe\n")
    _, error = lint(file=str(path))
    assert isinstance(error, BadInput)
    assert "job.yaml:2: this is not UTF-8" in str(error)
    _, error = lint(file=str(tmp_path / "none.yaml"))
    assert isinstance(error, BadInput)


def test_two_of_one_name_unknown_kinds_and_what_is_no_object(tmp_path: Path) -> None:
    same = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
    found, error = linted(tmp_path, same + same + "apiVersion: x.io/v1\nkind: Widget\nmetadata: {name: w}\n---\n- 1\n---\nkind: Pod\n")
    assert isinstance(error, VerdictBad)
    assert [(one["id"], one["line_number"]) for one in found] == [
        ("duplicate-name", 7),
        ("unknown-kind", 10),
        ("not-an-object", 13),
        ("not-an-object", 15),
    ]


def test_a_list_is_taken_apart_and_mended_as_a_whole(tmp_path: Path) -> None:
    meta = "  metadata:\n    name: p\n    labels:\n      rank: 1  # the first\n"
    pod = f"- apiVersion: v1\n  kind: Pod\n{meta}  spec: {{containers: [{{name: a, image: b}}]}}\n"
    found, _ = linted(tmp_path, f"apiVersion: v1\nkind: List\nitems:\n{pod}", fix=True)
    assert [(one["id"], one["path"], one["line_number"]) for one in found[:-1]] == [("not-text", "items[0].metadata.labels.rank", 9)]
    assert found[-1]["text"] == f"apiVersion: v1\nkind: List\nitems:\n{pod}".replace("rank: 1  #", 'rank: "1" #')


def test_standard_input_is_read_and_a_terminal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped(io.StringIO):
        buffer = io.BytesIO((FILES / "fsx.yaml").read_bytes())

    monkeypatch.setattr("sys.stdin", Piped())
    found, _ = lint(file="-")
    assert {one["file"] for one in found} == {"stdin"}
    monkeypatch.setattr(Piped, "isatty", lambda self: True)
    assert isinstance(lint(file="-")[1], BadInput)


def test_a_folder_is_all_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "queues").mkdir()
    for name in ("fsx", "queues/kueue"):
        (tmp_path / f"{name}.yaml").write_text((FILES / f"{Path(name).name}.yaml").read_text())
    found, _ = lint(file=str(tmp_path))
    assert {Path(one["file"]).name for one in found} == {"fsx.yaml", "kueue.yaml"}


class FakeShell:
    """A kubectl that renders what it is told; None when it is not there."""

    def __init__(self, text: str | None) -> None:
        self.text, self.argv = text, list[str]()

    def which(self, name: str) -> str | None:
        return None if self.text is None else f"/usr/bin/{name}"

    def run(self, argv: list[str], **more: Any) -> str:
        self.argv = argv
        return self.text or ""


def test_a_kustomize_folder_is_rendered_by_kubectl_or_the_way_to_get_it_is_told() -> None:
    shell = FakeShell((FILES / "fsx.yaml").read_text())
    found, error = lint(clients=Clients(shell=shell), kustomize="base")
    assert shell.argv == ["kubectl", "kustomize", "base"]
    assert {one["id"] for one in found} == {"fsx-flock", "pvc-storage-class"}
    _, error = lint(clients=Clients(shell=FakeShell(None)), kustomize="base")
    assert isinstance(error, NotFound)
    assert "install kubectl" in error.hint


@pytest.mark.parametrize(
    "given", [{}, {"kustomize": "base", "write": True}, {"file": "-", "write": True}, {"file": "a", "write": True, "output_file": "b"}]
)
def test_parameters_that_contradict_each_other_are_bad_input(given: dict[str, Any]) -> None:
    assert isinstance(lint(**given)[1], BadInput)
