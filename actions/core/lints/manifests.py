"""Manifests as text: read into documents that know their lines, and written back with comments and order kept.

ruamel.yaml does both; PyYAML knows neither comments nor lines of keys. A file is cut at its document markers first, so that a document nobody changed
stays as it was to the last blank.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from actions.core.lints.flaws import Document
from actions.core.lints.flaws import Path as Place
from cockpit.errors import BadInput

MOST_BYTES = 16 << 20
MOST_NODES = 200_000
ENDINGS = (".yaml", ".yml", ".json")
MARKER = re.compile(r"^---(?=\s|$)", re.MULTILINE)
NESTED = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", re.MULTILINE)


@dataclass
class Part:
    """One YAML document of a file: its text, the line before it, what it says, and whether that was changed."""

    text: str
    before: int
    root: Any
    changed: bool = False

    def line_below(self, base: Place, path: Place) -> int | None:
        """The line of a path below another."""
        return self.line_of((*base, *path))

    def line_of(self, path: Place) -> int | None:
        """The line of a path, or of the nearest thing above it that stands in the file."""
        data, line = self.root, getattr(getattr(self.root, "lc", None), "line", 0) or 0
        for step in path:
            places = getattr(data, "lc", None)
            try:
                line = places.key(step)[0] if isinstance(data, Mapping) else places.item(step)[0]  # type: ignore[union-attr]
                data = data[step]
            except (KeyError, IndexError, TypeError, AttributeError):
                break
        return self.before + int(line) + 1


@dataclass
class Manifest:
    """One file, or what stood on standard input; `path` is None where there is no file to write back to."""

    name: str
    path: Path | None
    parts: list[Part] = field(default_factory=list)

    def documents(self) -> Iterator[tuple[Document, Part]]:
        """Every Kubernetes object in it, a List taken apart, with the part it belongs to."""
        for part in self.parts:
            for base, data in _objects(part.root):
                yield Document(data, self.name, base, partial(part.line_below, base)), part

    def text(self) -> str:
        """The whole as it would be written now."""
        return "".join(_dumped(part, self.name) if part.changed else part.text for part in self.parts)


def _objects(root: Any) -> Iterator[tuple[Place, Any]]:
    if root is None:
        return
    if isinstance(root, Mapping) and str(root.get("kind") or "").endswith("List") and isinstance(root.get("items"), list):
        yield from ((("items", index), one) for index, one in enumerate(root["items"]))
    else:
        yield (), root


def read(files: Iterable[str]) -> list[Manifest]:
    """The manifests of these files, folders or `-`; BadInput with file, line and reason for what is not YAML."""
    return [parsed(name, text, path) for name in files for name, text, path in _texts(name)]


def _texts(name: str) -> Iterator[tuple[str, str, Path | None]]:
    if name == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise BadInput(
                "-f - reads standard input, and nothing is piped in", "name a file, or pipe one: cat job.yaml | cockpit --action lint -f -"
            )
        yield "stdin", _decoded("stdin", sys.stdin.buffer.read(MOST_BYTES + 1)), None
        return
    path = Path(name).expanduser()
    found = sorted(one for one in path.rglob("*") if one.suffix in ENDINGS and one.is_file()) if path.is_dir() else [path]
    if not found:
        raise BadInput(f"{name} holds no manifest", f"files that end in {', '.join(ENDINGS)}")
    for one in found:
        try:
            with one.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as problem:
            raise BadInput(f"{one}: {problem.strerror or problem}", "name a file, a folder or -") from problem
        yield str(one), _decoded(str(one), data), one


def _decoded(name: str, data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise BadInput(f"{name} is larger than {MOST_BYTES >> 20} MiB", "a manifest is smaller")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise BadInput(f"{name}:{line}: this is not UTF-8 text", "is this a manifest?") from problem


def parsed(name: str, text: str, path: Path | None = None) -> Manifest:
    """One text as a manifest."""
    starts = [0, *(found.start() for found in MARKER.finditer(text) if found.start()), len(text)]
    made = Manifest(name, path)
    for start, end in pairwise(starts):
        piece, before = text[start:end], text.count("\n", 0, start)
        made.parts.append(Part(piece, before, _loaded(name, piece, before)))
    if all(part.root is None for part in made.parts):
        raise BadInput(f"{name}: there is no document in it", "it holds comments or nothing at all")
    return made


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    return yaml


def _loaded(name: str, text: str, before: int) -> Any:
    """One document; the reason never quotes what stands there, which may be a secret."""
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        root = _yaml().load(text)
        _count(root, name)
        return root
    except DuplicateKeyError as problem:
        found = re.search(r'duplicate key "([^"]*)"', str(problem.problem))
        raise _unreadable(name, before, problem, f"the key {found.group(1) if found else ''} stands twice in one mapping") from None
    except MarkedYAMLError as problem:
        raise _unreadable(name, before, problem, " ".join(str(problem.problem or problem.context or "a syntax error").split())) from None
    except (YAMLError, ValueError, RecursionError, AssertionError) as problem:
        reason = "too deeply nested" if isinstance(problem, RecursionError) else getattr(problem, "reason", "a value cannot be read")
        raise BadInput(f"{name}:{before + 1}: this is not YAML: {reason}", "is this a manifest?") from None


def _unreadable(name: str, before: int, problem: Any, reason: str) -> BadInput:
    mark = problem.problem_mark or problem.context_mark
    line = before + (mark.line if mark else 0) + 1
    return BadInput(f"{name}:{line}: this is not YAML: {reason}", "mend that line first; nothing after it was looked at")


def _count(root: Any, name: str) -> None:
    """BadInput for a document whose aliases make it endless when written out."""
    left, waiting = MOST_NODES, [root]
    while waiting:
        one = waiting.pop()
        left -= 1
        if left < 0:
            raise BadInput(f"{name}: a document has more than {MOST_NODES} values once its aliases are written out", "is this a manifest?")
        if isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def plain(data: Any) -> Any:
    """Data as JSON knows it, with nothing of the YAML library left."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(one) for one in data]
    if data is None or isinstance(data, bool):
        return data
    if isinstance(data, int | float):
        return int(data) if isinstance(data, int) else float(data)
    return str(data)


def _dumped(part: Part, name: str) -> str:
    if part.text.lstrip().startswith("{") and name.endswith(".json"):
        return json.dumps(plain(part.root), indent=2) + "\n"
    yaml, out = _yaml(), StringIO()
    yaml.indent(mapping=2, sequence=2 + _offset(part.text), offset=_offset(part.text))
    yaml.dump(part.root, out)
    text = out.getvalue()
    if not part.text.startswith("---"):
        return text
    first = part.text.partition("\n")[0].rstrip() if part.text.partition("\n")[0].strip("- \t").startswith(("#",)) else "---"
    return f"{first}\n{text.removeprefix('---').lstrip(chr(10)) if text.startswith('---') else text}"


def _offset(text: str) -> int:
    """How far the dashes of a list stand right of its key, as the file has it."""
    found = NESTED.search(text)
    return max(0, min(4, len(found.group(2)) - len(found.group(1)))) if found else 0


def joined(manifests: Iterable[Manifest]) -> str:
    """Several manifests as one stream of documents."""
    texts = [text if text.endswith("\n") else text + "\n" for text in (one.text() for one in manifests)]
    return "".join(text if not index or text.startswith("---") else f"---\n{text}" for index, text in enumerate(texts))


def save(path: Path, text: str, private: bool = False) -> None:
    """Write a file whole or not at all, with the rights it had; only its owner may read a new one that is `private`."""
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o600 if private else 0o666 & ~_umask()
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, mode)
        os.replace(draft, target)
    except OSError as problem:
        raise BadInput(f"{path} cannot be written: {problem.strerror or problem}", "choose another file with --output-file") from problem


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
