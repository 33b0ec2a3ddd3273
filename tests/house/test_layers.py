"""Who may import whom (docs/guide.md): the rule is a table here, and breaking it fails."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BOTTOM = {
    "cockpit.errors": 0,
    "cockpit.inert": 0,
    "cockpit.memory": 0,
    "cockpit.programs": 0,
    "cockpit.cloud": 1,
    "cockpit.model": 1,
    "cockpit.rows": 1,
    "cockpit.instance_types": 1,
    "cockpit.snapshot": 2,
    "cockpit.store": 3,
}
ROOMS = ("cockpit.sim", "cockpit.clients", "cockpit.sources", "cockpit.diagnosis", "cockpit.tui", "actions", "training", "manifests")
ALONE = {"cockpit.sim", "training", "manifests"}
MIDDLE = {"actions", "cockpit.sources", "cockpit.clients", "cockpit.diagnosis"}
OWNERS = {
    "kubernetes": "cockpit/clients/kubeconfig.py",
    "urllib3": "cockpit/clients/connections.py",
    "boto3": "cockpit/clients/aws.py",
    "prometheus_api_client": "cockpit/clients/prom.py",
    "sh": "cockpit/clients/shell.py",
}
MAY_NEED = {"cockpit.model": {"msgspec"}, "cockpit.cloud": {"msgspec"}, "cockpit.store": {"msgspec"}}
"""Besides the standard library: rows are msgspec Structs."""


def room_of(module: str) -> str:
    """The room a module belongs to: a bottom module, one of ROOMS, or `front` for the rest of cockpit."""
    for room in (*BOTTOM, *ROOMS):
        if module == room or module.startswith(room + "."):
            return room
    return "front" if module.split(".")[0] == "cockpit" else "outside"


def allowed(importer: str, imported: str) -> bool:
    """True when a module of room `importer` may import room `imported`."""
    if importer == imported or imported == "outside":
        return True
    if importer in ALONE or imported in ALONE:
        return False
    if importer in BOTTOM:
        return imported in BOTTOM and BOTTOM[imported] <= BOTTOM[importer]
    if importer in MIDDLE:
        return imported in BOTTOM
    return True


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def sources() -> list[tuple[str, Path]]:
    """Every module of the product by dotted name."""
    found = []
    for top in ("cockpit", "actions", "training"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def resolve(name: str) -> str:
    """`package.module.attribute` cut back to what is a module or package of ours."""
    while name and not ((ROOT / name.replace(".", "/")).with_suffix(".py").exists() or (ROOT / name.replace(".", "/")).is_dir()):
        if "." not in name:
            return name
        name = name.rsplit(".", 1)[0]
    return name


@pytest.mark.parametrize(("module", "path"), sources(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_keep_to_the_floors(module: str, path: Path) -> None:
    broken = []
    for name in imports_of(path):
        if name.split(".")[0] in ("cockpit", "actions", "training", "manifests"):
            target = resolve(name)
            if target not in ("cockpit", "actions") and not allowed(room_of(module), room_of(target)):
                broken.append(f"{module} imports {target}")
    assert not broken


@pytest.mark.parametrize(("module", "path"), sources(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_client_library_has_one_owner(module: str, path: Path) -> None:
    if room_of(module) in ALONE:
        return
    for name in imports_of(path):
        owner = OWNERS.get(name.split(".")[0])
        assert owner is None or path.relative_to(ROOT).as_posix() == owner, f"{module} imports {name}; only {owner} may"


@pytest.mark.parametrize("module", sorted(BOTTOM))
def test_the_bottom_needs_the_standard_library_and_its_rows_msgspec(module: str) -> None:
    import sys

    place = ROOT / module.replace(".", "/")
    files = sorted(place.glob("*.py")) or [place.with_suffix(".py")]
    for name in (name for path in files for name in imports_of(path)):
        top = name.split(".")[0]
        known = sys.stdlib_module_names | {"cockpit"} | MAY_NEED.get(module, set())
        assert top in known, f"{module} imports {name}"


def test_the_rule_can_fail() -> None:
    assert not allowed("cockpit.sources", "cockpit.clients")
    assert not allowed("actions", "cockpit.tui")
    assert not allowed("front", "cockpit.sim")
    assert not allowed("cockpit.model", "cockpit.store")
    assert allowed("cockpit.tui", "actions")
    assert allowed("front", "cockpit.sources")
