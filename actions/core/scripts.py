"""A user's own training script, delivered beside `training/` so that it can import training.checkpoint and training.report."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from cockpit.errors import BadInput

CONFIGMAP_BYTES = 1 << 20
ROOM_BYTES = 8 << 10
"""Of a ConfigMap, for its names and metadata."""
FOLDER = "/opt/cockpit/script"
SCRIPT_SHA256 = "script_sha256"
"""Beside the parameters that are kept on a job: which text the script had."""
PLAIN = re.compile(r"[\w.-]{1,200}")


@dataclass(frozen=True)
class Script:
    """A script: where it lies on this machine, its text, and the words it is started with."""

    path: str
    text: str
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its file name."""
        return Path(self.path).name

    @property
    def key(self) -> str:
        """Its key in the ConfigMap, which no file of training/ has."""
        return f"script.{self.name}"

    @property
    def sha256(self) -> str:
        """What tells it apart from a later one of the same path."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def script_of(path: str, words: str, files: dict[str, str]) -> Script | None:
    """The script at a path of this machine, None for no path; BadInput when it cannot be read or does not fit into a ConfigMap beside `files`."""
    if not path:
        if words:
            raise BadInput("--script-args without --script", "--script FILE names the program they are for")
        return None
    try:
        found = Path(path).expanduser().resolve()
        text = found.read_text(encoding="utf-8")
        given = tuple(shlex.split(words))
    except OSError as problem:
        raise BadInput(f"--script {path}: {problem.strerror}", "a Python file of this machine") from None
    except UnicodeDecodeError:
        raise BadInput(f"--script {path} is not text in UTF-8", "a Python file of this machine") from None
    except ValueError as problem:
        raise BadInput(f"--script-args {words!r}: {problem}", "words as a shell would take them") from None
    if not PLAIN.fullmatch(found.name):
        raise BadInput(f"--script {path}: its name cannot be a key of a ConfigMap", "letters, digits, dot, dash and underscore")
    size, others = len(text.encode()), sum(len(name) + len(content.encode()) for name, content in files.items())
    if size + others + ROOM_BYTES > CONFIGMAP_BYTES:
        most = CONFIGMAP_BYTES - ROOM_BYTES - others
        hint = f"at most {most:,} bytes beside training/; put what is larger into the image"
        raise BadInput(f"--script {path} has {size:,} bytes: a ConfigMap holds {CONFIGMAP_BYTES:,}", hint)
    return Script(str(found), text, given)
