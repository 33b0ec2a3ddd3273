"""Distributed data parallel: every rank holds the whole model, trains on its share of each batch, and the gradients are averaged.

    python -m training.ddp --steps 50                                                    # alone
    torchrun --standalone --nproc-per-node 2 -m training.ddp --steps 50                  # two ranks on this machine
    torchrun --nnodes 2 --node-rank N --master-addr HOST --master-port 29500 --nproc-per-node 8 -m training.ddp --model 1b

In a pod of a PyTorchJob or a TrainJob the operator sets PET_* or MASTER_*, and `torchrun -m training.ddp` needs no more. With
--max-restarts set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 as well: torch 2.13 otherwise loses about every second restart over gloo.
gloo and fp32 on CPUs, nccl and bf16 on GPUs. `--help` has the flags; docs/training.md has the output and the exit codes.
"""

import math

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from training import loop
from training.dcp import Dcp
from training.loop import Trainee
from training.model import PRESETS, Decoder
from training.optimizer import adamw, set_rate
from training.options import Options, pick_precision
from training.ranks import Rank


def replicate(options: Options, rank: Rank, precision: torch.dtype | None = None, strategy: str = "ddp") -> Trainee:
    """The whole model on every rank; its gradients are all-reduced while the backward pass still runs."""
    precision = precision or pick_precision(options.precision, rank.device)

    torch.manual_seed(options.seed)
    model = Decoder(PRESETS[options.model]).to(rank.device)
    if options.compile:
        model.compile()
    optimizer = adamw(model, rank.device)
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True)

    def forward(tokens: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(rank.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            return replica(tokens, targets)

    # DDP lays its buckets out anew after the first backward pass. Three ranks and more add a gradient in an order that depends on its
    # place in a bucket, so a resumed run would differ in the last bits of its first step: let every run have that pass before it starts.
    zeros = torch.zeros(options.batch, model.shape.context, dtype=torch.int64, device=rank.device)
    forward(zeros, zeros).backward()
    model.zero_grad()

    def update(rate: float) -> float:
        norm = clip_grad_norm_(model.parameters(), options.clip or math.inf).item()
        if math.isfinite(norm):  # else the weights stay those of the step before
            set_rate(optimizer, rate)
            optimizer.step()
        optimizer.zero_grad()
        return norm

    bytes_reduced = sum(p.numel() * p.element_size() for p in model.parameters()) if rank.world_size > 1 else 0
    return Trainee(strategy, model, precision, forward, Tensor.backward, update, Dcp(model, optimizer), bytes_reduced)


def train(options: Options, rank: Rank) -> int:
    return loop.train("ddp", options, rank, replicate)


if __name__ == "__main__":
    loop.run("ddp", replicate)
