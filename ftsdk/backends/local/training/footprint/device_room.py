"""The memory that a run may take on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.training.footprint.bound import (
    CPU_SHARE,
    PROCESS_BYTES,
    machine_bytes,
)
from ftsdk.backends.local.training.footprint.planner import Room

_CUDA_SHARE = 0.98
_CUDA_PROCESS = 600 << 20
"""The CUDA context and the workspaces of its libraries, outside torch's allocator."""
FIRST_USE = 56 << 20
"""Code and buffers of the math libraries that are not there before they compute."""


def room_of(hardware: Hardware) -> Room:
    """The room of the device that a trainer would take here."""
    if hardware.on_cuda:
        properties = torch.cuda.get_device_properties(hardware.device)
        total = int(properties.total_memory)
        return Room("cuda", properties.name, round(_CUDA_SHARE * total), _CUDA_PROCESS)
    total = machine_bytes()
    return Room("cpu", "memory of this machine", round(CPU_SHARE * total), process_bytes())


def card_of(memory_bytes: int) -> Room:
    """The room of a CUDA card with this much memory."""
    name = f"a card of {memory_bytes / 1e9:.0f} GB"
    return Room("cuda", name, round(_CUDA_SHARE * memory_bytes), _CUDA_PROCESS)


def process_bytes() -> int:
    """What a trainer takes before it loads a model: that of this process, which has imported the same."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # only Linux has it
        return PROCESS_BYTES
    return pages * os.sysconf("SC_PAGE_SIZE") + FIRST_USE
