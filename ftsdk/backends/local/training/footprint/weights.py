"""The bytes of a model's weights by kind, and of the optimizer; from a network without memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from ftsdk.backends.local.optimizers import trained_weight_bytes
from ftsdk.backends.local.training.footprint.simulate import Way

_NF4_EXTRA = 2 * 1024
"""Bytes of code tables that bitsandbytes keeps for each packed matrix."""


def weight_items(network: Any, way: Way) -> dict[str, int]:
    """The bytes of the base model's weights and buffers, by kind. Tied ones count once."""
    head = network.get_output_embeddings()
    size = way.dtype.itemsize
    ends = f"embeddings and head, {_short(way.dtype)}"
    found = {"layers in NF4": 0, ends: 0, f"layers in {_short(way.dtype)}": 0}
    seen = set()
    for module in network.modules():
        is_end = module is head or isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            count = parameter.numel()
            if is_end:
                found[ends] += count * size
            elif way.packed and isinstance(module, torch.nn.Linear) and parameter.ndim == 2:
                found["layers in NF4"] += _packed_bytes(count)
            else:
                found[f"layers in {_short(way.dtype)}"] += count * size
    others = sum(buffer.numel() * buffer.element_size() for buffer in network.buffers())
    found[f"layers in {_short(way.dtype)}"] += others
    return {name: count for name, count in found.items() if count}


def _packed_bytes(count: int) -> int:
    """4 bits a weight, 8 for each 64 of them, 32 for each 256 of those."""
    blocks = -(-count // 64)
    return -(-count // 2) + blocks + 4 * -(-blocks // 256) + _NF4_EXTRA


def trained_items(count: int, way: Way) -> Mapping[str, int]:
    """The bytes of `count` trained weights: the copy that computes, and what `FlatAdamW` keeps.

    A gradient of each micro-batch, and where the copy is not float32 also the weight and the gradient
    in float32; two averages in the format of the optimizer.
    """
    width = way.dtype.itemsize
    copy = count * width
    name = "trained weights" if way.adapter is None else "adapter"
    whole = math.ceil(count * trained_weight_bytes(way.optimizer, width))
    return {name: copy, "gradients and AdamW": whole - copy}


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.").replace("bfloat16", "bf16")
