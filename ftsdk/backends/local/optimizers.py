"""The optimizers of the local trainer, and the memory that they take for each trained weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]

BLOCK = 256
"""Weights whose 8-bit averages share a scale."""
_EIGHT_BIT = 2 * (1 + 4 / BLOCK)

AVERAGES_BYTES: Mapping[OptimizerName, float] = {
    "adamw": 8.0,
    "adamw_8bit": _EIGHT_BIT,
    "paged_adamw_8bit": _EIGHT_BIT,
}
"""Bytes for each trained weight that AdamW's two averages take: float32, or a byte each and a
float32 scale for each block. Norms and biases, a thousandth of the weights, keep 8 bytes."""


def trained_weight_bytes(optimizer: OptimizerName, width: int) -> float:
    """Bytes that a trained weight takes in all, where the model computes with `width` bytes.

    The copy that computes and its gradient, a float32 weight and gradient beside them where the
    copy is shorter, and the averages: 20 bytes in bf16 with `adamw` and 14.03 with `adamw_8bit`, 16
    and 10.03 in float32.
    """
    beside = 8 if width < 4 else 0
    return 2 * width + beside + AVERAGES_BYTES[optimizer]
