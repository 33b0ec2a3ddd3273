"""Samples without state: what a step trains on depends on the seed and on its place in the data, and on nothing else.

So a resume at any step is exact, and the same global batch comes out of any number of ranks. Here are synthetic tokens; texts and
datasets stand in training/texts.py.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

import torch
from torch import Tensor

SYMBOLS = 64
NOISE = 0.1  # share of tokens replaced


def seed_of(*key: int | str) -> int:
    """A seed, int64, that nearby keys do not share."""
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Samples(Protocol):
    """Where samples come from."""

    @property
    def identity(self) -> dict[str, int]:
        """By which a checkpoint knows them again."""

    def sample(self, step: int, index: int, number: int) -> Tensor:
        """Sequence `index` of the global batch of `step`, the `number`-th of the run from 0: (context + 1,), int64."""


class Synthetic:
    """Every seed hides a cycle through SYMBOLS tokens of the vocabulary; a sample walks that cycle from a random start, and one
    token in ten is replaced by a random one. A model first learns which tokens occur, then which follows which.
    """

    def __init__(self, seed: int, vocab: int, context: int) -> None:
        self.seed, self.context = seed, context
        self.identity: dict[str, int] = {}
        self.cycle = torch.randperm(vocab, generator=torch.Generator().manual_seed(seed_of(seed, "cycle")))[:SYMBOLS]

    def sample(self, step: int, index: int, number: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(self.seed, step, index))
        length, symbols = self.context + 1, len(self.cycle)
        start = torch.randint(symbols, (1,), generator=generator)
        walk = (start + torch.arange(length)) % symbols
        strays = torch.randint(symbols, (length,), generator=generator)
        noisy = torch.rand(length, generator=generator) < NOISE
        return self.cycle[torch.where(noisy, strays, walk)]


@dataclass
class Stream:
    """The share of one rank: `batch` of the `batch * world_size` sequences of each step."""

    samples: Samples
    batch: int
    rank: int = 0
    world_size: int = 1
    step: int = 0  # done before this run, which had taken
    taken: int = 0  # samples

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is not one of {self.world_size}")

    def position(self, step: int) -> dict[str, int]:
        """What a checkpoint after `step` keeps: the samples taken until then by all ranks, and what they were taken from."""
        return {"samples": self.taken + (step - self.step) * self.batch * self.world_size, **self.samples.identity}

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        """Tokens and the tokens that follow them, both (batch, context), int64, on the CPU."""
        before, first = self.position(step - 1)["samples"], self.rank * self.batch
        samples = torch.stack([self.samples.sample(step, index, before + index) for index in range(first, first + self.batch)])
        return samples[:, :-1], samples[:, 1:]
