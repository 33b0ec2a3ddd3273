"""The decoder of training/ in the plain loop of each library, as its own pages show it: what training/ adds is measured against these.

No data loading, no lines, no metrics, no agreement on signals or losses, no checkpoints. Fp32 on CPUs, the process group is there already.
`stamp` is called at the start of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from training.model import Decoder, Shape

Batches = Iterable[tuple[Tensor, Tensor]]
Stamp = Callable[[], None]


def ddp(shape: Shape, batches: Batches, stamp: Stamp) -> None:
    """torch's DistributedDataParallel."""
    model = Decoder(shape)
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=shape.lr)
    for tokens, targets in batches:
        stamp()
        loss = replica(tokens, targets)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def fsdp(shape: Shape, batches: Batches, stamp: Stamp) -> None:
    """torch's FSDP2."""
    model = Decoder(shape)
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=shape.lr)
    for tokens, targets in batches:
        stamp()
        loss = model(tokens, targets)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def zero(shape: Shape, batches: Batches, stamp: Stamp, stage: int, batch: int) -> None:
    """DeepSpeed; imported and told of its accelerator already."""
    import deepspeed

    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": batch,
        "gradient_clipping": 1.0,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**31,
    }
    model = Decoder(shape)
    optimizer = torch.optim.AdamW(model.parameters(), lr=shape.lr)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    for tokens, targets in batches:
        stamp()
        loss = engine(tokens, targets)
        engine.backward(loss)
        engine.step()
