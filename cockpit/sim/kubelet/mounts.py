"""Mount paths without a container filesystem: every mention of one is rewritten to the folder that holds the volume.

Besides, the container's root folder shows each mount as a link at its path, so that a folder above mounts (a PYTHONPATH or a
working directory) holds them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

SYSTEM = frozenset({"/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"})


class Mounts:
    """Mount path -> folder or file on this machine, longest path first; `parents` are rewritten only where they stand alone."""

    def __init__(self, folders: Mapping[str, Path], parents: Mapping[str, Path] | None = None) -> None:
        self.folders = {_clean(path): folder for path, folder in folders.items() if _clean(path) != "/"}
        self.parents = {path: folder for path, folder in (parents or {}).items() if path not in self.folders}
        inside = "|".join(re.escape(path) for path in sorted(self.folders, key=len, reverse=True))
        alone = "|".join(re.escape(path) for path in sorted(self.parents, key=len, reverse=True))
        words = [rf"(?:{inside})(?![\w.-])"] if inside else []
        words += [rf"(?:{alone})(?![\w.-]|/+[\w.-])"] if alone else []
        self._pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(words)})") if words else None

    def rewrite(self, text: str) -> str:
        """Replace mount paths in a command word or an environment value, at path boundaries only."""
        if self._pattern is None:
            return text
        known = self.parents | self.folders
        return self._pattern.sub(lambda match: str(known[match.group()]), text)

    def resolve(self, path: str, root: Path) -> Path:
        """Where an absolute container path lives on this machine: under its mount, else under the container's own root."""
        cleaned = _clean(path)
        for mount in sorted(self.folders, key=len, reverse=True):
            if cleaned == mount or cleaned.startswith(mount + "/"):
                return self.folders[mount] / _inside(cleaned[len(mount) :])
        return root / _inside(cleaned)


def show(folders: Mapping[str, Path], root: Path) -> dict[str, Path]:
    """Link every mount into the container's root; the folders above mounts, by container path. A mount inside another gets no link."""
    parents: dict[str, Path] = {}
    for path in sorted(map(_clean, folders), key=len):
        link = root / _inside(path)
        above = [root / _inside(str(parent)) for parent in Path(path).parents]
        if any(folder.is_symlink() for folder in above):
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() and not link.exists():
            link.symlink_to(next(folder for mount, folder in folders.items() if _clean(mount) == path))
        parents |= {str(parent): root / _inside(str(parent)) for parent in Path(path).parents if str(parent) not in SYSTEM | {"/"}}
    return parents


def _clean(path: str) -> str:
    return "/" + path.strip("/")


def _inside(path: str) -> str:
    """A container path made relative, without `..`, so that it cannot leave the pod's folder."""
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
