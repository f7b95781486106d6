"""Attention whose scores are changed before the softmax, for which torch has no fused kernel.

Gemma 2 caps its scores: cap * tanh(score / cap). gpt-oss has sinks: a learned score in each head
for no token at all. The weights of a row are computed again in the backward pass, unless `keep` says
that they are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, slots=True)
class Scoring:
    """How scores are made: `scale` times the products, capped at `cap`, beside `sinks` [heads]."""

    scale: float
    dropout: float = 0.0
    cap: float | None = None
    sinks: Tensor | None = None
    keep: bool = False


def attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, scoring: Scoring) -> Tensor:
    """The attention of one row, [1, heads, length, d]; `hidden` [length, length] is True where none is.

    `key` and `value` may have fewer heads, each of which several query heads share.
    """
    if scoring.keep or not torch.is_grad_enabled():
        return _attend(query, key, value, hidden, scoring)
    out: Tensor = checkpoint(
        _attend, query, key, value, hidden, scoring,
        use_reentrant=False, preserve_rng_state=bool(scoring.dropout),
    )  # fmt: skip
    return out


def _attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor, scoring: Scoring) -> Tensor:
    _, heads, length, size = query.shape
    shared = key.shape[1]
    stacked = (query[0] * scoring.scale).reshape(shared, -1, size)
    scores = torch.bmm(stacked, key[0].transpose(1, 2)).view(heads, length, length).float()
    if scoring.cap is not None:
        scores = scores.mul_(1 / scoring.cap).tanh_() * scoring.cap
    scores.masked_fill_(hidden, float("-inf"))
    if scoring.sinks is not None:
        sinks = scoring.sinks.float()[:, None, None].expand(heads, length, 1)
        scores = torch.cat([scores, sinks], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., :length].to(value.dtype)
    if scoring.dropout:
        weights = torch.nn.functional.dropout(weights, scoring.dropout)
    out = torch.bmm(weights.reshape(shared, -1, length), value[0])
    return out.view(1, heads, length, value.shape[-1])
