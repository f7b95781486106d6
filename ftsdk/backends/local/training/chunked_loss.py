"""Cross-entropy straight from hidden states, a few rows of logits at a time.

The logits of a whole batch are the largest tensor of a step (tokens x vocabulary, in float32,
three times over). Made in pieces that stay in the cache, and turned into the gradient at once,
they cost a fraction of the time and next to no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["head_loss"]

PIECE_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30}
"""Size of one piece of float32 logits: what a processor's cache holds, or a GPU is busy with."""


def head_loss(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Summed cross-entropy, in nats, of `hidden` [n, d] through a head [vocabulary, d]."""
    loss: Tensor = _HeadLoss.apply(hidden, weight, bias, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]  # torch leaves it so
    return loss


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        learning: bool,
    ) -> Tensor:
        wanted = PIECE_BYTES.get(hidden.device.type, 64 << 20)
        size = max(16, wanted // (4 * weight.shape[0]))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        d_hidden = torch.empty_like(hidden) if learning else None
        d_weight = (
            torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        )
        d_bias = (
            torch.zeros_like(bias, dtype=torch.float32)
            if bias is not None and ctx.needs_input_grad[2]
            else None
        )
        for start in range(0, hidden.shape[0], size):
            piece, wants = hidden[start : start + size], targets[start : start + size, None]
            logits = torch.nn.functional.linear(piece, weight, bias)
            scores = torch.log_softmax(logits, -1, dtype=torch.float32)
            total -= scores.gather(1, wants).sum()
            if d_hidden is None:
                continue
            chances = scores.exp_()
            chances.scatter_add_(1, wants, chances.new_full(wants.shape, -1.0))
            slope = chances.to(weight.dtype)
            torch.mm(slope, weight, out=d_hidden[start : start + size])
            if d_weight is not None:
                d_weight += slope.t() @ piece
            if d_bias is not None:
                d_bias += chances.sum(0)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0]
        parts = [None if part is None else part * scale for part in ctx.saved_tensors]
        return parts[0], parts[1], parts[2], None, None
