"""Write docs/actions.md, keys.md and lint.md from the registry, the bindings and the rules: `python docs/generate.py`, or `--check` to compare."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from actions.core import Action, Param, all_actions, params_of  # noqa: E402

WRITTEN = "<!-- Written by docs/generate.py; change the actions or the bindings, not this page. -->"
CONFIRMED = {
    "read": "changes nothing",
    "change": "can be undone; asks y/n on the screen, nothing on the command line",
    "destroy": "asks in a dialog; without a terminal it needs `--yes`",
    "spend": "asks for the name to be typed; without a terminal it needs `--yes`, unless what it spends is SIMULATED",
}
LINT = """\
`cockpit --action lint -f FILE` (or `-f FOLDER`, `-f -`, `-k KUSTOMIZE_FOLDER`) says what is wrong with manifests before they are applied. Each
finding has the file and line, the path in the YAML, a stable id from the tables below, why it matters and the text that mends it. Without a cluster
the rules judge alone; where one answers (or `--kubeconfig`, `--context` or `--sim` name one) its queues, flavors, NodePools, runtimes and claims are
compared too, and the server judges each object by a strict dry run, which changes nothing. `--offline` asks no cluster.

`--fix` prints the manifest with everything mended that needs no decision of yours: `cockpit --action lint -f job.yaml --fix | kubectl apply -f -`.
`--output-file FILE` writes it there, `--write` into the files themselves. Comments and order are kept. A manifest that still holds a secret is not
printed. No value of a secret is ever shown.

An **error** will be refused or cannot run, a **warning** will run badly, an **info** is worth knowing. The exit code is 5 when errors or warnings are
left, 2 when a file cannot be read, 0 otherwise. TrainJobs are judged for the Kubeflow Trainer that is served; without a cluster as the file says, or
as `--trainer 2.3` says."""
ROOMS = {
    "wayfinding": "Everywhere",
    "table": "In a list",
    "textlines": "In a text or log",
    "prompt": "In a prompt",
    "form": "In a form",
    "confirm": "In a confirmation",
    "unfinished": "Where a plan was cut short (and the keys of finish and undo that it names)",
}


def actions_page() -> str:
    """docs/actions.md."""
    parts = [
        "# Actions",
        WRITTEN,
        "Every action runs by its key on the screen and by `cockpit --action NAME` without one; both make the same plan and apply it the same way.",
    ]
    return "\n\n".join([*parts, *(_action(action) for action in all_actions())]) + "\n"


def _action(action: Action) -> str:
    key = f"Key `{action.key}`. " if action.key else ""
    head = f"## {action.name}\n\n{action.doc}\n\n{key}Risk {action.risk.value}: {CONFIRMED[action.risk.value]}."
    rows = [_param(one) for one in params_of(action.params)]
    table = "| parameter | type | default | what |\n|---|---|---|---|\n" + "\n".join(rows) if rows else "It takes no parameters."
    return f"{head}\n\n{table}"


def _param(one: Param) -> str:
    default = (
        "required"
        if one.required
        else ""
        if one.default in (None, "", ())
        else f"`{str(one.default).lower() if one.kind == 'bool' else one.default}`"
    )
    choices = f" ({', '.join(one.choices)})" if one.choices else ""
    flag = "-n, --namespace" if one.name == "namespace" else (f"-{one.short}, " if one.short else "") + "--" + one.name.replace("_", "-")
    return f"| `{flag}` | {one.kind} | {default} | {_cell(one.help + choices)} |"


def lint_page() -> str:
    """docs/lint.md."""
    from actions.core.lints import FAMILIES, judging

    parts = ["# Lint", WRITTEN, LINT]
    for family in (*FAMILIES, judging):
        name = family.__name__.rpartition(".")[2].capitalize()
        rows = [f"| `{one.id}` | {one.severity} | {_cell(one.what)} | {_cell(one.why)} | {'yes' if one.mends else ''} |" for one in family.RULES]
        head = f"## {name}\n\n{inspect.getdoc(family)}"
        parts.append(f"{head}\n\n| id | severity | what | why | `--fix` mends it |\n|---|---|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def keys_page() -> str:
    """docs/keys.md."""
    parts = ["# Keys", WRITTEN, "`?` shows the keys that are live where you are; `ctrl+p` finds every action by name."]
    rows = "\n".join(f"| `{action.key}` | {action.title} | {action.risk.value} |" for action in all_actions() if action.key)
    parts.append(f"## Actions\n\n| key | action | risk |\n|---|---|---|\n{rows}")
    for title, bindings in _rooms():
        rows = "\n".join(f"| {keys} | {_cell(description)} |" for description, keys in bindings.items())
        parts.append(f"## {title}\n\n| key | what |\n|---|---|\n{rows}")
    return "\n\n".join(parts) + "\n"


def _rooms() -> Iterator[tuple[str, dict[str, str]]]:
    """Where keys are bound, with each binding's keys by what it does."""
    import cockpit.tui

    found = {module.name: importlib.import_module(f"cockpit.tui.{module.name}") for module in pkgutil.iter_modules(cockpit.tui.__path__)}
    for name, title in ROOMS.items():
        bindings: dict[str, str] = {}
        for _, cls in inspect.getmembers(found[name], inspect.isclass):
            if cls.__module__ == found[name].__name__:
                bindings |= _described(cls.__dict__.get("BINDINGS", ()))
        if bindings:
            yield title, bindings


def _described(bindings: Any) -> dict[str, str]:
    """Keys of bindings that say what they do; several keys of one action share a line."""
    from cockpit.tui.help import shown

    keys: dict[str, list[str]] = {}
    for binding in bindings:
        if binding.description:
            keys.setdefault(binding.description, []).extend(f"`{shown(key.strip())}`" for key in binding.key.split(","))
    return {description: " ".join(dict.fromkeys(found)) for description, found in keys.items()}


def pages() -> dict[Path, str]:
    """Every generated page by its path."""
    return {HERE / "actions.md": actions_page(), HERE / "keys.md": keys_page(), HERE / "lint.md": lint_page()}


def main() -> int:
    """0 when all is written, or with --check when all is as it would be written."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        print("\n".join(f"docs/{path.name} is stale: run python docs/generate.py" for path in stale) or "the generated pages are current")
        return 1 if stale else 0
    for path in stale:
        path.write_text(pages()[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
