"""How much memory the trainer uses now."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_STATM = Path("/proc/self/statm")


def memory_bytes(device: torch.device) -> int:
    """Bytes that torch has allocated on a GPU, or that this process has in the machine's memory.

    Where the system does not report the latter (it is not Linux), the most so far.
    """
    import torch

    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * os.sysconf("SC_PAGE_SIZE")
