"""The device and the number format that this machine computes best with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk.errors import Unsupported

if TYPE_CHECKING:
    import torch

_FAST_BF16 = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm BF16"}
"""Processor flags with the names of their instruction sets, the fastest first."""


_DTYPES = {
    "bf16": "bfloat16",
    "bfloat16": "bfloat16",
    "fp16": "float16",
    "float16": "float16",
    "fp32": "float32",
    "float32": "float32",
}
"""Torch's name of each number format that can be asked for."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Device, number format and threads to compute with; `why` is one line for the event log."""

    device: torch.device
    dtype: torch.dtype
    threads: int
    why: str

    @property
    def dtype_name(self) -> str:
        """The number format as the option `dtype` names it: `bfloat16`, `float16` or `float32`."""
        return str(self.dtype).removeprefix("torch.")

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


def has_fast_float16(capability: tuple[int, int]) -> bool:
    """Whether an NVIDIA GPU of this compute capability is faster in float16 than in float32.

    All since Volta are, and of those before the P100 and two Tegras. The GTX 10xx (6.1) compute
    float16 at a 64th of the rate. Source: the table of arithmetic throughput in NVIDIA's CUDA C++
    Programming Guide.
    """
    return capability >= (7, 0) or capability in ((5, 3), (6, 0), (6, 2))


def choose_hardware(
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    *,
    unchecked: str | None = None,
) -> Hardware:
    """Return what to compute with; `auto` chooses the best there is.

    `threads` sets torch's threads in this process; None keeps them. An Apple GPU is chosen where it
    computes as the processor does, and not for what is `unchecked` on it, by name; raises
    `Unsupported` where it is asked for and cannot be used.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    unused = ""
    if device == "auto":
        device, unused = _best_device(dtype, unchecked)
    elif device == "mps" and (fault := _apple_gpu_fault(dtype, unchecked)):
        raise Unsupported(
            f"The Apple GPU cannot be used: {fault}.",
            where="local training, option device",
            hint="leave device out, or set it to 'cpu'",
        )
    chosen = torch.device(device)
    count = torch.get_num_threads()
    if dtype == "auto":
        best, reason = _best_dtype(chosen)
        return Hardware(chosen, best, count, f"{_describe(chosen)}, {reason}{unused}")
    why = f"{_describe(chosen)}, {dtype} as asked{unused}"
    return Hardware(chosen, getattr(torch, _DTYPES[dtype]), count, why)


def _best_device(dtype: str, unchecked: str | None) -> tuple[str, str]:
    """The device that `auto` takes, and why an Apple GPU is not it, where there is one."""
    import torch

    if torch.cuda.is_available():
        return "cuda", ""
    if not torch.backends.mps.is_available():
        return "cpu", ""
    fault = _apple_gpu_fault(dtype, unchecked)
    return ("mps", "") if fault is None else ("cpu", f"; the Apple GPU is not used: {fault}")


def _apple_gpu_fault(dtype: str, unchecked: str | None) -> str | None:
    import torch

    if not torch.backends.mps.is_available():
        return "there is none here"
    if unchecked:
        return f"{unchecked} is not checked on it"
    from ftsdk.backends.local.compute.apple_gpu import apple_gpu_fault

    return apple_gpu_fault(getattr(torch, _DTYPES.get(dtype, "float32")))


def _best_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The number format for a device, and why."""
    import torch

    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "bf16"
        if has_fast_float16(torch.cuda.get_device_capability(device)):
            return torch.float16, "float16 (this GPU computes bf16 only by emulation)"
        return torch.float32, "float32 (this GPU is slow at bf16 and at float16)"
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
    return "the Apple GPU" if device.type == "mps" else device.type
