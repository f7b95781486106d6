"""The memory that a run may take on this machine."""

from __future__ import annotations

import torch

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.training.footprint.bound import (
    CPU_SHARE,
    CUDA_SHARE,
    DATA_BYTES,
    PROCESS_BYTES,
    free_room,
)
from ftsdk.backends.local.training.footprint.planner import Room
from ftsdk.util.machine_memory import free_bytes as machine_free_bytes
from ftsdk.util.machine_memory import machine_bytes, resident_bytes

_CUDA_PROCESS = 600 << 20
"""The CUDA context and the workspaces of its libraries, outside torch's allocator."""
_OWN_CONTEXT = 256 << 20
"""What the context of this process has taken at least of what was free."""
_PINNED_SHARE = 0.5
"""The share of the machine's free memory that may be pinned for a GPU: no other program gets it."""
FIRST_USE = 56 << 20
"""Code and buffers of the math libraries that are not there before they compute."""


def room_of(hardware: Hardware, *, data_tokens: int = 0) -> Room:
    """The room of the device that a trainer would take here.

    `data_tokens` are those of rows that this process has in memory already.
    """
    if hardware.on_cuda:
        properties = torch.cuda.get_device_properties(hardware.device)
        total = round(CUDA_SHARE * int(properties.total_memory))
        free = torch.cuda.mem_get_info(hardware.device)[0]
        free = min(total, round(CUDA_SHARE * (free + _OWN_CONTEXT)))
        beside = machine_free_bytes()
        beside = None if beside is None else round(_PINNED_SHARE * beside)
        return Room("cuda", properties.name, total, _CUDA_PROCESS, free, beside)
    process = process_bytes() - DATA_BYTES * data_tokens
    process = max(process, PROCESS_BYTES // 2)
    total_bytes = machine_bytes()
    if total_bytes is None:
        raise RuntimeError("the system does not say how much memory this machine has")
    room, free_now = round(CPU_SHARE * total_bytes), free_room(total_bytes, resident_bytes() or 0)
    return Room("cpu", "memory of this machine", room, process, free_now)


def card_of(memory_bytes: int) -> Room:
    """The room of a CUDA card with this much memory."""
    name = f"a card of {memory_bytes / 1e9:.0f} GB"
    return Room("cuda", name, round(CUDA_SHARE * memory_bytes), _CUDA_PROCESS)


def process_bytes() -> int:
    """What a trainer takes before it loads a model: that of this process, which has imported the same."""
    found = resident_bytes()
    return PROCESS_BYTES if found is None else found + FIRST_USE
