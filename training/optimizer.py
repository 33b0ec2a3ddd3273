"""AdamW and its learning rate: a linear warm-up, then half a cosine down to a tenth."""

import math

import torch
from torch import nn

FLOOR = 0.1  # share of the peak rate at the last step


def adamw(model: nn.Module, device: torch.device) -> torch.optim.AdamW:
    """AdamW that decays matrices only (not the norms), fused on a GPU; its rate is set step by step with `set_rate`."""
    dims = {parameter: len(getattr(parameter, "ds_shape", parameter.shape)) for parameter in model.parameters()}  # DeepSpeed: as it was whole
    matrices = [parameter for parameter, dim in dims.items() if dim >= 2]
    vectors = [parameter for parameter, dim in dims.items() if dim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=device.type == "cuda")


def rate_at(step: int, steps: int, peak: float, warmup: int | None = None) -> float:
    """Learning rate of `step` (1 to steps); warm-up defaults to a tenth of the steps, at most 100."""
    warmup = min(100, steps // 10) if warmup is None else min(warmup, steps)
    if step <= warmup:
        return peak * step / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
