"""A user's own training: a plain torch loop that takes from cockpit its checkpoints and its report, and nothing else.

torchrun --standalone --nproc-per-node 2 own_script.py CHECKPOINTS STEPS EVERY
"""

import sys
from time import perf_counter

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import Checkpoints, Run
from training.dcp import Dcp
from training.ranks import Rank
from training.report import Report, Work
from training.stores import open_store

BATCH, LR = 8, 1e-2


def samples(step: int, rank: Rank) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step * rank.world_size + rank.rank)
    points = torch.randn(BATCH, 16, generator=generator)
    return points, points.sin().sum(dim=1, keepdim=True)


def main(place: str, steps: int, every: int) -> None:
    dist.init_process_group("gloo")
    rank = Rank.here(torch.device("cpu"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))
    replica = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    saves = Checkpoints(open_store(place), Run("ddp", "sines", seed=0))
    saves.find("auto")
    done = saves.load(Dcp(model, optimizer), global_batch=BATCH * rank.world_size)
    with Report(rank, Work("own-script", steps, tokens=BATCH)) as report:
        saves.tell = report.checkpoint
        report.start(model="sines", resumed_from=done or None)
        for step in range(done + 1, steps + 1):
            began = perf_counter()
            points, wanted = samples(step, rank)
            fetched = perf_counter()
            loss = nn.functional.mse_loss(replica(points), wanted)
            optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            ended = perf_counter()
            seconds = {"step_seconds": ended - began, "data_seconds": fetched - began, "compute_seconds": ended - fetched}
            report.step(step, loss=mean.item() / rank.world_size, lr=LR, grad_norm=norm.item(), **seconds)
            if step % every == 0 or step == steps:
                saves.save(step)
        saves.wait()
        report.close("end")
    saves.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
