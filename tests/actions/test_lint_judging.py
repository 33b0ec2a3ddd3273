"""lint on a live cluster: what is asked of the server, and how its refusals are told from not being allowed to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actions.core import APPLY_PATCH, Clients
from actions.core.lints.judging import to_path
from cockpit.clients.statuses import coded
from cockpit.errors import ActionFailed, CockpitError, Forbidden, Invalid, Unreachable, VerdictBad
from cockpit.model import Served
from tests.actions.lint_cases import FILES, TOKEN, lint, linted
from tests.actions.pictures import FakeKube, picture, trainjob

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: a, image: b}]\n"
PODS = Served("pods", "", "v1", "Pod")
QUEUES = [
    Served(f"{kind.lower()}s.kueue.x-k8s.io", "kueue.x-k8s.io", "v1beta2", kind, kind == "LocalQueue")
    for kind in ("ResourceFlavor", "ClusterQueue", "LocalQueue")
]


class Judge(FakeKube):
    """A server that lists nothing and refuses to create with one error."""

    def __init__(self, error: CockpitError | None = None) -> None:
        super().__init__(self._answer)
        self.error = error

    def _answer(self, method: str, path: str) -> dict[str, Any]:
        if method == "POST" and self.error is not None:
            raise self.error
        return {"items": []}


def judged(folder: Path, error: CockpitError | None, text: str = POD) -> tuple[list[Any], CockpitError | None, Judge]:
    kube = Judge(error)
    found, ended = linted(folder, text, clients=Clients(kube=kube), snapshot=picture(served=[PODS]))
    return found, ended, kube


def test_the_dry_run_is_strict_and_changes_nothing(tmp_path: Path) -> None:
    found, ended, kube = judged(tmp_path, None)
    (method, path, params, body) = next(call for call in kube.calls if call[0] != "GET")
    assert (found, ended) == ([], None)
    assert (method, path) == ("POST", "/api/v1/namespaces/default/pods")
    assert (params["dryRun"], params["fieldValidation"]) == ("All", "Strict")
    assert type(body) is dict and type(body["spec"]["containers"]) is list


def test_what_is_there_already_is_applied_in_a_dry_run(tmp_path: Path) -> None:
    _, ended, kube = judged(tmp_path, coded(ActionFailed('pods "p" already exists'), "already-exists"))
    method, path, params, _ = kube.calls[-1]
    assert ended is None
    assert (method, path, params["dryRun"]) == ("PATCH", "/api/v1/namespaces/default/pods/p", "All")
    assert APPLY_PATCH == "application/apply-patch+yaml"


def test_every_unknown_field_is_a_finding_of_its_own(tmp_path: Path) -> None:
    said = 'strict decoding error: unknown field "spec.containers[0].imag", unknown field "spec.nodeSelecter"'
    found, ended, _ = judged(tmp_path, Invalid(said))
    assert isinstance(ended, VerdictBad)
    assert [(one["id"], one["path"], one["line_number"]) for one in found] == [
        ("unknown-field", "spec.containers[0].imag", 5),
        ("unknown-field", "spec.nodeSelecter", 4),
    ]


def test_a_webhook_that_denies_is_a_finding_and_no_lack_of_rights(tmp_path: Path) -> None:
    found, ended, _ = judged(tmp_path, Forbidden('admission webhook "v.example" denied the request: spec.containers: not from here'))
    assert isinstance(ended, VerdictBad)
    assert [(one["id"], one["path"]) for one in found] == [("server-refused", "spec.containers")]


def test_who_may_not_ask_is_told_so_and_it_is_no_verdict(tmp_path: Path) -> None:
    found, ended, _ = judged(tmp_path, Forbidden('pods is forbidden: User "jane" cannot create resource "pods" in API group ""'))
    assert ended is None
    assert "Pod p: not judged by the server" in found[0]["note"]


def test_a_server_that_does_not_answer_is_no_verdict_either(tmp_path: Path) -> None:
    _, ended, _ = judged(tmp_path, Unreachable("no answer"))
    assert isinstance(ended, Unreachable)


def test_what_the_server_repeats_of_a_secret_is_masked(tmp_path: Path) -> None:
    text = POD.replace("image: b", f"image: b, env: [{{name: HF_TOKEN, value: {TOKEN}}}]")
    found, ended, _ = judged(tmp_path, Invalid(f'Pod "p" is invalid: spec.volumes: Invalid value: "{TOKEN}"'), text)
    assert {one["id"] for one in found} == {"secret-in-clear", "server-refused"}
    assert TOKEN not in f"{found}{ended}"


def test_what_the_input_brings_along_is_not_missed(tmp_path: Path) -> None:
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ours}\n---\n"
    kube = Judge(Forbidden('namespaces "ours" not found'))
    served = [PODS, Served("namespaces", "", "v1", "Namespace", False)]
    found, ended = linted(tmp_path, space + POD, clients=Clients(kube=kube), snapshot=picture(served=served))
    assert (found, ended) == ([], None)


def test_offline_asks_nobody(tmp_path: Path) -> None:
    kube = Judge()
    found, ended = linted(tmp_path, POD, clients=Clients(kube=kube), snapshot=picture(served=[PODS]), offline=True)
    assert (found, ended, kube.calls) == ([], None, [])


def test_old_kueue_is_renewed_where_the_new_one_is_served() -> None:
    found, _ = lint(picture(served=QUEUES), Clients(kube=Judge()), file=str(FILES / "kueue.yaml"), fix=True)
    assert [one["fixed"] for one in found if one.get("id") == "kueue-version"] == [True, True, True]
    assert found[-1]["text"].count("apiVersion: kueue.x-k8s.io/v1beta2") == 3


def test_the_served_trainer_decides_the_shape() -> None:
    file = str(FILES / "trainjob-llama.yaml")
    for field in ("podTemplateOverrides", "runtimePatches"):
        found, _ = lint(picture(served=[trainjob(field)]), Clients(kube=Judge()), file=file, fix=True)
        assert f"  {field}:" in found[-1]["text"]
        assert ("trainjob-old-shape" in {one.get("id") for one in found}) is (field == "runtimePatches")


def test_paths_are_read_as_kubernetes_writes_them() -> None:
    assert to_path("spec.containers[0].resources.limits[nvidia.com/gpu]") == ("spec", "containers", 0, "resources", "limits", "nvidia.com/gpu")
