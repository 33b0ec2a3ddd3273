"""Buckets that hold checkpoints, spoken to through the training programs, so that one implementation says what is whole and how one is deleted.

`python -m training.inventory s3://...` reads with boto3, whose credentials, region and endpoint are those of this machine's environment (AWS_*).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from cockpit.clients.shell import Shell
from cockpit.errors import BadInput

READ_SECONDS = 600.0
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class ObjectStore:
    """Runs a training program on a bucket; its lines are what it printed."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def run(self, program: str, places: Sequence[str], words: Sequence[str] = (), timeout_seconds: float = READ_SECONDS) -> Iterator[str]:
        """The lines `python -m training.PROGRAM PLACE... WORDS...` prints; BadInput for what is no bucket, ActionFailed with its last line."""
        for where in places:
            if not where.removeprefix("s3://").strip("/") or not where.startswith("s3://"):
                raise BadInput(f"{where!r} is no bucket", "s3://BUCKET/PREFIX")
        paths = [ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        argv = [sys.executable, "-m", f"training.{program}", *places, *words]
        said = self._shell.run(argv, timeout_seconds=timeout_seconds, env={"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))})
        return iter(said.splitlines())
