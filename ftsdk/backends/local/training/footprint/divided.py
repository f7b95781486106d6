"""The memory of one process where several divide the weights (FSDP2)."""

from __future__ import annotations

from typing import Any

from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.backends.local.training.footprint.simulate import Way

_DIVIDED = (
    "layers in ",
    "embeddings and head",
    "trained weights",
    "adapter",
    "gradients and AdamW",
)
"""How the names of the items begin that each process has its share of."""
_AT_ONCE = 2
"""Layers that are gathered at once: one that computes, and the next one."""
_SUM_BYTES = 4
"""Bytes of a number in the sum of gradients, which is in float32."""


def divided(plan: MemoryPlan, gathered_bytes: int, processes: int, most: int) -> MemoryPlan:
    """The plan of one of so many processes, from that of a process which has all weights.

    `gathered_bytes` are those of whole weights while they compute; it fits in `most` bytes or not.
    """
    items = {
        name: -(-count // processes) if name.startswith(_DIVIDED) else count
        for name, count in plan.items.items()
    }
    items["weights gathered to compute"] = gathered_bytes
    return plan.model_copy(
        update={
            "items": items,
            "fits": sum(items.values()) <= most,
            "sharding": "fsdp",
            "processes": processes,
        }
    )


def gathered_bytes(network: Any, way: Way) -> int:
    """The most bytes of whole weights, and of their gradients, that a process has at a time.

    The largest layers, and what is outside of layers for as long as a pass takes.
    """
    names = set(getattr(network, "_no_split_modules", None) or ())
    layers = [module for module in network.modules() if type(module).__name__ in names]
    sizes = sorted((_count(layer) for layer in layers), reverse=True)
    outside = _count(network) - sum(sizes)
    width = way.dtype.itemsize
    weights = (sum(sizes[:_AT_ONCE]) + outside) * width
    if way.adapter is not None:
        return weights
    return weights + (sum(sizes[:1]) + outside) * (width + _SUM_BYTES)


def _count(module: Any) -> int:
    """The weights of a module; tied ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())
