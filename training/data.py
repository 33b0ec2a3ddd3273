"""A deterministic token stream without state: a sample depends on (seed, step, index) and on nothing else.

So its position is the step, a resume at any step is exact, and the same global batch comes out of any number of ranks.
Every seed hides a cycle through `SYMBOLS` tokens of the vocabulary; a sample walks that cycle from a random start, and one
token in ten is replaced by a random one. A model first learns which tokens occur, then which follows which.
"""

from hashlib import blake2b

import torch
from torch import Tensor

SYMBOLS = 64
NOISE = 0.1  # share of tokens replaced


def _generator(*key: int | str) -> torch.Generator:
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big", signed=True))


class Stream:
    """The share of one rank: `batch` of the `batch * world_size` sequences of each step."""

    def __init__(self, seed: int, vocab: int, context: int, batch: int, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size}")
        self.seed, self.context, self.batch = seed, context, batch
        self.first_sample = rank * batch
        self.cycle = torch.randperm(vocab, generator=_generator(seed, "cycle"))[:SYMBOLS]

    def sample(self, step: int, index: int) -> Tensor:
        """Sequence `index` of the global batch of `step`: (context + 1,), int64."""
        generator = _generator(self.seed, step, index)
        length, symbols = self.context + 1, len(self.cycle)
        start = torch.randint(symbols, (1,), generator=generator)
        walk = (start + torch.arange(length)) % symbols
        strays = torch.randint(symbols, (length,), generator=generator)
        noisy = torch.rand(length, generator=generator) < NOISE
        return self.cycle[torch.where(noisy, strays, walk)]

    def batch_at(self, step: int) -> tuple[Tensor, Tensor]:
        """Tokens and the tokens that follow them, both (batch, context), int64, on the CPU."""
        samples = torch.stack([self.sample(step, self.first_sample + i) for i in range(self.batch)])
        return samples[:, :-1], samples[:, 1:]
