"""Environment variables: NCCL's own, those that are gone or were never there, and values that have no business in a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, at, mapping, put, strings
from actions.core.lints.nccl import CHOICES, KNOWN, RENAMED, WITHOUT_EFFECT
from actions.core.lints.shapes import variables_of

CLOSE = 0.9
MASK = "…"
SECRET_WORDS = frozenset({"TOKEN", "PASSWORD", "PASSWD", "SECRET", "APIKEY", "CREDENTIALS"})
SECRET_ENDINGS = ("API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "SECRET_KEY", "AUTH_KEY")
NOT_SECRET = frozenset({"PATH", "FILE", "DIR", "NAME", "URL", "ID", "TTL"})
SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[\w-]{16,}|xox[abpr]-[\w-]{10,}|sk-[\w-]{20,})"
)
ARGUMENT = re.compile(r"--[\w-]*(?:token|password|secret|api[-_]key)[= ]+([^\s$\"']{6,})", re.IGNORECASE)
UNKNOWN = Rule("nccl-unknown", "warning", "a variable NCCL does not know", "NCCL ignores it without a word", mends=True)
OLD = Rule(
    "nccl-renamed", "warning", "a variable that PyTorch has renamed", "the old name is deprecated, and PyTorch warns or ignores it", mends=True
)
NO_EFFECT = Rule("nccl-no-effect", "warning", "a variable without effect", "no NCCL of today reads it", mends=True)
VALUE = Rule("nccl-value", "warning", "a value NCCL does not take", "NCCL ignores it or gives up at the start")
SECRET = Rule(
    "secret-in-clear",
    "error",
    "a secret stands in the file",
    "whoever reads the file, the job or its journal has it; a Secret's name is enough",
    mends=True,
)
SECRET_OBJECT = Rule("secret-object", "warning", "a Secret with its data", "base64 hides nothing: a repository is no place for it")
RULES = (UNKNOWN, OLD, NO_EFFECT, VALUE, SECRET, SECRET_OBJECT)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with an object's variables, and which secrets it gives away; no value of one is ever in what is said."""
    told: set[Path] = set()
    for path, variable in variables_of(document, context):
        name, value = str(variable.get("name") or ""), variable.get("value")
        if _is_secret(name) and value not in (None, "") and not str(value).startswith("$("):
            told.add((*path, "value"))
            yield _secret_variable(path, name)
        yield from _nccl(path, name, value)
    for flaw in _secret_objects(document):
        told.add(flaw.path)
        yield flaw
    if document.kind != "Secret":
        for path, text in strings(document.data):
            if path not in told and (SHAPES.search(text) or ARGUMENT.search(text)):
                yield SECRET.at(path, "it looks like a token or key", "a variable with valueFrom: {secretKeyRef: ...}, read by the program")


def _is_secret(name: str) -> bool:
    words = name.upper().replace("-", "_").split("_")
    if words[-1] in NOT_SECRET and not name.upper().endswith("ACCESS_KEY_ID"):
        return False
    return bool(SECRET_WORDS & set(words)) or name.upper().endswith(SECRET_ENDINGS)


def _secret_variable(path: Path, name: str) -> Flaw:
    secret = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    mended = f"valueFrom: {{secretKeyRef: {{name: {secret}, key: {name}}}}}"
    message = f"{name} has its value here; kubectl create secret generic {secret} --from-file={name}=/dev/stdin puts it where it belongs"

    def mend(root: Any) -> None:
        held = at(root, *path)
        del held["value"]
        held["valueFrom"] = {"secretKeyRef": {"name": secret, "key": name}}

    return SECRET.at((*path, "value"), message, mended, mend)


def _secret_objects(document: Document) -> Iterator[Flaw]:
    if document.kind == "Secret":
        held = [part for part in ("data", "stringData") if mapping(document.data, part)]
        for part in held:
            keys = ", ".join(str(key) for key in mapping(document.data, part))
            yield SECRET_OBJECT.at((part,), f"it holds {keys}", "kubectl create secret generic NAME --from-file=KEY=/dev/stdin")
    elif document.kind == "ConfigMap":
        for key, value in mapping(document.data, "data").items():
            if _is_secret(str(key)) and value:
                yield SECRET.at(("data", key), f"{key} stands in a ConfigMap, which everyone may read", "kind: Secret, created from a prompt")


def secrets_in(document: Document, context: Context) -> Iterator[str]:
    """Every value that must not be shown."""
    for _, variable in variables_of(document, context):
        if _is_secret(str(variable.get("name") or "")) and variable.get("value") not in (None, "", True, False):
            yield str(variable["value"])
    if document.kind == "Secret":
        for part in ("data", "stringData"):
            yield from (str(value) for value in mapping(document.data, part).values() if value)
    elif document.kind == "ConfigMap":
        yield from (str(value) for key, value in mapping(document.data, "data").items() if _is_secret(str(key)) and value)
    for _, text in strings(document.data):
        yield from SHAPES.findall(text)
        yield from ARGUMENT.findall(text)


def _nccl(path: Path, name: str, value: Any) -> Iterator[Flaw]:
    names = (*path, "name")
    if name in RENAMED:
        right = RENAMED[name]
        yield OLD.at(names, f"{name} is {right} now", f"name: {right}", lambda root: put(root, names, right))
    elif name in WITHOUT_EFFECT:
        yield NO_EFFECT.at(names, f"{name}: {WITHOUT_EFFECT[name]}", "leave it out", lambda root: at(root, *path[:-1]).remove(at(root, *path)))
    elif name.startswith("NCCL_") and name not in KNOWN:
        close = difflib.get_close_matches(name, KNOWN, 1, CLOSE)
        mend = (lambda root: put(root, names, close[0])) if close else None
        yield UNKNOWN.at(names, f"{name} is none of NCCL's variables", f"name: {close[0]}" if close else "leave it out", mend)
    elif name in CHOICES and value is not None:
        yield from _value((*path, "value"), name, str(value))


def _value(path: Path, name: str, value: str) -> Iterator[Flaw]:
    if "$" in value or ":" in value or ";" in value:
        return
    words = [word.strip() for word in value.lstrip("^").split(",")]
    wrong = [word for word in words if word.lower() not in {one.lower() for one in CHOICES[name]} and not word.isdigit()]
    if wrong:
        yield VALUE.at(path, f"{name}: {', '.join(wrong)}", f"one of {', '.join(CHOICES[name])}")
