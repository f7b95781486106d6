"""What this machine trains best on: the device, and the number format its processor is good at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Hardware", "bf16_on_cpu", "choose"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where and in which format to compute, and why; `why` is one line for the event log."""

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

    Without one, bf16 is emulated and slower than float32. Linux tells it in `/proc/cpuinfo`;
    elsewhere the answer is None.
    """
    try:
        text = cpuinfo.read_text()
    except OSError:
        return None
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags = set(value.split())
            for flag, told in (
                ("amx_bf16", "AMX"),
                ("avx512_bf16", "AVX-512 BF16"),
                ("bf16", "Arm BF16"),
            ):
                if flag in flags:
                    return told
    return None


def choose(options: dict[str, Any]) -> Hardware:
    """Follow `device`, `dtype` and `threads` of the options; `auto` takes the best there is."""
    import torch

    if options.get("threads"):
        torch.set_num_threads(int(options["threads"]))
    wanted = options.get("device") or "auto"
    name = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    device = torch.device(name)
    dtype_name = options.get("dtype") or "auto"
    known = {"bf16": torch.bfloat16, "bfloat16": torch.bfloat16}
    known |= {"fp32": torch.float32, "float32": torch.float32}
    threads = torch.get_num_threads()
    if dtype_name != "auto":
        dtype = known[dtype_name]
        return Hardware(device, dtype, threads, f"{_told(device)}, {dtype_name} as asked")
    dtype, reason = _best_dtype(device)
    return Hardware(device, dtype, threads, f"{_told(device)}, {reason}")


def _best_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    import torch

    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bf16"
        return torch.float32, "float32 (this GPU has no bf16)"
    if device.type == "cpu":
        found = bf16_on_cpu()
        if found:
            return torch.bfloat16, f"bf16 ({found})"
        return torch.float32, "float32 (this processor is slow at bf16)"
    return torch.float32, "float32"


def _told(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return f"GPU {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        return f"{torch.get_num_threads()} processor threads"
    return device.type
