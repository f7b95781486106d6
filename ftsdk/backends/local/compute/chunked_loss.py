"""Cross-entropy computed from hidden states, a chunk of logits at a time.

The logits of a whole batch are the largest tensor of a step (tokens x vocabulary, in float32,
three times over). Computed in chunks that fit the cache, each turned into its gradient at once,
they take a fraction of the time and almost no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from ftsdk.backends.local.compute.simulated_device import device_kind

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
"""Size of one chunk of float32 logits: fits a CPU's cache, or keeps a GPU busy."""


def chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    """Yield the tokens whose logits are computed at once."""
    chunk_bytes = _CHUNK_BYTES.get(device_kind(hidden), 64 << 20)
    size = max(16, chunk_bytes // (4 * weight.shape[0]))
    for start in range(0, hidden.shape[0], size):
        yield slice(start, start + size)


def chunked_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """Return the summed cross-entropy, in nats, as a float32 scalar.

    `hidden` is [n, d], `weight` and `bias` are those of the output head, [vocabulary, d] and
    [vocabulary], `targets` is [n]. `losses` computes the losses of a chunk and their gradient, as
    `pieces.cross_entropy` does.
    """
    learning = torch.is_grad_enabled()
    loss: Tensor = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]  # torch has no types for it
        hidden, weight, bias, targets, learning, losses or _losses
    )
    return loss


def _losses(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each row in nats, [n], and its gradient for the logits; `wanted` is [n, 1]."""
    log_probs = torch.log_softmax(logits, -1, dtype=torch.float32)
    rows = -log_probs.gather(1, wanted)[:, 0]
    d_logits = log_probs.exp_()  # probabilities, minus 1 at the target
    d_logits.scatter_add_(1, wanted, d_logits.new_full(wanted.shape, -1.0))
    return rows, d_logits


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        learning: bool,
        losses: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> Tensor:
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
        for here in chunks(hidden, weight):
            chunk, wanted = hidden[here], targets[here, None]
            logits = torch.nn.functional.linear(chunk, weight, bias)
            if d_hidden is None:
                log_probs = torch.log_softmax(logits, -1, dtype=torch.float32)
                total -= log_probs.gather(1, wanted).sum()
                continue
            rows, d_logits = losses(logits, wanted)
            total += rows.sum()
            low = d_logits.to(weight.dtype)
            torch.mm(low, weight, out=d_hidden[here])
            if d_weight is not None:
                d_weight += low.t() @ chunk
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            del logits, d_logits, low  # before the next chunk takes as much
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradients[0]
        d_hidden, d_weight, d_bias = (
            None if saved is None else saved * scale for saved in ctx.saved_tensors
        )
        return d_hidden, d_weight, d_bias, None, None, None
