"""Distributed data parallel: every rank holds the whole model, trains on its share of each batch, and the gradients are averaged.

    python -m training.ddp --steps 50                                                    # alone
    torchrun --standalone --nproc-per-node 2 -m training.ddp --steps 50                  # two ranks on this machine
    torchrun --nnodes 2 --node-rank N --master-addr HOST --master-port 29500 --nproc-per-node 8 -m training.ddp --model 1b

In a pod of a PyTorchJob or a TrainJob the operator sets PET_* or MASTER_*, and `torchrun -m training.ddp` needs no more. With
--max-restarts set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 as well: torch 2.13 otherwise loses about every second restart over gloo.
gloo and fp32 on CPUs, nccl and bf16 on GPUs. `--help` has the flags; docs/training.md has the output and the exit codes.
"""

import math
import sys
from time import perf_counter

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from training import ranks
from training.data import Stream
from training.model import PRESETS, Decoder, flops_per_token, parameter_count
from training.optimizer import adamw, rate_at, set_rate
from training.options import Options, pick_precision, read_options
from training.ranks import Agreement, Rank, Stop
from training.report import Report, Work, peak_flops


def train(options: Options, rank: Rank) -> int:
    """Train to the last step, the first signal or the first loss that is not finite; the exit code that says which."""
    shape, precision = PRESETS[options.model], pick_precision(options.precision, rank.device)
    stream = Stream(options.seed, shape.vocab, shape.context, options.batch, rank.rank, rank.world_size)

    torch.manual_seed(options.seed)
    model = Decoder(shape).to(rank.device)
    if options.compile:
        model.compile()
    optimizer = adamw(model, rank.device)
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True)

    gradient_bytes = sum(p.numel() * p.element_size() for p in model.parameters()) if rank.world_size > 1 else 0
    peak = peak_flops(rank, precision)
    work = Work("ddp", options.steps, options.batch * shape.context, gradient_bytes, flops_per_token(model, shape), peak)
    report = Report(rank, work, options.log_json, options.metrics_port)
    with report, Stop(options.grace_seconds, rank.rank) as stop:
        report.start(**described(options, model, precision), global_batch=options.batch * rank.world_size)
        for step in range(1, options.steps + 1):
            began = perf_counter()
            stop.wait(options.step_pause_seconds)

            fetching = perf_counter()
            tokens, targets = (part.to(rank.device) for part in stream.batch_at(step))

            computing = perf_counter()
            with torch.autocast(rank.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                loss = replica(tokens, targets)
            agreement = Agreement(loss, stop)
            loss.backward()
            grad_norm = clip_grad_norm_(model.parameters(), options.clip or math.inf).item()
            mean_loss, ranks_not_finite, stopping = agreement.result()

            if not (math.isfinite(mean_loss) and math.isfinite(grad_norm)):
                return not_finite(report, step, mean_loss, grad_norm, ranks_not_finite)

            lr = rate_at(step, options.steps, shape.lr if options.lr is None else options.lr, options.warmup)
            set_rate(optimizer, lr)
            optimizer.step()
            optimizer.zero_grad()

            done = perf_counter()
            seconds = {"step_seconds": done - began, "data_seconds": computing - fetching, "compute_seconds": done - computing}
            report.step(step, loss=mean_loss, lr=lr, grad_norm=grad_norm, **seconds)
            if stopping and step < options.steps:
                report.close("stopped", exit_code=stop.exit_code)
                return stop.exit_code
        report.close("end")
    return 0


def described(options: Options, model: Decoder, precision: torch.dtype) -> dict[str, object]:
    """What the start line says of the model and its data."""
    of_model = {"model": options.model, "parameters": parameter_count(model), "precision": str(precision).removeprefix("torch.")}
    return {**of_model, "context": model.shape.context, "seed": options.seed}


def not_finite(report: Report, step: int, loss: float, grad_norm: float, ranks_not_finite: int) -> int:
    """Say on rank 0 what broke and where; the weights still are those of the step before."""
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient norm is {grad_norm}"
    where = f"on {ranks_not_finite} of {report.rank.world_size} ranks " if ranks_not_finite else ""
    if report.rank.rank == 0:
        print(f"error: {what} {where}at step {step} (last finite loss {report.loss_last}); try a lower --lr", file=sys.stderr, flush=True)
    report.close("failed", reason=f"{what} at step {step}", exit_code=ranks.NOT_FINITE)
    return ranks.NOT_FINITE


def main() -> int:
    options = read_options("ddp", sys.argv[1:])
    rank = ranks.join(options)
    code = train(options, rank)
    ranks.leave()
    return code


if __name__ == "__main__":
    ranks.run(main)
