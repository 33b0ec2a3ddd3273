"""How large /dev/shm is: a GiB a rank for NCCL and torch, and what the loader processes hold ready in it."""

from __future__ import annotations

import math
import re
from typing import Any

from actions.core.model_sizes import SIZES
from actions.core.sizing import GIB, SHM_PER_RANK_BYTES
from cockpit.errors import BadInput

MIB = 1 << 20
TOKEN_BYTES = 8
"""int64, twice: tokens and targets."""
SIZE = re.compile(r"([1-9][0-9]{0,6})(Mi|Gi)")


def shm_bytes(params: Any) -> int | None:
    """Bytes of /dev/shm in one pod: as it is told, else ranks x (a GiB + workers x prefetch x batch); None leaves the default."""
    if params.shm:
        found = SIZE.fullmatch(params.shm)
        if found is None:
            raise BadInput(f"--shm {params.shm!r}", "a size as 512Mi or 16Gi")
        return int(found[1]) * (GIB if found[2] == "Gi" else MIB)
    if not params.workers:
        return None
    ready = params.workers * params.prefetch * _batch_bytes(params)
    return math.ceil(params.nproc * (SHM_PER_RANK_BYTES + ready) / GIB) * GIB


def _batch_bytes(params: Any) -> float:
    """One rank's batch as a loader hands it over."""
    if params.batch_mib is not None:
        return float(params.batch_mib) * MIB
    size = SIZES.get(params.model)
    return 2 * TOKEN_BYTES * size.context * size.batch if size else MIB
