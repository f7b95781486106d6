"""The device and the number format that this machine computes best with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_FAST_BF16 = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm BF16"}
"""Processor flags with the names of their instruction sets, the fastest first."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Device, number format and threads to compute with; `why` is one line for the event log."""

    device: torch.device
    dtype: torch.dtype
    threads: int
    why: str

    @property
    def on_cuda(self) -> bool:
        """True on an NVIDIA (or ROCm) device."""
        return self.device.type == "cuda"


def bf16_on_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The instruction set that makes bf16 fast on this processor, or None.

    Without one, bf16 is emulated and slower than float32. Linux lists them in `/proc/cpuinfo`;
    elsewhere the result is None.
    """
    try:
        text = cpuinfo.read_text()
    except OSError:
        return None
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = set(value.split())
            for flag, instruction_set in _FAST_BF16.items():
                if flag in flags:
                    return instruction_set
    return None


def choose_hardware(
    device: str = "auto", dtype: str = "auto", threads: int | None = None
) -> Hardware:
    """Return what to compute with; `auto` chooses the best there is.

    `threads` sets torch's threads in this process; None keeps them.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    unused = ""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cpu" and torch.backends.mps.is_available():
            unused = "; the Apple GPU is not used: resuming to the same bits is not tested on it"
    chosen = torch.device(device)
    count = torch.get_num_threads()
    if dtype == "auto":
        best, reason = _best_dtype(chosen)
        return Hardware(chosen, best, count, f"{_describe(chosen)}, {reason}{unused}")
    known = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16}
    known |= {"fp32": torch.float32, "float32": torch.float32}
    return Hardware(chosen, known[dtype], count, f"{_describe(chosen)}, {dtype} as asked")


def _best_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The number format for a device, and why."""
    import torch

    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "bf16"
        return torch.float32, "float32 (this GPU computes bf16 only by emulation)"
    if device.type == "cpu":
        found = bf16_on_cpu()
        if found:
            return torch.bfloat16, f"bf16 ({found})"
        return torch.float32, "float32 (this processor is slow at bf16)"
    return torch.float32, "float32"


def _describe(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        return f"{torch.get_num_threads()} processor threads"
    return device.type
