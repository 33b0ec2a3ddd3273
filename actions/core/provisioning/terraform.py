"""Our own Terraform, run in a folder of the state directory, where its state and outputs are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.core import Change, Target
from actions.core.journal import state_home
from actions.core.render import ROOT
from cockpit.errors import ActionFailed

QUIET = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
PLAN = "cockpit.tfplan"
LOOK_SECONDS = 300.0
VERBS = {("create",): "create", ("update",): "change", ("delete",): "delete", ("delete", "create"): "replace", ("create", "delete"): "replace"}


@dataclass(frozen=True)
class Planned:
    """A Terraform plan that was made: the folder, what it does by address, and the outputs of what is there."""

    folder: str
    actions: tuple[tuple[str, str], ...]
    outputs: Mapping[str, Any]


def folder_of(region: str, name: str) -> Path:
    """Where the state of a cluster's network is kept."""
    return state_home() / "terraform" / f"{region}.{name}"


def has_state(folder: Path) -> bool:
    """True when Terraform made something there, whole or cut short."""
    try:
        return bool(json.loads((folder / "terraform.tfstate").read_text(encoding="utf-8")).get("resources"))
    except (OSError, ValueError):
        return False


def planned(shell: Any, folder: Path, variables: Mapping[str, Any], destroy: bool = False) -> Planned:
    """Write the files and variables, and let Terraform plan; it reads AWS and changes nothing there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for source in sorted((ROOT / "manifests" / "terraform").glob("*.tf")):
        (folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "cockpit.auto.tfvars.json").write_text(json.dumps(variables, indent=1), encoding="utf-8")
    at = ("terraform", f"-chdir={folder}")
    shell.run([*at, "init", "-input=false", "-no-color"], timeout_seconds=LOOK_SECONDS, env=QUIET)
    more = ["-destroy"] if destroy else []
    shell.run([*at, "plan", "-input=false", "-no-color", f"-out={PLAN}", *more], timeout_seconds=LOOK_SECONDS, env=QUIET)
    return to_planned(str(folder), shell.run([*at, "show", "-json", PLAN], timeout_seconds=LOOK_SECONDS, env=QUIET))


def to_planned(folder: str, text: str) -> Planned:
    """The JSON of `terraform show` -> Planned; only addresses and verbs are kept, for values may be secret."""
    try:
        document = json.loads(text)
        changes = [(one["address"], tuple(one["change"]["actions"])) for one in document.get("resource_changes") or ()]
    except (ValueError, KeyError, TypeError):
        raise ActionFailed("terraform show -json said something that is no plan", "is it Terraform 1.5 or newer?") from None
    found = tuple((address, VERBS[actions]) for address, actions in changes if actions in VERBS)
    outputs = ((document.get("prior_state") or {}).get("values") or {}).get("outputs") or {}
    return Planned(folder, found, {name: one.get("value") for name, one in outputs.items() if not one.get("sensitive")})


def application(plan: Planned, summary: str) -> Change:
    """The change that does what was planned, and nothing else: Terraform refuses a plan that the world has left behind."""
    argv = ("terraform", f"-chdir={plan.folder}", "apply", "-input=false", "-no-color", PLAN)
    after: dict[str, list[str]] = {}
    for address, verb in plan.actions:
        after.setdefault(verb, []).append(address)
    return Change("shell", "run", Target("Terraform", "vpc"), summary, " ".join(argv), after=after, argv=argv, env=QUIET)
