"""What the ranks agree on in every step: the mean loss, on how many it was not finite, and whether one was asked to stop.

It costs no collective of its own where the library reduces something after the backward pass anyway: ddp carries it in a bucket of
gradients, fsdp beside the gradient norm. zero, whose reductions are DeepSpeed's own, has one that runs under the backward pass.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NUMBERS = 3  # in a vote


@dataclass(frozen=True)
class Outcome:
    """One step, the same on every rank."""

    loss: float  # mean over the ranks, nats per token
    grad_norm: float  # before clipping
    ranks_not_finite: int
    stopping: bool  # at least one rank was asked to

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def vote(loss: Tensor, asked: bool) -> Tensor:
    """This rank's loss, 1 if that is not finite, 1 if it was asked to stop: (NUMBERS,), float32."""
    loss = loss.detach().float()
    return torch.stack((loss, (~loss.isfinite()).float(), loss.new_full((), asked)))


def outcome(means: list[float], grad_norm: float, world_size: int) -> Outcome:
    """What the mean of all votes says."""
    loss, not_finite, asked = means
    return Outcome(loss, grad_norm, round(not_finite * world_size), asked > 0)
