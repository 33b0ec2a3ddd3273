"""What a run carries besides its weights: random number generators, its code, and the versions under it."""

import platform
import sys
from hashlib import blake2b
from pathlib import Path

import torch


def generators() -> dict[str, torch.Tensor]:
    """The state of this rank's random number generators."""
    on_gpu = {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"cpu": torch.get_rng_state(), **on_gpu}


def restore(state: dict[str, torch.Tensor]) -> None:
    """Set the generators to what `generators` returned."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def code_checksum() -> str:
    """Of the files of training/ and of the script that was started."""
    files = {*Path(__file__).parent.glob("*.py"), *filter(Path.is_file, [Path(sys.argv[0])])}
    digest = blake2b(digest_size=16)
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python, torch and, where it runs, DeepSpeed."""
    deepspeed = {"deepspeed": str(sys.modules["deepspeed"].__version__)} if "deepspeed" in sys.modules else {}
    return {"python": platform.python_version(), "torch": str(torch.__version__), **deepspeed}
