"""How much memory the trainer uses now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.util.machine_memory import most_resident_bytes, resident_bytes

if TYPE_CHECKING:
    import torch


def memory_bytes(device: torch.device) -> int:
    """Bytes that torch has allocated on a GPU, or that this process has in the machine's memory.

    Where the system does not report the latter (it is not Linux), the most so far.
    """
    import torch

    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.current_allocated_memory())
    return resident_bytes() or most_resident_bytes() or 0
