"""DeepSpeed ZeRO: the optimizer (stage 1), the gradients too (2) or the weights as well (3) are split over the ranks.

    torchrun --standalone --nproc-per-node 2 -m training.zero --stage 2 --steps 50                       # two ranks on this machine
    torchrun --standalone --nproc-per-node 4 -m training.zero --stage 3 --offload all --model 8b         # four GPUs, host memory besides

--offload optimizer keeps the optimizer in host memory and steps there; all (stage 3) keeps the weights there too.
In stage 3 the model is built under zero.Init: no rank ever holds the whole of it.

It needs DeepSpeed (pip install 'cockpit[deepspeed]') and no compiler: the optimizer is torch's, and the one extension DeepSpeed would
build to start on CPUs serves inference only and is left out. `--help` has the flags; docs/training.md has the output and the exit codes.
"""

import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training import agreement, loop
from training.agreement import Outcome
from training.checkpoint import CannotResume
from training.loop import Batch, Trainee
from training.manifest import Manifest, entry_of
from training.model import shapes_of
from training.optimizer import adamw, set_rate
from training.options import Options, pick_precision, refuse
from training.ranks import Rank
from training.stores import line_of

TAG = "deepspeed"  # the folder that DeepSpeed makes in a checkpoint
MUON = "deepspeed.runtime.zero.muon.muon_optimizer"


def engage(options: Options, rank: Rank) -> Trainee:
    """The model inside a DeepSpeed engine, which splits it, reduces its gradients and steps its optimizer."""
    precision = pick_precision(options.precision, rank.device)
    if options.offload == "all" and options.stage != 3:
        refuse(f"--offload all moves weights, which only --stage 3 splits; stage {options.stage} takes --offload optimizer")
    deepspeed = imported(rank)
    config = configuration(options, rank, precision)

    torch.manual_seed(options.seed)
    with quiet():
        deepspeed.init_distributed(dist_backend=rank.backend)
        with options.blueprint.split(config) if options.stage == 3 else contextlib.nullcontext():
            model = options.blueprint.build()
        offloaded = options.offload != "none"
        optimizer = adamw(model, torch.device("cpu") if offloaded else rank.device)
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    if options.compile:
        engine.compile()

    def step(batches: list[Batch], asked: Callable[[], bool], rate: float) -> Outcome:
        set_rate(engine.optimizer, rate)
        mean = torch.zeros((), device=rank.device)
        for number, batch in enumerate(batches, start=1):
            loss = options.blueprint.loss(engine, *batch)
            mean += loss.detach() / len(batches)
            if number == len(batches):
                votes = agreement.vote(mean, asked())
                counting = dist.all_reduce(votes, async_op=True)
            engine.backward(loss)  # which divides it by the number of batches
            engine.step()  # which updates after the last of them
        counting.wait()
        norm = engine.get_global_grad_norm()
        return agreement.outcome((votes / rank.world_size).tolist(), math.nan if norm is None else float(norm), rank.world_size)

    element = 2 if precision == torch.bfloat16 else 4
    reduced = element * sum(math.prod(shape) for shape in shapes_of(model).values()) if rank.world_size > 1 else 0
    return Trainee("zero", model, precision, step, DeepSpeedFormat(engine, model, options.stage), reduced)


def imported(rank: Rank) -> ModuleType:
    """DeepSpeed, told which accelerator there is before it looks for one."""
    os.environ.setdefault("DS_ACCELERATOR", rank.device.type)
    os.environ.setdefault("LOCAL_RANK", str(rank.local_rank))  # it asks for it even when there is one rank
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # it calls collectives by their old names
    try:
        with quiet():
            import deepspeed
            import deepspeed.ops
    except ImportError as error:
        refuse(f"training.zero needs DeepSpeed: {error}; pip install 'cockpit[deepspeed]'")
    muon = ModuleType(MUON)
    muon.__dict__["MuonWithAuxAdam"] = type("MuonWithAuxAdam", (), {})
    sys.modules.setdefault(MUON, muon)  # it is imported only to ask whether our optimizer is one, and loads torch's whole compiler: 3 s
    if rank.device.type == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it is compiled now: 45 s, or an error without g++ and ninja
    return deepspeed


def configuration(options: Options, rank: Rank, precision: torch.dtype) -> dict[str, Any]:
    """DeepSpeed's own configuration of this run."""
    zero: dict[str, Any] = {"stage": options.stage}
    if options.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": rank.device.type == "cuda"}
    if options.offload == "all":
        zero["offload_param"] = {"device": "cpu", "pin_memory": rank.device.type == "cuda"}
    return {
        "train_micro_batch_size_per_gpu": options.micro_batch,
        "gradient_accumulation_steps": options.accumulate,
        "gradient_clipping": options.clip,
        "bf16": {"enabled": precision == torch.bfloat16},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,  # torch's AdamW, also where
        "zero_force_ds_cpu_optimizer": False,  # it is offloaded: DeepSpeed's own is compiled for minutes
        "steps_per_print": 2**31,
    }


class DeepSpeedFormat:
    """A checkpoint as DeepSpeed writes it, and its universal format where the number of ranks has changed."""

    def __init__(self, engine: Any, model: nn.Module, stage: int) -> None:
        self.engine, self.model, self.stage_of_zero = engine, model, stage

    def shapes(self) -> dict[str, list[int]]:
        return shapes_of(self.model)

    def stage(self, folder: Path, group: dist.ProcessGroup) -> Callable[[], None]:
        """Write at once, all ranks together; what fails on one is told when it is asked, since the others wait in DeepSpeed's barriers."""
        problems: list[Exception] = []
        writer = self.engine.checkpoint_engine
        write = writer.save

        def save(state_dict: Any, path: str) -> None:
            try:
                with open(path, "wb") as file:  # one of Python's: torch's own hides the operating system's word where it fails
                    write(state_dict, file)
            except (OSError, RuntimeError) as error:
                problems.append(error)

        writer.save = save
        try:
            with quiet():
                self.engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)
        finally:
            del writer.save

        def told() -> None:
            if problems:
                raise problems[0]

        return told

    def owns(self, path: str, rank: int) -> bool:
        """Files of the optimizer and of stage 3's weights carry their rank; the rest is rank 0's."""
        match = re.search(r"zero_pp_rank_(\d+)_", path)
        return int(match[1]) == rank if match else rank == 0

    def load(self, folder: Path, manifest: Manifest, group: dist.ProcessGroup) -> None:
        if manifest.world_size == dist.get_world_size() and manifest.stage == self.stage_of_zero:
            self._load(folder, TAG)
            return
        universal, mine, problem = folder.parent / f".{entry_of(manifest.step)}.tmp-universal", False, ""
        with contextlib.suppress(FileExistsError):
            universal.mkdir()  # one rank of all that see this folder comes first
            mine, problem = True, convert(folder / TAG, universal / TAG, manifest.stage)
        problems: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(problems, problem, group=group)
        if any(problems):
            raise CannotResume(next(filter(None, problems)))
        self._load_universal(universal)
        dist.barrier(group=group)
        if mine:
            shutil.rmtree(universal)

    def _load_universal(self, folder: Path) -> None:
        """Load, and mend what stage 3 then gets wrong: it gives all groups the first one's weight decay, and one counter of steps to share."""
        torchs = self.engine.optimizer.optimizer
        own = [{name: value for name, value in group.items() if name != "params"} for group in torchs.param_groups]
        self.engine._config.load_universal_checkpoint = True
        self._load(folder, TAG)
        for group, mine in zip(torchs.param_groups, own, strict=True):
            group.update(mine)
        for state in torchs.state.values():
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].clone()

    def _load(self, folder: Path, tag: str) -> None:
        with quiet():
            path, _ = self.engine.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise CannotResume(f"DeepSpeed finds no checkpoint in {folder}")


def convert(source: Path, into: Path, stage: int) -> str:
    """Write a checkpoint in the universal format; why that failed, or nothing."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--input_folder", str(source), "--output_folder", str(into)]
    command += ["--inject_missing_state"] if stage < 3 else []
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        return line_of(error)
    said = done.stdout.strip().rsplit("\n", 1)[-1]
    return f"the conversion to DeepSpeed's universal format failed: {said}" if done.returncode else ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Stdout is for the JSON lines: what DeepSpeed prints goes to stderr, without its warnings of torch's future."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    loop.run("zero", engage)
