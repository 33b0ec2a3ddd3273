"""A script that takes training.checkpoint and training.report survives a kill as the programs do."""

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.manifest import WHOLE, FolderPlace, verdicts

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SCRIPT = str(Path(__file__).with_name("own_script.py"))


def losses(job) -> dict[int, str]:
    return {line["step"]: line["loss"].hex() for line in job.steps() if line["rank"] == 0}


def test_it_reports_and_goes_on_bit_for_bit_after_a_kill(start, tmp_path):
    place = tmp_path / "place"
    first = start(*TORCHRUN, SCRIPT, str(place), "1000000", "20")
    first.until(lambda: any(one.state == WHOLE for one in verdicts(FolderPlace(place), "sizes")) if place.exists() else False)
    victim = next(line["pid"] for line in first.events("start") if line["rank"] == 1)
    os.kill(victim, signal.SIGKILL)
    assert first.wait() == 1
    kept = max(one.step for one in verdicts(FolderPlace(place), "full") if one.state == WHOLE)

    steps = str(kept + 30)
    second = start(*TORCHRUN, SCRIPT, str(place), steps, "20")
    assert second.wait() == 0
    alone = start(*TORCHRUN, SCRIPT, str(tmp_path / "alone"), steps, "20")
    assert alone.wait() == 0
    assert {line["resumed_from"] for line in second.events("start")} == {kept}
    assert losses(first) | losses(second) == losses(alone) | {step: loss for step, loss in losses(first).items() if step > kept + 30}
    assert second.events("checkpoint")[-1]["state"] == "whole"
    assert {line["rank"] for line in second.steps()} == {0, 1}
