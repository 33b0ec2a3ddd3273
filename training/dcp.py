"""The state of a model and its optimizer in torch's distributed checkpoint: one format for DDP, FSDP2 and any number of ranks.

Every parameter is `model.NAME`, every tensor the optimizer keeps of it `optimizer.NAME.SLOT`, whole or sharded; names are those of the
bare model, so what one strategy wrote another one reads.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.futures import Future

from training.manifest import Manifest
from training.model import shapes_of
from training.stores import line_of


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class Writer(dcp.FileSystemWriter):
    """DCP's own, with the operating system's word where it fails: torch's archive hides it behind its own complaint."""

    def write_data(self, plan: dcp.SavePlan, planner: dcp.SavePlanner) -> Future[list[Any]]:
        try:
            return super().write_data(plan, planner)
        except (OSError, RuntimeError) as error:
            raise OSError(line_of(error)) from None


class Dcp:
    """A model whose parameters are this process's own: bare, replicated by DDP, or sharded in place by FSDP2."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self._staged: dict[str, Tensor] = {}

    def shapes(self) -> dict[str, list[int]]:
        return shapes_of(self.model)

    def state(self) -> dict[str, Tensor]:
        """The live tensors by their names in the checkpoint."""
        kept = {f"model.{name}": value for name, value in self.model.state_dict(keep_vars=True).items() if not isinstance(value, nn.Parameter)}
        for name, parameter in self.model.named_parameters():
            kept[f"model.{name}"] = parameter.detach()
            kept |= {f"optimizer.{name}.{slot}": value for slot, value in self.optimizer.state[parameter].items()}
        return kept

    @torch.no_grad()
    def stage(self, folder: Path, group: dist.ProcessGroup) -> Callable[[], None]:
        """Copy the state into buffers on the host, made once; the write that follows takes it from there."""
        live = self.state()
        if self._staged.keys() != live.keys():
            pinned = torch.cuda.is_available()
            self._staged = {name: torch.empty_like(value, device="cpu", pin_memory=pinned) for name, value in live.items()}
        for name, value in live.items():
            local(self._staged[name]).copy_(local(value), non_blocking=True)
        if torch.cuda.is_available():
            torch.cuda.current_stream().synchronize()
        return lambda: dcp.save(self._staged, storage_writer=Writer(folder), process_group=group)

    def owns(self, path: str, rank: int) -> bool:
        """Data files carry their rank; the metadata and whatever else there is are rank 0's."""
        match = re.match(r"__(\d+)_", path)
        return int(match[1]) == rank if match else rank == 0

    def load(self, folder: Path, manifest: Manifest, group: dist.ProcessGroup) -> None:
        prime(self.optimizer)
        dcp.load(self.state(), storage_reader=dcp.FileSystemReader(folder), process_group=group)


def prime(optimizer: torch.optim.Optimizer) -> None:
    """Make an optimizer allocate its state, by a step that changes nothing."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
