"""What places of checkpoints hold, one JSON line an entry, and the deletion of some; without torch, so that it runs in any pod or on any desk:

    python -m training.inventory PLACE... [--verify sizes|sampled|full]     a PLACE is a folder or s3://BUCKET/PREFIX
    python -m training.inventory PLACE --remove ENTRY...                    under the place's lock; never the last whole one

Each place begins with a line {"place", "writing", "error"}: its number, whether a job holds its lock, and why it could not be read, if so.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from training.lineage import newest_first
from training.manifest import ENTRY, FolderPlace, Place, Verdict, verdicts

LONGEST = 2000  # characters of a reason


def place_at(where: str) -> Place:
    """The place to read: it is not made when it is not there."""
    if where.startswith("s3://"):
        from training.s3 import Bucket  # boto3 is wanted only here

        return Bucket(where)
    return FolderPlace(where)


def line_of(number: int, verdict: Verdict) -> dict[str, Any]:
    """An entry as its line tells it; null where its manifest cannot be trusted."""
    data = verdict.manifest.data if verdict.manifest else {}
    row = {**verdict.row(), "global_batch": data.get("global_batch"), "seed": data.get("seed"), "place": number}
    return {**row, "why": verdict.why[:LONGEST]}


def listed(number: int, where: str, depth: str) -> Iterator[dict[str, Any]]:
    """The lines of one place; one that is not there yet holds nothing."""
    try:
        place = place_at(where)
        there = where.startswith("s3://") or os.path.isdir(where)
        yield {"place": number, "writing": place.writing() if there else False, "error": ""}
        for verdict in verdicts(place, depth) if there else ():
            yield line_of(number, verdict)
    except (OSError, ImportError) as error:
        yield {"place": number, "writing": None, "error": (getattr(error, "strerror", None) or str(error))[:LONGEST]}


def removed(where: str, doomed: list[str]) -> Iterator[dict[str, Any]]:
    """Delete those entries while nobody else can write there; each is a line once it is gone, the last whole one is spared."""
    from training.stores import open_store

    if not where.startswith("s3://") and not os.path.isdir(where):
        raise FileNotFoundError(2, "there is no such folder", where)
    store = open_store(where)
    before = set(store.entries())
    store.lock()
    try:
        whole = newest_first(list(verdicts(store, "sizes")))
        last = whole[0].entry if whole else ""
        for entry in doomed:
            if entry == last:
                yield {"place": 0, "entry": entry, "removed": False, "why": "it is the last whole one"}
            elif entry in before and ENTRY.fullmatch(entry):
                store.remove(entry)
                yield {"place": 0, "entry": entry, "removed": True, "why": ""}
            else:
                yield {"place": 0, "entry": entry, "removed": False, "why": "it is not there any more"}
    finally:
        store.unlock()


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.inventory", description="List the checkpoints of places, or delete some of one.")
    parser.add_argument("places", nargs="+", metavar="PLACE")
    parser.add_argument("--verify", choices=("sizes", "sampled", "full"), default="sizes")
    parser.add_argument("--remove", action="append", default=[], metavar="ENTRY")
    asked = parser.parse_args()
    try:
        for number, where in enumerate(asked.places):
            for line in removed(where, asked.remove) if asked.remove else listed(number, where, asked.verify):
                print(json.dumps(line), flush=True)
    except OSError as error:
        print(f"error: {asked.places[0]}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
