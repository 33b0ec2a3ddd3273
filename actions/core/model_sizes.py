"""The shapes of the preset models as the training programs have them, without the torch that those need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSize:
    """A decoder's sizes: `context` tokens in a sequence, `batch` sequences a rank takes at once."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int
    context: int
    batch: int
    tied: bool = True

    @property
    def per_layer(self) -> int:
        """Parameters of one block: queries and output, keys and values, three feed-forward matrices, two norms."""
        return 2 * self.dim**2 + 2 * self.dim**2 * self.kv_heads // self.heads + 3 * self.dim * self.hidden + 2 * self.dim

    @property
    def parameters(self) -> int:
        """All of them: the blocks, the last norm, the embedding and, where it is its own, the head."""
        return self.layers * self.per_layer + self.dim + self.vocab * self.dim * (1 if self.tied else 2)


SIZES: Mapping[str, ModelSize] = {
    "tiny": ModelSize(64, 2, 4, 2, 192, 512, 32, 4),
    "small": ModelSize(192, 4, 6, 2, 576, 1_024, 128, 8),
    "125m": ModelSize(768, 12, 12, 4, 2_048, 50_304, 1_024, 8),
    "1b": ModelSize(2_048, 16, 32, 8, 8_192, 128_256, 2_048, 4),
    "3b": ModelSize(3_072, 28, 24, 8, 8_192, 128_256, 2_048, 2),
    "8b": ModelSize(4_096, 32, 32, 8, 14_336, 128_256, 2_048, 1, tied=False),
}
