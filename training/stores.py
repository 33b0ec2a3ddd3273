"""Where checkpoints are kept: a folder that all ranks share (local disk, PVC, FSx), here, or a bucket (training/s3.py).

A checkpoint is written aside, made durable file by file, and appears under its name all at once or not at all.
"""

import contextlib
import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import Any, Protocol

from training.manifest import NAME, FolderPlace, Manifest, Place, entry_of


class Locked(OSError):
    """Another job writes to this place."""


class Store(Place, Protocol):
    """A place to write to; `shared` when every rank of every machine sees the same files there."""

    shared: bool

    def lock(self) -> None:
        """Become the only writer until this process ends, and clear what dead writers left; Locked says who writes now."""

    def unlock(self) -> None:
        """Let another job write; the end of the process does the same."""

    def begin(self, step: int, attempt: str) -> Path:
        """A local folder for the files of one checkpoint, there for every rank that asks."""

    def publish(self, step: int, attempt: str, names: list[str]) -> None:
        """Make these files of the begun checkpoint durable."""

    def commit(self, manifest: Manifest, attempt: str) -> None:
        """Make the published files the checkpoint of their step, in place of an older one of the same step."""

    def abandon(self, step: int, attempt: str) -> None:
        """Delete what was begun."""

    def tidy(self, step: int, attempt: str) -> None:
        """Delete the local copy of what was committed, if there is one."""

    def remove(self, entry: str) -> None:
        """Delete a committed checkpoint; a reader never takes half of it for whole."""

    def fetch(self, entry: str, manifest: Manifest, attempt: str) -> Path:
        """A local folder with the files of a checkpoint."""


def open_store(where: str) -> Store:
    """The store that `--checkpoint-dir` names: s3://BUCKET/PREFIX or a folder, made when it is not there."""
    if where.startswith("s3://"):
        from training.s3 import Bucket  # boto3 is wanted only here

        return Bucket(where)
    return Folder(where)


def line_of(error: BaseException) -> str:
    """An error in one line; the operating system's word where that is what caused it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    text = str(error) if cause is None else getattr(cause, "strerror", None) or str(cause)
    return (text or type(error).__name__).strip().split("\n", 1)[0]


def blame(error: BaseException, rank: int) -> str:
    """`rank N: why`: this rank's error, or of the errors that DCP collects from all ranks this one's or the first."""
    failures: dict[int, Any] = getattr(error, "failures", None) or {rank: (error, None)}
    who = rank if rank in failures else min(failures)
    return f"rank {who}: {line_of(failures[who][0])}"


def fsync(path: str | os.PathLike[str]) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, data: bytes) -> None:
    """Write a file all at once or not at all."""
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_bytes(data)
    fsync(aside)
    aside.replace(path)
    fsync(path.parent)


class Folder(FolderPlace):
    """A folder; the lock is flock's, which the kernel lets go with the process."""

    shared = True

    def __init__(self, folder: str) -> None:
        super().__init__(os.path.abspath(folder))
        self.path = Path(self.folder)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = None

    def lock(self) -> None:
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise Locked(f"another job writes checkpoints to {self.folder}: {ascii(owner)[1:-1]}") from None
        self._lock = handle
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        self._sweep()

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _sweep(self) -> None:
        """Undo what a dead writer left half done: a replacement that never came puts the replaced one back."""
        for old in self.path.glob(".step_*.old-*"):
            name = old.name[1:].partition(".")[0]
            if (self.path / name).exists():
                shutil.rmtree(old)
            else:
                old.rename(self.path / name)
        for aside in (*self.path.glob(".step_*.tmp-*"), *self.path.glob(".step_*.del-*")):
            shutil.rmtree(aside)

    def _aside(self, step: int, attempt: str) -> Path:
        return self.path / f".{entry_of(step)}.tmp-{attempt}"

    def begin(self, step: int, attempt: str) -> Path:
        aside = self._aside(step, attempt)
        aside.mkdir(exist_ok=True)
        return aside

    def publish(self, step: int, attempt: str, names: list[str]) -> None:
        for name in names:
            fsync(self._aside(step, attempt) / name)

    def commit(self, manifest: Manifest, attempt: str) -> None:
        aside, final = self._aside(manifest.step, attempt), self.path / entry_of(manifest.step)
        replace(aside / NAME, manifest.dump())
        old = final.with_name(f".{final.name}.old-{attempt}")
        if final.exists():
            final.rename(old)
        aside.rename(final)
        fsync(self.path)
        shutil.rmtree(old, ignore_errors=True)
        replace(self.path / "latest", f"{final.name}\n".encode())

    def abandon(self, step: int, attempt: str) -> None:
        shutil.rmtree(self._aside(step, attempt), ignore_errors=True)

    def tidy(self, step: int, attempt: str) -> None:
        """The files stay where they are."""

    def remove(self, entry: str) -> None:
        doomed = self.path / f".{entry}.del-0"
        with contextlib.suppress(FileNotFoundError):
            (self.path / entry).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def fetch(self, entry: str, manifest: Manifest, attempt: str) -> Path:
        return self.path / entry
