"""A small Llama-style decoder in plain torch: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

The shape of a model is a `Shape`; `PRESETS` names the ones the training programs offer. Parallelism stands beside this file, not in it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Sizes of one decoder, and the batch and learning rate it trains well with."""

    dim: int
    layers: int
    heads: int
    kv_heads: int  # each serves heads / kv_heads query heads
    hidden: int  # width of the feed-forward block
    vocab: int
    context: int  # tokens in one training sequence
    batch: int  # sequences a rank takes in one step
    lr: float  # peak learning rate of AdamW
    tied: bool = True  # the head shares the embedding's weights
    rope_theta: float = 10_000.0


# 1b, 3b and 8b have the dimensions of Llama-3.2-1B, Llama-3.2-3B and Llama-3-8B.
PRESETS: dict[str, Shape] = {
    #                  dim layers heads kv hidden   vocab context batch    lr
    "tiny": Shape(64, 2, 4, 2, 192, 512, 32, 4, 1e-2),
    "small": Shape(192, 4, 6, 2, 576, 1_024, 128, 8, 3e-3),
    "125m": Shape(768, 12, 12, 4, 2_048, 50_304, 1_024, 8, 6e-4),
    "1b": Shape(2_048, 16, 32, 8, 8_192, 128_256, 2_048, 4, 3e-4, rope_theta=500_000.0),
    "3b": Shape(3_072, 28, 24, 8, 8_192, 128_256, 2_048, 2, 3e-4, rope_theta=500_000.0),
    "8b": Shape(4_096, 32, 32, 8, 14_336, 128_256, 2_048, 1, 3e-4, tied=False, rope_theta=500_000.0),
}


def rotation(shape: Shape, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, each (length, head_dim / 2), float32."""
    half = shape.dim // shape.heads // 2
    frequencies = shape.rope_theta ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    angles = torch.outer(torch.arange(length, device=device, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (first half, second half) of x, (batch, heads, length, head_dim), by its position's angle."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention in which several query heads share one key and value head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.dim // shape.heads
        self.queries = nn.Linear(shape.dim, shape.heads * self.head_dim, bias=False)
        self.keys = nn.Linear(shape.dim, shape.kv_heads * self.head_dim, bias=False)
        self.values = nn.Linear(shape.dim, shape.kv_heads * self.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * self.head_dim, shape.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (self.queries, self.keys, self.values))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """SwiGLU: a gated pair of projections up, one back down."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.dim, shape.hidden, bias=False)
        self.up = nn.Linear(shape.dim, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer, pre-normalised; the unit that sharding and activation checkpointing wrap."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.dim, eps=1e-5)
        self.attention = Attention(shape)
        self.feed_forward_norm = nn.RMSNorm(shape.dim, eps=1e-5)
        self.feed_forward = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.feed_forward_norm(x))


class Decoder(nn.Module):
    """Tokens in, mean next-token loss out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.dim, eps=1e-5)
        self.head = nn.Linear(shape.dim, shape.vocab, bias=False)
        if shape.tied:
            self.head.weight = self.embedding.weight
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats, a scalar, of `targets` given `tokens`; both (batch, length), int64."""
        cos, sin = rotation(self.shape, tokens.size(1), tokens.device)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers in the model, sharded or not; shared weights count once."""
    return sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters())


def shapes_of(model: nn.Module) -> dict[str, list[int]]:
    """Shape of every parameter, whoever holds which part of it."""
    return {name: list(getattr(parameter, "ds_shape", parameter.shape)) for name, parameter in model.named_parameters()}


def flops_per_token(model: nn.Module, shape: Shape) -> int:
    """Floating-point operations to train on one token: 6 per weight that multiplies, plus attention (PaLM, appendix B).

    An untied embedding is a look-up and multiplies nothing; a tied one is counted once, as the head.
    """
    looked_up = 0 if shape.tied else shape.vocab * shape.dim
    return 6 * (parameter_count(model) - looked_up) + 12 * shape.layers * shape.dim * shape.context
