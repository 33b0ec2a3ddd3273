"""What a checkpoint is, and whether one is whole. The standard library and nothing else, so that it runs in any pod:

    python3 -m training.manifest FOLDER [--full | --sample N] [--json]        python3 - FOLDER --json < training/manifest.py

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
    read_bytes: int | None = None  # compared with their checksums, of size_bytes; None when it is not whole

    def row(self) -> dict[str, Any]:
        """What a table of checkpoints shows; None where the manifest is unreadable."""
        shown = ("sequence", "strategy", "stage", "world_size", "model", "size_bytes", "time")
        known = {name: getattr(self.manifest, name) if self.manifest else None for name in shown}
        return {"entry": self.entry, "step": self.step, "state": self.state, "why": self.why, "read_bytes": self.read_bytes, **known}

    def line(self) -> str:
        """For people; a whole one says how much of it was read."""
        size = self.manifest.size_bytes if self.manifest else 0
        return f"{self.entry}  {self.state}: {self.why or f'{self.read_bytes:,} of {size:,} bytes read'}"


def crc32_of(path: str | os.PathLike[str]) -> File:
    """Size and checksums of a local file."""
    with open(path, "rb") as file:
        sums = [f"{zlib.crc32(chunk):08x}" for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")]
        return File(file.tell(), sums)


def chunks(manifest: Manifest, depth: str | int = "full") -> list[tuple[str, int]]:
    """(file, index) of the chunks to read: all, for `sampled` the first and last of each file and one between, or so many; chosen anew each time."""
    counts = {name: len(file.crc32) for name, file in manifest.files.items() if file.crc32 and depth != "sizes"}
    if depth == "sampled":
        return [(name, index) for name, count in counts.items() for index in sorted({0, count - 1, random.randrange(count)})]
    found = [(name, index) for name, count in counts.items() for index in range(count)]
    return random.sample(found, min(depth, len(found))) if isinstance(depth, int) else found


def broken_chunk(place: Place, entry: str, manifest: Manifest, name: str, index: int) -> str:
    """Why that chunk is not what was written; empty when it is."""
    path = f"{manifest.folder}/{name}" if manifest.folder else name
    data = place.read(entry, path, index * CHUNK_BYTES, CHUNK_BYTES)
    if f"{zlib.crc32(data):08x}" == manifest.files[name].crc32[index]:
        return ""
    return f"{name} fails its checksum {index * CHUNK_BYTES} to {index * CHUNK_BYTES + len(data)} bytes in"


def check(place: Place, entry: str, depth: str | int = "sampled") -> tuple[Manifest, int]:
    """The manifest of a whole checkpoint and how many of its bytes were read, or NotWhole.

    `depth`: sizes reads none, sampled some of each file, a number so many chunks, full every byte.
    """
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
    chosen = chunks(manifest, depth)
    for name, index in chosen:
        if why := broken_chunk(place, entry, manifest, name, index):
            raise NotWhole(why)
    return manifest, sum(min(CHUNK_BYTES, manifest.files[name].bytes - index * CHUNK_BYTES) for name, index in chosen)


def verify(place: Place, entry: str, depth: str | int = "sampled") -> Verdict:
    """Judge one entry; never raises for what it finds there, an unreadable file included."""
    match = ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is not the name of a checkpoint")
    step = int(match[1] or match[2])
    try:
        if match[2]:
            raise Uncommitted("its writer died before it was committed")
        return Verdict(entry, step, WHOLE, "", *check(place, entry, depth))
    except NotWhole as error:
        if isinstance(error, Uncommitted) and place.writing():
            return Verdict(entry, step, IN_PROGRESS, "it is not committed yet", None)
        return Verdict(entry, step, TORN, str(error), None)
    except OSError as error:
        return Verdict(entry, step, TORN, f"it cannot be read: {error.strerror or error}", None)


def verdicts(place: Place, depth: str | int = "sampled") -> Iterator[Verdict]:
    """Every entry of a place, judged one at a time, in the order of their names."""
    for entry in place.entries():
        yield verify(place, entry, depth)


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.manifest", description="List the checkpoints of a folder and say which are whole.")
    parser.add_argument("folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a checkpoint")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--full", dest="depth", action="store_const", const="full", default="sampled", help="read every byte instead of samples")
    depth.add_argument("--sample", dest="depth", type=int, metavar="N", help=f"read N chunks of {CHUNK_BYTES >> 20} MiB, chosen by chance")
    asked = parser.parse_args()
    if isinstance(asked.depth, int) and asked.depth < 0:
        parser.error(f"--sample {asked.depth}: it takes 0 (sizes only) or more")
    try:
        for verdict in verdicts(FolderPlace(asked.folder), asked.depth):
            print(json.dumps(verdict.row()) if asked.json else verdict.line(), flush=True)
    except OSError as error:
        print(f"error: {asked.folder}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
