"""Checkpoints in a bucket: s3://BUCKET/PREFIX. Credentials, region and endpoint are boto3's own (AWS_*).

A bucket has no rename. The files of a checkpoint lie below step_N/<attempt>/ and its manifest, which is put last and names that
attempt, is what commits it. The lock is a lease: an object that its owner renews, and that counts for nothing once it is LEASE_SECONDS old.
"""

import contextlib
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from training.manifest import ENTRY, LONGEST_BYTES, NAME, Manifest, NotWhole, entry_of, parse
from training.stores import Locked

LEASE_SECONDS, RENEW_SECONDS = 30.0, 8.0
CONFIG = Config(retries={"mode": "standard", "max_attempts": 10}, connect_timeout=10, read_timeout=60)


@contextlib.contextmanager
def plainly(what: str) -> Iterator[None]:
    """The errors of boto3 as one-line OSErrors."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        raise OSError(f"{what}: {told.get('Code', 'unknown')} {told.get('Message', '')}".strip()) from None
    except (BotoCoreError, Boto3Error) as error:
        raise OSError(f"{what}: {str(error).splitlines()[0]}") from None


class Bucket:
    """The checkpoints below one prefix of one bucket."""

    shared = False

    def __init__(self, where: str) -> None:
        self.bucket, _, prefix = where.removeprefix("s3://").partition("/")
        self.where, self.prefix = where.rstrip("/"), f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        with plainly(where):
            self.s3 = boto3.client("s3", config=CONFIG)
        self._owner, self._tag, self._lost, self._given_up = uuid.uuid4().hex, "", "", threading.Event()

    # a place to read

    def entries(self) -> list[str]:
        with plainly(self.where):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix, Delimiter="/")
            names = [one["Prefix"][len(self.prefix) : -1] for page in pages for one in page.get("CommonPrefixes", [])]
        return sorted(name for name in names if ENTRY.fullmatch(name))

    def sizes(self, entry: str) -> dict[str, int]:
        top = f"{self.prefix}{entry}/"
        with plainly(f"{self.where}/{entry}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=top)
            return {one["Key"][len(top) :]: one["Size"] for page in pages for one in page.get("Contents", [])}

    def read(self, entry: str, path: str, offset: int = 0, length: int = LONGEST_BYTES) -> bytes:
        key, part = f"{self.prefix}{entry}/{path}", f"bytes={offset}-{offset + length - 1}"
        with plainly(f"{self.where}/{entry}/{path}"):
            return self.s3.get_object(Bucket=self.bucket, Key=key, Range=part)["Body"].read()

    def writing(self) -> bool:
        age = self._lease_age()
        return age is not None and age < LEASE_SECONDS

    # a store to write

    def lock(self) -> None:
        """Take the lease; that of a dead owner is waited out."""
        deadline, seen = time.monotonic() + LEASE_SECONDS + RENEW_SECONDS, ""
        while True:
            tag, age = self._lease()
            if age is not None and age < LEASE_SECONDS:
                if (seen and tag != seen) or time.monotonic() > deadline:
                    raise Locked(f"another job writes checkpoints to {self.where}: its lease was renewed {age:.0f} s ago")
                seen = tag
                threading.Event().wait(min(2.0, LEASE_SECONDS - age + 0.1))
                continue
            if self._take(tag):
                break
        threading.Thread(target=self._renew, name="lease", daemon=True).start()
        self._sweep()

    def _lease(self) -> tuple[str, float | None]:
        """The lease's tag, and its age by the clock of the store; no age where there is no lease."""
        try:
            with plainly(f"{self.where}/.lease"):
                answer = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}.lease", MaxKeys=1)
        except OSError as error:
            raise OSError(f"cannot see who writes there: {error}") from None
        if not answer.get("Contents"):
            return "", None
        now: datetime = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        lease: dict[str, Any] = answer["Contents"][0]
        return lease["ETag"], (now - lease["LastModified"]).total_seconds()

    def _lease_age(self) -> float | None:
        return self._lease()[1]

    def _take(self, tag: str) -> bool:
        """Put the lease if it still is the one seen; False when another job was faster."""
        body = json.dumps({"owner": self._owner, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}).encode()
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        try:
            self._tag = self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}.lease", Body=body, **condition)["ETag"]
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict"):
                return self._is_mine()
            with plainly(f"{self.where}/.lease"):
                raise
        return True

    def _is_mine(self) -> bool:
        """Whether a put that was answered with an error had come through all the same."""
        with plainly(f"{self.where}/.lease"):
            answer = self.s3.get_object(Bucket=self.bucket, Key=f"{self.prefix}.lease")
            mine = json.loads(answer["Body"].read()).get("owner") == self._owner
        if mine:
            self._tag = answer["ETag"]
        return mine

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._lost and not self._given_up.wait(RENEW_SECONDS):
            try:
                if not self._take(self._tag):
                    self._lost = "another job has taken the lease"
                renewed = time.monotonic()
            except (OSError, BotoCoreError) as error:
                if time.monotonic() - renewed > LEASE_SECONDS - RENEW_SECONDS:
                    self._lost = f"the lease could not be renewed: {error}"

    def unlock(self) -> None:
        """Let another job write."""
        self._given_up.set()
        if self._tag and not self._lost:
            with contextlib.suppress(OSError), plainly(self.where):  # else it runs out by itself
                self.s3.delete_object(Bucket=self.bucket, Key=f"{self.prefix}.lease")

    def _sweep(self) -> None:
        for entry in self.entries():
            sizes = self.sizes(entry)
            try:
                kept = f"{parse(self.read(entry, NAME)).folder}/" if NAME in sizes else None
            except NotWhole:
                continue  # torn: for people to look at
            doomed = [path for path in sizes if path != NAME and not (kept and path.startswith(kept))]
            self._delete([f"{self.prefix}{entry}/{path}" for path in doomed])

    def _delete(self, keys: list[str]) -> None:
        with plainly(self.where):
            for start in range(0, len(keys), 1000):
                objects = [{"Key": key} for key in keys[start : start + 1000]]
                self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})

    def _staging(self, step: int, attempt: str) -> Path:
        return Path(tempfile.gettempdir()) / f"checkpoint-{attempt}" / entry_of(step)

    def begin(self, step: int, attempt: str) -> Path:
        staging = self._staging(step, attempt)
        staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        return staging

    def publish(self, step: int, attempt: str, names: list[str]) -> None:
        for name in names:
            key = f"{self.prefix}{entry_of(step)}/{attempt}/{name}"
            with plainly(f"s3://{self.bucket}/{key}"):
                self.s3.upload_file(str(self._staging(step, attempt) / name), self.bucket, key)

    def commit(self, manifest: Manifest, attempt: str) -> None:
        entry = entry_of(manifest.step)
        there = self.sizes(entry)
        for name, file in manifest.files.items():
            if there.get(f"{attempt}/{name}") != file.bytes:
                raise OSError(f"{self.where}/{entry}: {name} did not arrive whole")
        if self._lost:
            raise OSError(f"{self.where}: {self._lost}")
        with plainly(f"{self.where}/{entry}/{NAME}"):
            self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}{entry}/{NAME}", Body=manifest.dump())
            self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}latest", Body=f"{entry}\n".encode())
        replaced = [path for path in there if path != NAME and not path.startswith(f"{attempt}/")]
        with contextlib.suppress(OSError):  # the next sweep finds them
            self._delete([f"{self.prefix}{entry}/{path}" for path in replaced])

    def abandon(self, step: int, attempt: str) -> None:
        with contextlib.suppress(OSError):  # the next sweep finds them
            entry = entry_of(step)
            begun = [path for path in self.sizes(entry) if path.startswith(f"{attempt}/")]
            self._delete([f"{self.prefix}{entry}/{path}" for path in begun])

    def tidy(self, step: int, attempt: str) -> None:
        shutil.rmtree(self._staging(step, attempt), ignore_errors=True)

    def remove(self, entry: str) -> None:
        paths = self.sizes(entry)
        self._delete([f"{self.prefix}{entry}/{NAME}"])  # first, so that what is left is not taken for whole
        self._delete([f"{self.prefix}{entry}/{path}" for path in paths])

    def fetch(self, entry: str, manifest: Manifest, attempt: str) -> Path:
        into = self._staging(manifest.step, f"{attempt}-read")
        for name in manifest.files:
            (into / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with plainly(f"{self.where}/{entry}/{name}"):
                self.s3.download_file(self.bucket, f"{self.prefix}{entry}/{manifest.folder}/{name}", str(into / name))
        return into
