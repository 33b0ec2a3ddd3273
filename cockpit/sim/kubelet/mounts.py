"""Mount paths without a container filesystem: every mention of one is rewritten to the folder that holds the volume."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


class Mounts:
    """Mount path -> folder or file on this machine, longest path first."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = {_clean(path): folder for path, folder in folders.items() if _clean(path) != "/"}
        ordered = sorted(self.folders, key=len, reverse=True)
        names = "|".join(re.escape(path) for path in ordered)
        self._pattern = re.compile(rf"(?<![\w./-])(?:{names})(?![\w.-])") if ordered else None

    def rewrite(self, text: str) -> str:
        """Replace mount paths in a command word or an environment value, at path boundaries only."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: str(self.folders[match.group()]), text)

    def resolve(self, path: str, root: Path) -> Path:
        """Where an absolute container path lives on this machine: under its mount, else under the pod's own root."""
        cleaned = _clean(path)
        for mount in sorted(self.folders, key=len, reverse=True):
            if cleaned == mount or cleaned.startswith(mount + "/"):
                return self.folders[mount] / cleaned[len(mount) :].lstrip("/")
        return root / _inside(cleaned)


def _clean(path: str) -> str:
    return "/" + path.strip("/")


def _inside(path: str) -> str:
    """A container path made relative, without `..`, so that it cannot leave the pod's folder."""
    return "/".join(part for part in path.split("/") if part not in ("", ".", ".."))
