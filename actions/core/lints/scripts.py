"""Shell in YAML: what looks right in a listing and breaks when it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, put, strings

AFTER_BACKSLASH = re.compile(r"\\[ \t]+(#[^\n]*)?(?=\n|$)")
CLONE = re.compile(r"git\s+clone\s+((?:-\S+\s+)*)(\S+)(?:\s+(\S+))?")
HOST = re.compile(r"(?:https?://|git@|ssh://)?[\w.-]+\.[a-z]{2,}/?")
CONTINUED = Rule(
    "shell-continuation",
    "error",
    "something follows the backslash at a line's end",
    "the rest runs as a command of its own",
    mends=True,
)
CLONED = Rule("git-clone", "error", "git clone without a repository", "it fails, and the pod with it")
RULES = (CONTINUED, CLONED)
SHELL_KEYS = frozenset({"command", "args"})


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with commands and arguments."""
    for path, text in strings(document.data):
        if not SHELL_KEYS & {step for step in path if isinstance(step, str)} and document.kind != "ConfigMap":
            continue
        if AFTER_BACKSLASH.search(text) and document.kind != "ConfigMap":
            yield _continuation(path, text)
        for options, source, _ in CLONE.findall(text):
            if HOST.fullmatch(source):
                yield CLONED.at(
                    path, f"git clone {source} names a host and no repository", f"git clone {options}https://{_host(source)}/OWNER/REPOSITORY"
                )


def _host(source: str) -> str:
    return re.sub(r"^(?:https?://|git@|ssh://)", "", source).rstrip("/")


def _continuation(path: Path, text: str) -> Flaw:
    what = "a comment" if any(found.group(1) for found in AFTER_BACKSLASH.finditer(text)) else "a blank"
    return CONTINUED.at(path, f"{what} after a backslash", "\\ as the last character of the line", lambda root: _mend(root, path))


def _mend(root: Any, path: Path) -> None:
    """Take out what follows a backslash; a block stays a block."""
    old = at(root, *path)
    text = AFTER_BACKSLASH.sub(lambda _: "\\", old)
    put(root, path, type(old)(text) if type(old) is not str else text)
