"""Distributed data parallel: every rank holds the whole model, trains on its share of each batch, and the gradients are averaged.

    python -m training.ddp --steps 50                                                    # alone
    torchrun --standalone --nproc-per-node 2 -m training.ddp --steps 50                  # two ranks on this machine
    torchrun --nnodes 2 --node-rank N --master-addr HOST --master-port 29500 --nproc-per-node 8 -m training.ddp --model 1b

In a pod of a PyTorchJob or a TrainJob the operator sets PET_* or MASTER_*, and `torchrun -m training.ddp` needs no more. With
--max-restarts set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 as well: torch 2.13 otherwise loses about every second restart over gloo.
gloo and fp32 on CPUs, nccl and bf16 on GPUs. `--help` has the flags; docs/training.md has the output and the exit codes.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from training import agreement, loop
from training.agreement import Outcome
from training.blueprints import Blueprint, constant_buffers
from training.dcp import Dcp
from training.loop import Batch, Trainee
from training.optimizer import adamw, set_rate
from training.options import Options, pick_precision
from training.ranks import Rank


class Replica(nn.Module):
    """The model, and numbers whose gradient is this rank's vote: DDP averages it in a bucket that it reduces anyway."""

    def __init__(self, model: nn.Module, blueprint: Blueprint, device: torch.device) -> None:
        super().__init__()
        self.model, self.blueprint = model, blueprint
        self.votes = nn.Parameter(torch.zeros(agreement.NUMBERS, device=device))

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return self.blueprint.loss(self.model, tokens, targets)

    def counted(self) -> Tensor:
        """The mean of all ranks' votes, after the backward pass."""
        means, self.votes.grad = self.votes.grad, None
        assert means is not None
        return means


def replicate(options: Options, rank: Rank, precision: torch.dtype | None = None, strategy: str = "ddp") -> Trainee:
    """The whole model on every rank; its gradients are all-reduced while the backward pass still runs."""
    precision = precision or pick_precision(options.precision, rank.device)

    torch.manual_seed(options.seed)
    model = options.blueprint.build().to(rank.device)
    if options.compile:
        model.compile()
    optimizer = adamw(model, rank.device)
    bare = Replica(model, options.blueprint, rank.device)
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(bare, constant_buffers(bare))
    replica = DistributedDataParallel(bare, gradient_as_bucket_view=True)

    def forward(tokens: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(rank.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            return replica(tokens, targets)

    # DDP lays its buckets out anew after the first backward pass. Three ranks and more add a gradient in an order that depends on its
    # place in a bucket, so a resumed run would differ in the last bits of its first step: let every run have that pass before it starts.
    zeros = torch.zeros(options.micro_batch, options.blueprint.context, dtype=torch.int64, device=rank.device)
    (forward(zeros, zeros) + bare.votes.sum()).backward()
    bare.zero_grad()

    def step(batches: list[Batch], asked: Callable[[], bool], rate: float) -> Outcome:
        mean = torch.zeros((), device=rank.device)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            with nullcontext() if last else replica.no_sync():
                loss = forward(*batch) / len(batches)
                mean += loss.detach()
                (loss + bare.votes.dot(agreement.vote(mean, asked())) if last else loss).backward()
        norm = clip_grad_norm_(model.parameters(), options.clip or math.inf)
        *means, grad_norm = torch.cat((bare.counted(), norm[None])).tolist()
        done = agreement.outcome(means, grad_norm, rank.world_size)
        if done.finite:  # else the weights stay those of the step before
            set_rate(optimizer, rate)
            optimizer.step()
        optimizer.zero_grad()
        return done

    bytes_reduced = sum(p.numel() * p.element_size() for p in model.parameters()) if rank.world_size > 1 else 0
    return Trainee(strategy, model, precision, step, Dcp(model, optimizer), bytes_reduced)


def train(options: Options, rank: Rank) -> int:
    return loop.train("ddp", options, rank, replicate)


if __name__ == "__main__":
    loop.run("ddp", replicate)
