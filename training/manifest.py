"""What a checkpoint is, and whether one is whole. The standard library and nothing else, so that it runs in any pod:

    python3 -m training.manifest FOLDER [--full] [--json]        python3 - FOLDER --json < training/manifest.py

A place of checkpoints holds

    step_00000010/manifest.json    the files there must be, their sizes and checksums, and a checksum of the manifest itself
    step_00000010/...              the files, as torch's DCP or DeepSpeed wrote them
    .step_00000020.tmp-<attempt>/  one that is being written, or that a dead writer left
    latest                         names the last one committed: for people, since only a manifest proves a checkpoint whole
    .lock                          held with flock by the job that writes here

training/checkpoint.py writes them, to the places of training/stores.py and training/s3.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

NAME, VERSION = "manifest.json", 1
CHUNK_BYTES = 16 * 2**20  # a checksum covers this much of a file
LONGEST_BYTES = 256 * 2**20  # of a manifest
WHOLE, TORN, IN_PROGRESS = "whole", "torn", "in progress"
ENTRY = re.compile(r"step_(\d{8,15})|\.step_(\d{8,15})\.tmp-[\w-]+")
READS = {"ddp": "dcp", "fsdp": "dcp", "amx": "dcp", "zero": "deepspeed"}  # strategy: the format of its checkpoints


def entry_of(step: int) -> str:
    return f"step_{step:08}"


@dataclass(frozen=True)
class File:
    """One file of a checkpoint: its size, and the crc32 of every CHUNK_BYTES of it."""

    bytes: int
    crc32: list[str]


@dataclass(frozen=True)
class Manifest:
    """What was saved, and what must be there for it to be whole."""

    step: int
    sequence: int  # of commits to this place: the highest is the last, whatever its step
    strategy: str
    format: str  # dcp or deepspeed
    stage: int  # of ZeRO; 0 for the other strategies
    world_size: int
    model: str
    shapes: dict[str, list[int]]  # of every parameter, unsharded
    data: dict[str, int]  # seed, step, global_batch (sequences), samples taken so far, and what they were of: the position in the data
    rng: str  # pattern of the files with each rank's generators
    folder: str  # below the entry, "" for the entry itself: what `files` are relative to
    files: dict[str, File]
    code: str  # checksum of the training program's files
    versions: dict[str, str]  # python, torch, deepspeed
    time: float  # of the commit, seconds since 1970

    @property
    def size_bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    def dump(self) -> bytes:
        """The JSON text; its last field is a checksum of all the others."""
        body = {"version": VERSION, **asdict(self)}
        return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode()


class NotWhole(ValueError):
    """Why a checkpoint, or its manifest, cannot be trusted; one line."""


class Uncommitted(NotWhole):
    """No manifest yet, or none any more."""


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


def parse(text: bytes) -> Manifest:
    """The manifest in `text`; NotWhole says what is wrong with it."""
    try:
        body = json.loads(text)
        said = body.pop("checksum")
    except (ValueError, RecursionError):
        raise NotWhole(f"{NAME} is not JSON: truncated or overwritten") from None
    except (AttributeError, KeyError, TypeError):
        raise NotWhole(f"{NAME} is not one of training.checkpoint") from None
    if body.get("version") != VERSION:
        raise NotWhole(f"{NAME} has version {str(body.get('version'))[:20]!r}, this program reads {VERSION}")
    if said != _checksum(body):
        raise NotWhole(f"{NAME} fails its own checksum")
    try:
        files = {name: File(file["bytes"], file["crc32"]) for name, file in body["files"].items()}
        manifest = Manifest(**{field.name: body[field.name] for field in fields(Manifest)} | {"files": files})
        numbers = [getattr(manifest, field.name) for field in fields(Manifest) if field.type == "int"]
        sound = all(type(number) is int for number in numbers) and all(len(f.crc32) == -(-f.bytes // CHUNK_BYTES) for f in files.values())
    except (AttributeError, KeyError, TypeError):
        sound = False
    if not sound:
        raise NotWhole(f"{NAME} lacks fields of version {VERSION}")
    for path in [*files, manifest.folder or "."]:
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise NotWhole(f"{NAME} names a file outside the checkpoint")
    return manifest


class Place(Protocol):
    """Where checkpoints are. Every method may raise OSError."""

    def entries(self) -> list[str]:
        """Names of checkpoints, whole or not."""

    def sizes(self, entry: str) -> dict[str, int]:
        """Bytes of every file of an entry, by its path below it."""

    def read(self, entry: str, path: str, offset: int = 0, length: int = LONGEST_BYTES) -> bytes:
        """That part of one file."""

    def writing(self) -> bool:
        """Whether a job holds this place's lock."""


class FolderPlace:
    """A local or mounted folder."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)

    def entries(self) -> list[str]:
        with os.scandir(self.folder) as found:
            return sorted(one.name for one in found if ENTRY.fullmatch(one.name) and one.is_dir())

    def sizes(self, entry: str) -> dict[str, int]:
        top = os.path.join(self.folder, entry)
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
        return {os.path.relpath(path, top).replace(os.sep, "/"): os.stat(path).st_size for path in paths}

    def read(self, entry: str, path: str, offset: int = 0, length: int = LONGEST_BYTES) -> bytes:
        with open(os.path.join(self.folder, entry, path), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def writing(self) -> bool:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.folder, ".lock"), "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


@dataclass(frozen=True)
class Verdict:
    """Whether one entry of a place is whole, torn or in progress, and why it is not whole."""

    entry: str
    step: int
    state: str
    why: str
    manifest: Manifest | None

    def row(self) -> dict[str, Any]:
        """What a table of checkpoints shows; None where the manifest is unreadable."""
        shown = ("sequence", "strategy", "stage", "world_size", "model", "size_bytes", "time")
        known = {name: getattr(self.manifest, name) if self.manifest else None for name in shown}
        return {"entry": self.entry, "step": self.step, "state": self.state, "why": self.why, **known}


def crc32_of(path: str | os.PathLike[str]) -> File:
    """Size and checksums of a local file."""
    with open(path, "rb") as file:
        sums = [f"{zlib.crc32(chunk):08x}" for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")]
        return File(file.tell(), sums)


def chunks(manifest: Manifest, sampled: bool = False) -> list[tuple[str, int]]:
    """(file, index) of every chunk; `sampled`: the first and last of each file and one between, chosen anew each time."""
    found = []
    for name, count in ((name, len(file.crc32)) for name, file in manifest.files.items()):
        indices = sorted({0, count - 1, random.randrange(count)}) if sampled and count else range(count)
        found += [(name, index) for index in indices]
    return found


def broken_chunk(place: Place, entry: str, manifest: Manifest, name: str, index: int) -> str:
    """Why that chunk is not what was written; empty when it is."""
    path = f"{manifest.folder}/{name}" if manifest.folder else name
    data = place.read(entry, path, index * CHUNK_BYTES, CHUNK_BYTES)
    if f"{zlib.crc32(data):08x}" == manifest.files[name].crc32[index]:
        return ""
    return f"{name} fails its checksum {index * CHUNK_BYTES} to {index * CHUNK_BYTES + len(data)} bytes in"


def check(place: Place, entry: str, depth: str = "sampled") -> Manifest:
    """The manifest of a whole checkpoint, or NotWhole; `depth` is sizes, sampled or full."""
    sizes = place.sizes(entry)
    if NAME not in sizes:
        raise Uncommitted(f"it has no {NAME}: not committed, or not written by training.checkpoint")
    if sizes[NAME] > LONGEST_BYTES:
        raise NotWhole(f"{NAME} has {sizes[NAME]} bytes")
    manifest = parse(place.read(entry, NAME))
    if entry_of(manifest.step) != entry:
        raise NotWhole(f"{NAME} is of step {manifest.step}")
    for name, file in manifest.files.items():
        there = sizes.get(f"{manifest.folder}/{name}" if manifest.folder else name)
        if there != file.bytes:
            raise NotWhole(f"{name} is missing" if there is None else f"{name} has {there} bytes, {file.bytes} were written")
    for name, index in chunks(manifest, depth == "sampled") if depth != "sizes" else []:
        if why := broken_chunk(place, entry, manifest, name, index):
            raise NotWhole(why)
    return manifest


def verify(place: Place, entry: str, depth: str = "sampled") -> Verdict:
    """Judge one entry; never raises for what it finds there, an unreadable file included."""
    match = ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is not the name of a checkpoint")
    step = int(match[1] or match[2])
    try:
        if match[2]:
            raise Uncommitted("its writer died before it was committed")
        return Verdict(entry, step, WHOLE, "", check(place, entry, depth))
    except NotWhole as error:
        if isinstance(error, Uncommitted) and place.writing():
            return Verdict(entry, step, IN_PROGRESS, "it is not committed yet", None)
        return Verdict(entry, step, TORN, str(error), None)
    except OSError as error:
        return Verdict(entry, step, TORN, f"it cannot be read: {error.strerror or error}", None)


def verdicts(place: Place, depth: str = "sampled") -> Iterator[Verdict]:
    """Every entry of a place, judged one at a time, in the order of their names."""
    for entry in place.entries():
        yield verify(place, entry, depth)


def newest_first(found: list[Verdict]) -> list[Verdict]:
    """The whole ones, the last committed first."""
    whole = [one for one in found if one.state == WHOLE and one.manifest]
    return sorted(whole, key=lambda one: one.manifest.sequence if one.manifest else 0, reverse=True)


def expendable(found: list[Verdict], keep_last: int, keep_every: int = 0) -> list[str]:
    """Whole entries that retention may delete: not the last `keep_last` (at least one), not every `keep_every`th step."""
    return [one.entry for one in newest_first(found)[max(1, keep_last) :] if not (keep_every and one.step % keep_every == 0)]


def refusal(manifest: Manifest, strategy: str, shapes: dict[str, list[int]] | None = None, stage: int = 0, seed: int | None = None) -> str:
    """Why a run of `strategy` cannot go on from this checkpoint; empty when it can, on any number of ranks."""
    if READS[strategy] != manifest.format:
        able = ", ".join(name for name, form in READS.items() if form == manifest.format)
        return f"it is of {manifest.strategy}, in the format {manifest.format}; {able} can load it, {strategy} cannot"
    if (manifest.stage == 3) != (stage == 3):
        return f"it is of ZeRO stage {manifest.stage}, this run of stage {stage}: only stage 3 splits the weights; use --stage {manifest.stage}"
    if shapes is not None and shapes != manifest.shapes:
        name = min(n for n in shapes.keys() | manifest.shapes.keys() if shapes.get(n) != manifest.shapes.get(n))
        return (
            f"it is of another model, {manifest.model}: {name} is {manifest.shapes.get(name, 'absent')} there and {shapes.get(name, 'absent')} here"
        )
    if seed is not None and seed != manifest.data["seed"]:
        return f"its data are of seed {manifest.data['seed']}, this run's of seed {seed}; use --seed {manifest.data['seed']}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.manifest", description="List the checkpoints of a folder and say which are whole.")
    parser.add_argument("folder")
    for flag, text in (("--full", "read every byte instead of samples"), ("--json", "one JSON object a checkpoint")):
        parser.add_argument(flag, action="store_true", help=text)
    asked = parser.parse_args()
    try:
        for verdict in verdicts(FolderPlace(asked.folder), "full" if asked.full else "sampled"):
            row = verdict.row()
            print(json.dumps(row) if asked.json else f"{row['entry']}  {row['state']}{': ' if row['why'] else ''}{row['why']}", flush=True)
    except OSError as error:
        print(f"error: {asked.folder}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
