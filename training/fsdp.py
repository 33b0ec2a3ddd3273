"""Fully sharded data parallel (torch's FSDP2): weights, gradients and optimizer are split over the ranks, gathered block by block.

    python -m training.fsdp --steps 50                                                                 # alone
    torchrun --standalone --nproc-per-node 2 -m training.fsdp --steps 50                               # two ranks on this machine
    torchrun --standalone --nproc-per-node 8 -m training.fsdp --model 8b --activation-checkpointing    # eight GPUs
    torchrun --nnodes 4 --nproc-per-node 8 ... -m training.fsdp --model 8b --sharding hybrid           # split in a machine, copied across

--sharding full    weights are gathered for each block and let go after it, forward and backward: the least memory
           grad-op weights stay gathered from the forward to the backward pass: one gather less, more memory (ZeRO-2's trade)
           hybrid  full within a group of ranks, each group a copy of the model (--replicas): gathers stay on NVLink

Each rank builds the whole model in host memory first (32 GB for 8b), so that all strategies start from the same weights.
`--help` has the flags; docs/training.md has the output and the exit codes.
"""

import math
import os
import warnings
from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.utils.checkpoint import checkpoint

from training import agreement, loop
from training.agreement import Outcome
from training.dcp import Dcp
from training.loop import Batch, Trainee
from training.optimizer import adamw, set_rate
from training.options import Options, pick_precision, refuse
from training.ranks import Rank


def shard(options: Options, rank: Rank) -> Trainee:
    """Each block a unit of its own, so that at most two are whole at any time; embedding, norm and head are the last unit."""
    precision = pick_precision(options.precision, rank.device)
    offload = offload_policy(options, rank)
    mesh = device_mesh(options, rank)
    # T5's blocks hand their position bias on as a view, and nothing changes it in place: the losses are those of the other strategies.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mixed = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32) if precision != torch.float32 else MixedPrecisionPolicy()

    torch.manual_seed(options.seed)
    model = options.blueprint.build()
    for block in options.blueprint.blocks(model):
        if options.activation_checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if options.compile:
            block.compile()
        fully_shard(block, mesh=mesh, mp_policy=mixed, offload_policy=offload, reshard_after_forward=options.sharding != "grad-op")
    sharded = fully_shard(model, mesh=mesh, mp_policy=mixed, offload_policy=offload, reshard_after_forward=False)  # its backward pass comes at once
    optimizer = adamw(model, torch.device("cpu") if options.offload == "cpu" else rank.device)

    def step(batches: list[Batch], asked: Callable[[], bool], rate: float) -> Outcome:
        mean = torch.zeros((), device=rank.device)
        for number, batch in enumerate(batches, start=1):
            sharded.set_requires_gradient_sync(number == len(batches))
            loss = options.blueprint.loss(model, *batch) / len(batches)
            mean += loss.detach()
            loss.backward()
        done = clipped(model, options.clip, agreement.vote(mean, asked()), copies=mesh.size(0) if mesh.ndim == 2 else 1)
        if done.finite:  # else the weights stay those of the step before
            set_rate(optimizer, rate)
            optimizer.step()
        optimizer.zero_grad()
        return done

    reduced = sum(p.numel() * torch.float32.itemsize for p in model.parameters()) if rank.world_size > 1 else 0
    return Trainee("fsdp", model, precision, step, Dcp(model, optimizer), reduced)


def device_mesh(options: Options, rank: Rank) -> DeviceMesh:
    """One row of ranks to shard over; in hybrid sharding as many rows as there are copies of the model."""
    if options.sharding != "hybrid":
        if options.replicas is not None:
            refuse(f"--replicas is of --sharding hybrid, not of {options.sharding}")
        return init_device_mesh(rank.device.type, (rank.world_size,), mesh_dim_names=("shard",))
    in_a_machine = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    replicas = options.replicas or max(1, rank.world_size // in_a_machine)
    if rank.world_size % replicas:
        refuse(f"--replicas {replicas}: {rank.world_size} ranks do not divide into {replicas} copies of the model")
    return init_device_mesh(rank.device.type, (replicas, rank.world_size // replicas), mesh_dim_names=("replicate", "shard"))


def offload_policy(options: Options, rank: Rank) -> OffloadPolicy:
    """Keep sharded weights, gradients and optimizer in host memory, and bring each block to the GPU when its turn comes."""
    if options.offload == "none":
        return OffloadPolicy()
    if rank.device.type == "cpu":
        refuse("--offload cpu: without a GPU everything is in host memory already")
    return CPUOffloadPolicy()


def clipped(model: nn.Module, clip: float, vote: Tensor, copies: int) -> Outcome:
    """Clip the gradients, of which each rank has its part, by their norm over all ranks; the votes travel with that one all-reduce."""
    grads = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in model.parameters() if p.grad is not None]
    square = get_total_norm(grads).to(vote.device, torch.float64) ** 2 / copies
    sums = torch.cat((vote.double(), square[None]))
    dist.all_reduce(sums)
    *votes, square_sum = sums.tolist()
    world_size, norm = dist.get_world_size(), math.sqrt(square_sum)
    if clip and norm > clip:
        torch._foreach_mul_(grads, clip / (norm + 1e-6))
    return agreement.outcome([number / world_size for number in votes], norm, world_size)


if __name__ == "__main__":
    loop.run("fsdp", shard)
