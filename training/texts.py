"""Samples of a text: a file, a folder of files, or a dataset of Hugging Face, as bytes; each document ends with a zero byte.

An epoch takes every `context` bytes of the text once, in an order that depends on the seed and the epoch.
"""

import os
import zlib
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from training.data import Samples, Synthetic, seed_of

DATASET = "hf-dataset:"  # before a name on the Hugging Face Hub
BYTES = 256  # tokens of the byte tokenizer
END = b"\0"
PROBES, PROBE_BYTES = 64, 65_536  # a checksum reads so much of a text: all of it up to 4 MiB


class BadData(ValueError):
    """Why there is nothing to train on; one line."""


class Documents(Protocol):
    """Pieces of text in an order that stays."""

    lengths: list[int]  # bytes

    def read(self, document: int, offset: int, length: int) -> bytes:
        """At most that many bytes of one of them."""


class Files:
    """A file, or every file below a folder by the order of their paths; hidden ones are left out."""

    def __init__(self, path: Path) -> None:
        below = sorted(one for one in path.rglob("*") if not any(part.startswith(".") for part in one.relative_to(path).parts))
        self.paths = [one for one in (below if path.is_dir() else [path]) if one.is_file()]
        self.lengths = [one.stat().st_size for one in self.paths]

    def read(self, document: int, offset: int, length: int) -> bytes:
        with self.paths[document].open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) < min(length, self.lengths[document] - offset):
            raise OSError(f"{self.paths[document]} has become shorter than it was when this run began")
        return data


class Rows:
    """The rows of a dataset, by its column `text` or else the first one that holds strings."""

    def __init__(self, dataset: Any) -> None:
        import pyarrow.compute

        strings = [name for name, feature in dataset.features.items() if getattr(feature, "dtype", "") in ("string", "large_string")]
        if not strings:
            raise BadData(f"no column holds text; there are: {', '.join(dataset.column_names)}")
        self.column = "text" if "text" in strings else strings[0]
        self.dataset = dataset.select_columns([self.column])
        parts = (pyarrow.compute.binary_length(part[self.column]) for part in self.dataset.with_format("arrow").iter(10_000))
        self.lengths = [length or 0 for part in parts for length in part.to_pylist()]

    def read(self, document: int, offset: int, length: int) -> bytes:
        return (self.dataset[document][self.column] or "").encode()[offset : offset + length]


class Text:
    """Documents one after the other, cut into samples."""

    def __init__(self, documents: Documents, seed: int, context: int) -> None:
        self.documents, self.seed, self.context = documents, seed, context
        self.ends = list(accumulate(length + len(END) for length in documents.lengths))
        self.count = (self.ends[-1] - 1) // context if self.ends else 0
        if not self.count:
            there = self.ends[-1] if self.ends else 0
            raise BadData(f"one sample takes {context + 1} bytes (--context {context} and the one after), the text has {there}")
        self.identity = {"data_bytes": self.ends[-1], "data_crc32": self._checksum(), "context": context}

    def _checksum(self) -> int:
        checksum, step = 0, max(PROBE_BYTES, self.ends[-1] // PROBES)
        for start in range(0, self.ends[-1], step):
            checksum = zlib.crc32(self.read(start, min(PROBE_BYTES, self.ends[-1] - start)), checksum)
        return checksum

    def read(self, start: int, length: int) -> bytes:
        """That many bytes of the whole text, which must have them."""
        data, document = bytearray(), bisect_right(self.ends, start)
        while len(data) < length:
            size = self.documents.lengths[document]
            offset = start + len(data) - (self.ends[document] - size - len(END))
            if offset < size:
                data += self.documents.read(document, offset, length - len(data))
            data += END
            document += 1
        return bytes(data[:length])

    def sample(self, step: int, index: int, number: int) -> Tensor:
        epoch, place = divmod(number, self.count)
        start = int(order(self.seed, epoch, self.count)[place]) * self.context
        return torch.frombuffer(bytearray(self.read(start, self.context + 1)), dtype=torch.uint8).long()


@lru_cache(2)  # a batch may lie across two epochs
def order(seed: int, epoch: int, count: int) -> Tensor:
    """All `count` samples, shuffled for one epoch."""
    generator = torch.Generator().manual_seed(seed_of(seed, "epoch", epoch))
    return torch.randperm(count, generator=generator, dtype=torch.int32 if count < 2**31 else torch.int64)


def open_data(text: str, seed: int, vocab: int, context: int) -> Samples:
    """The samples that `--data` names: synthetic, hf-dataset:NAME[:CONFIG], a folder that datasets saved, or a file or folder of text."""
    if text == "synthetic":
        return Synthetic(seed, vocab, context)
    if vocab < BYTES:
        raise BadData(f"text is trained on by bytes, and the model knows {vocab} tokens, not {BYTES}")
    path = Path(os.path.expanduser(text))
    if text.startswith(DATASET) or any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return Text(Rows(dataset(text, path)), seed, context)
    if not path.exists():
        raise BadData(f"there is no such file or folder; it takes synthetic, a file or folder of text, or {DATASET}NAME")
    try:
        return Text(Files(path), seed, context)
    except OSError as error:
        raise BadData(error.strerror or str(error)) from None


def dataset(text: str, path: Path) -> Any:
    """Its training split, or the only one it has."""
    from training.hub import INSTALL, endpoint, first_sentence, hub_is_reachable

    named = text.startswith(DATASET)
    reachable = not named or hub_is_reachable()
    try:
        import datasets
    except ImportError as error:
        raise BadData(f"it needs datasets: {first_sentence(error)}; {INSTALL}") from None
    try:
        found = datasets.load_dataset(*text.removeprefix(DATASET).split(":", 1)) if named else datasets.load_from_disk(str(path))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        why = first_sentence(error) if reachable else f"it is not in the cache of this machine, and {endpoint()} cannot be reached"
        raise BadData(why) from None
    if not isinstance(found, dict):
        return found
    if "train" in found or len(found) == 1:
        return found["train"] if "train" in found else next(iter(found.values()))
    raise BadData(f"it has no split train; there are: {', '.join(found)}")
