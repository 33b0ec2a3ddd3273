"""Doubles of programs, placed on PATH: each call is recorded whole, and answered as scripted, as the real program would."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAM = """#!{python}
import json, os, runpy, signal, sys, time
call = {{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "stdin": sys.stdin.read(), "env": dict(os.environ), "tty": sys.stdin.isatty()}}
with open({log!r}, "a") as log:
    log.write(json.dumps(call) + "\\n")
for rule in json.load(open({script!r})):
    if all(word in call["argv"] for word in rule["words"]):
        for line in rule.get("stderr", ()):
            print(line, file=sys.stderr, flush=True)
        for line in rule.get("stdout", ()):
            print(line, flush=True)
        if rule.get("effect"):
            runpy.run_path(rule["effect"])
        while rule.get("hold") and not os.path.exists(rule["hold"]):
            time.sleep(0.02)
        sys.exit(rule.get("exit", 0))
"""


@dataclass
class Doubles:
    """The programs of a test: `rules` say what each answers, `calls` what each was told."""

    folder: Path
    rules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "calls.jsonl"

    @property
    def script(self) -> Path:
        return self.folder / "rules.json"

    def place(self, *names: str) -> None:
        """Put programs of these names into the folder."""
        self.write()
        for name in names:
            path = self.folder / name
            path.write_text(PROGRAM.format(python=sys.executable, log=str(self.log), script=str(self.script)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def write(self) -> None:
        """Make the rules known."""
        self.script.write_text(json.dumps(self.rules))

    def answers(self, *words: str, **rule: Any) -> None:
        """A call with all these words is answered so; later rules come first."""
        self.rules.insert(0, {"words": list(words), **rule})
        self.write()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call in order."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def argv(self) -> list[list[str]]:
        """What each was called with."""
        return [call["argv"] for call in self.calls]


def path_with(folder: Path) -> str:
    """A PATH on which the doubles come first and no real one of them is found."""
    kept = [one for one in os.environ["PATH"].split(os.pathsep) if not any((Path(one) / name).exists() for name in ("terraform", "eksctl", "helm"))]
    return os.pathsep.join([str(folder), *kept])
