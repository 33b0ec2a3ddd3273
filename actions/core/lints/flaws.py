"""What a rule says: its stable id, where in the YAML something is wrong, why, and what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cockpit.snapshot import Snapshot

Path = tuple[str | int, ...]
Mend = Callable[[Any], None]
"""Changes one document in place."""
SEVERITIES = ("error", "warning", "info")
"""error: it will be refused or will not run; warning: it will run badly; info: worth knowing, and no reason to fail."""


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong. `id` is stable: scripts may name it. `mends` says that --fix can write the mended text."""

    id: str
    severity: str
    what: str
    why: str
    mends: bool = False

    def at(self, path: Path, message: str, mended: str = "", mend: Mend | None = None, severity: str = "") -> Flaw:
        """The flaw this rule finds at a path; `mended` is the YAML that should stand there, in words where it depends on the reader."""
        return Flaw(self, path, message, mended, mend, severity or self.severity)


@dataclass(frozen=True)
class Flaw:
    """Something wrong at one place of one document."""

    rule: Rule
    path: Path
    message: str
    mended: str
    mend: Mend | None
    severity: str


@dataclass(frozen=True)
class Document:
    """One Kubernetes object of the input: `data` is what was read, `base` the path to it inside its YAML document (the items of a List).

    `lines` gives the line in `file` on which a path stands, counted from 1; None where the object was never text.
    """

    data: Any
    file: str = ""
    base: Path = ()
    lines: Callable[[Path], int | None] = lambda path: None

    @property
    def kind(self) -> str:
        """The kind it says it is; empty when it does not."""
        return str(self.data.get("kind") or "") if isinstance(self.data, Mapping) else ""

    @property
    def name(self) -> str:
        """metadata.name."""
        return str(mapping(self.data, "metadata").get("name") or "")

    @property
    def namespace(self) -> str:
        """metadata.namespace, empty when it names none."""
        return str(mapping(self.data, "metadata").get("namespace") or "")

    @property
    def group(self) -> str:
        """The API group."""
        return str(mapping(self.data).get("apiVersion") or "").rpartition("/")[0]


@dataclass(frozen=True)
class Context:
    """What a document is judged with: its neighbours in the input, the cluster's picture and objects where there is one.

    `peers` are objects read from the cluster; `complete` names the kinds of which they are all. `trainer` is the field in which the TrainJob that
    is served takes pod settings, empty when nobody knows.
    """

    documents: tuple[Document, ...] = ()
    snapshot: Snapshot | None = None
    peers: tuple[Mapping[str, Any], ...] = ()
    complete: frozenset[str] = frozenset()
    trainer: str = ""
    namespace: str = "default"

    def space(self, document: Document) -> str:
        """The namespace a document will land in."""
        return document.namespace or self.namespace

    def objects(self, *kinds: str) -> Iterator[Mapping[str, Any]]:
        """Objects of these kinds: those of the input, then those of the cluster."""
        for one in (*(document.data for document in self.documents), *self.peers):
            if isinstance(one, Mapping) and one.get("kind") in kinds:
                yield one

    def named(self, kind: str, namespace: str | None = None) -> dict[str, Mapping[str, Any]]:
        """Objects of a kind by name; of one namespace when it is given. The input wins over the cluster."""
        found: dict[str, Mapping[str, Any]] = {}
        for one in self.objects(kind):
            meta = mapping(one, "metadata")
            if namespace is None or str(meta.get("namespace") or self.namespace) == namespace:
                found.setdefault(str(meta.get("name") or ""), one)
        return found


def mapping(data: Any, *path: str | int) -> Mapping[str, Any]:
    """The mapping at a path; an empty one when something else or nothing stands there."""
    found = at(data, *path)
    return found if isinstance(found, Mapping) else {}


def items(data: Any, *path: str | int) -> list[Any]:
    """The list at a path; an empty one when something else or nothing stands there."""
    found = at(data, *path)
    return found if isinstance(found, list) else []


def at(data: Any, *path: str | int) -> Any:
    """What stands at a path; None when nothing does."""
    for step in path:
        if isinstance(data, Mapping) and isinstance(step, str):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def put(data: Any, path: Path, value: Any) -> None:
    """Set a value, making the mappings on the way to it."""
    *way, last = path
    for step in way:
        if isinstance(data, dict) and not isinstance(data.get(step), dict | list):
            data[step] = {}
        data = data[step]
    data[last] = value


def drop(data: Any, path: Path) -> None:
    """Take a key or an item out; nothing when it is not there."""
    *way, last = path
    held = at(data, *way)
    if isinstance(held, dict):
        held.pop(last, None)
    elif isinstance(held, list) and isinstance(last, int) and last < len(held):
        del held[last]


def rename(data: Any, path: Path, name: str) -> None:
    """Give a key another name in the same place."""
    *way, last = path
    held: Any = at(data, *way)
    if not isinstance(held, dict) or last not in held:
        return
    order: list[Any] = list(held)
    value = held.pop(last)
    if hasattr(held, "insert"):
        held.insert(order.index(last), name, value)
        comments = held.ca.items  # type: ignore[attr-defined]
        if last in comments:
            comments[name] = comments.pop(last)
        return
    rest = {key: held.pop(key) for key in order[order.index(last) + 1 :]}
    held[name] = value
    held.update(rest)


def written(path: Path) -> str:
    """A path as Kubernetes writes it: spec.containers[0].resources.limits[nvidia.com/gpu]."""
    text = ""
    for step in path:
        if isinstance(step, int) or not step.replace("-", "").replace("_", "").isalnum():
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def strings(data: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text in an object with its path; an alias is looked into once, so that no small file can be endless."""
    seen: set[int] = set()
    waiting: list[tuple[Path, Any]] = [(path, data)]
    while waiting:
        where, value = waiting.pop()
        if isinstance(value, str):
            yield where, value
        elif isinstance(value, Mapping | list) and id(value) not in seen:
            seen.add(id(value))
            inner = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting.extend(reversed([((*where, key), one) for key, one in inner]))
