"""Log-probabilities of single tokens, computed from hidden states a chunk of logits at a time.

The loss of a pair of answers depends on the probability of each whole answer, so its gradient is
known only after the forward pass. What the gradient needs is kept as one vector a token where the
output head is frozen; where it is trained, the logits are computed again in the backward pass.
Either way the logits of a batch never exist as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ftsdk.backends.local.compute.chunked_loss import chunks

if TYPE_CHECKING:
    from torch import Tensor


def chunked_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> Tensor:
    """Return the log-probability of each target, in nats, as float32 [n].

    `hidden` is [n, d], `weight` and `bias` are those of the output head, [vocabulary, d] and
    [vocabulary], `targets` is [n].
    """
    found: Tensor = _ChunkedLogProbs.apply(hidden, weight, bias, targets, torch.is_grad_enabled())  # type: ignore[no-untyped-call]  # torch has no types for it
    return found


class _ChunkedLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        learning: bool,
    ) -> Tensor:
        found = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        ctx.trains_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        keeps = learning and not ctx.trains_head
        d_hidden = torch.empty_like(hidden) if keeps else None
        for here in chunks(hidden, weight):
            log_probs = _log_softmax(hidden[here], weight, bias)
            found[here] = log_probs.gather(1, targets[here, None])[:, 0]
            if d_hidden is not None:
                d_logits = _gradient(log_probs, targets[here]).to(weight.dtype)
                torch.mm(d_logits, weight, out=d_hidden[here])
        if learning:
            ctx.save_for_backward(d_hidden, hidden, weight, bias, targets)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_found = gradients[0]
        d_hidden, hidden, weight, bias, targets = ctx.saved_tensors
        if not ctx.trains_head:
            return (d_hidden * d_found[:, None]).to(hidden.dtype), None, None, None, None
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        d_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for here in chunks(hidden, weight):
            log_probs = _log_softmax(hidden[here], weight, bias)
            d_logits = _gradient(log_probs, targets[here]).mul_(d_found[here, None])
            low = d_logits.to(weight.dtype)
            torch.mm(low, weight, out=d_hidden[here])
            d_weight += low.t() @ hidden[here]
            if d_bias is not None:
                d_bias += d_logits.sum(0)
        return d_hidden, d_weight, d_bias, None, None


def _log_softmax(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return torch.log_softmax(logits, -1, dtype=torch.float32)


def _gradient(log_probs: Tensor, targets: Tensor) -> Tensor:
    """D log p(target) / d logits, [n, vocabulary]: 1 at the target, minus the probabilities."""
    d_logits = log_probs.exp_().neg_()
    wanted = targets[:, None]
    return d_logits.scatter_add_(1, wanted, d_logits.new_ones(wanted.shape))
