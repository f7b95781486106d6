"""Options that need a GPU or a package of their own, and why a machine cannot take them.

The first check is made before a job exists, without torch; the trainer checks again on its device.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ftsdk.backends.local.fault import Fault
from ftsdk.backends.local.options import RunOptions
from ftsdk.types.spec import LoRA

_GPU_FILES = ("nvidia[0-9]*", "nvhost-gpu", "dxg", "kfd")
"""Device files of NVIDIA's drivers, of WSL and of ROCm."""


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether this machine may have a GPU that torch calls `cuda`, by its device files."""
    return any(True for pattern in _GPU_FILES for _ in devices.glob(pattern))


def planned_device(options: RunOptions) -> str:
    """The device type that a trainer would take here, as far as can be known without torch."""
    if options.device != "auto":
        return options.device.partition(":")[0]
    return "cuda" if may_have_gpu() else "cpu"


def device_faults(options: RunOptions, device: str) -> Iterator[Fault]:
    """Yield each option that a device of this type (`cpu`, `cuda`, `mps`) cannot take."""
    optimizer = options.optimizer
    if options.offload_activations and device != "cuda":
        yield Fault(
            f"option offload_activations=True on the device {device!r}, which has no memory of its own",
            "leave offload_activations out",
        )
    if options.kernels == "compiled" and device != "cpu":
        yield Fault(
            f"option kernels='compiled' on the device {device!r}: they are made for processors",
            "leave kernels out, or set device='cpu'",
        )
    if optimizer == "adamw":
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        yield Fault(
            f"option optimizer={optimizer!r} without the package bitsandbytes",
            "run `pip install 'ftsdk[local]'`, or leave optimizer out",
        )
    if device == "mps":
        yield Fault(
            f"option optimizer={optimizer!r} on the device 'mps', which bitsandbytes does not support",
            "choose optimizer='adamw'",
        )
    elif optimizer == "paged_adamw_8bit" and device != "cuda":
        yield Fault(
            f"option optimizer={optimizer!r} on the device {device!r}: only a GPU has pages to move",
            "choose optimizer='adamw_8bit'",
        )


def sharding_of(options: RunOptions, adapter: LoRA | None) -> Literal["ddp", "fsdp"] | None:
    """What processes divide; None where the planner may choose."""
    if options.sharding is not None:
        return options.sharding
    divides = options.model_copy(update={"sharding": "fsdp"})
    return "ddp" if any(sharding_faults(divides, adapter)) else None


def sharding_faults(options: RunOptions, adapter: LoRA | None) -> Iterator[Fault]:
    """Yield each setting that cannot be used where processes divide the weights."""
    if options.sharding != "fsdp":
        return
    hint = "choose sharding='ddp', or leave the other setting out"
    if adapter is not None and adapter.quantize is not None:
        yield Fault(f"sharding='fsdp' of weights in {adapter.quantize}", hint)
    if options.optimizer != "adamw":
        yield Fault(f"sharding='fsdp' with optimizer={options.optimizer!r}", hint)
    if options.offload_activations:
        yield Fault("sharding='fsdp' with offload_activations", hint)
