"""Causal attention over packed rows: laid end to end without padding, each attends to itself only.

On a CPU, torch's flash kernel is fast forward and slow backward: its backward pass took four times
as long as plain matrix products on rows of a few hundred tokens (AMX, bf16). So the forward pass
uses the flash kernel, which stores no attention weights, and the backward pass computes them again,
row by row.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


def packed_attention(
    module: Any,  # noqa: ARG001  # transformers passes it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    row_lengths: Sequence[int] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature that transformers calls.

    `query`, `key` and `value` are [1, heads, tokens, d]; the result is [1, tokens, heads, d].
    `row_lengths` are in tokens and add up to `tokens`. Raises `NotImplementedError` for what it
    cannot compute (masks, soft caps, attention sinks, biases); the model then runs row by row with
    its own attention.
    """
    unknown = [n for n in ("softcap", "s_aux", "position_bias") if others.get(n) is not None]
    if unknown or attention_mask is not None or row_lengths is None:
        raise NotImplementedError(f"packed attention cannot take {unknown or 'a mask'}")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    windowed = bool(sliding_window and max(row_lengths) > sliding_window)
    if query.device.type == "cpu" and not dropout and not windowed and _plain(query, key, value):
        return _RowAttention.apply(query, key, value, tuple(row_lengths), scale), None  # type: ignore[no-untyped-call]  # torch has no types for it
    parts = []
    for part, mask in _rows(row_lengths, sliding_window, query.device):
        parts.append(
            torch.nn.functional.scaled_dot_product_attention(
                query[:, :, part],
                key[:, :, part],
                value[:, :, part],
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scale,
                enable_gqa=query.shape[1] != key.shape[1],
            ).transpose(1, 2)
        )
    return torch.cat(parts, dim=1), None


def _plain(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """True when heads have one size and the query heads are a multiple of the others."""
    sizes = query.shape[-1] == key.shape[-1] == value.shape[-1]
    return sizes and query.shape[1] % key.shape[1] == 0 and key.shape[1] == value.shape[1]


def _rows(
    lengths: Sequence[int], window: int | None, device: torch.device
) -> list[tuple[slice, Tensor | None]]:
    """The slice of each row, and its mask [length, length] where the window is shorter than the row."""
    found: list[tuple[slice, Tensor | None]] = []
    start = 0
    for length in lengths:
        mask = None
        if window and length > window:
            place = torch.arange(length, device=device)
            distance = place[:, None] - place[None, :]
            mask = (distance >= 0) & (distance < window)
        found.append((slice(start, start + length), mask))
        start += length
    return found


@functools.lru_cache(maxsize=64)
def _future(length: int) -> Tensor:
    """[length, length], True where a token would attend to a later one."""
    return torch.ones(length, length, dtype=torch.bool).triu_(1)


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float
    ) -> Tensor:
        out = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
        start = 0
        for length in lengths:
            here = slice(start, start + length)
            attended = torch.nn.functional.scaled_dot_product_attention(
                query[:, :, here],
                key[:, :, here],
                value[:, :, here],
                is_causal=True,
                scale=scale,
                enable_gqa=query.shape[1] != key.shape[1],
            )
            out[:, here] = attended.transpose(1, 2)
            start += length
        ctx.save_for_backward(query, key, value)
        ctx.lengths, ctx.scale = lengths, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value = ctx.saved_tensors
        (d_out,) = gradients
        _, heads, tokens, size = query.shape
        shared = key.shape[1]
        group = heads // shared
        d_query = query.new_empty(1, tokens, heads, size)
        d_key = query.new_empty(1, tokens, shared, size)
        d_value = query.new_empty(1, tokens, shared, size)
        start = 0
        for length in ctx.lengths:
            here = slice(start, start + length)
            # Query heads that share a key head are stacked into one product.
            q = (query[0, :, here] * ctx.scale).reshape(shared, group * length, size)
            k, v = key[0, :, here], value[0, :, here]
            d = d_out[0, here].transpose(0, 1).reshape(shared, group * length, size)
            scores = torch.bmm(q, k.transpose(1, 2)).view(heads, length, length)
            scores.masked_fill_(_future(length), float("-inf"))
            weights = torch.softmax(scores, -1)
            d_weights = torch.bmm(d, v.transpose(1, 2)).view(heads, length, length)
            d_scores = torch._softmax_backward_data(
                d_weights, weights, -1, weights.dtype
            )  # there is no public function for this
            d_scores = d_scores.view(shared, group * length, length)
            weights = weights.view(shared, group * length, length)
            d_value[0, here] = torch.bmm(weights.transpose(1, 2), d).transpose(0, 1)
            d_key[0, here] = torch.bmm(d_scores.transpose(1, 2), q).transpose(0, 1)
            d_query[0, here] = (
                torch.bmm(d_scores, k).mul_(ctx.scale).view(heads, length, size).transpose(0, 1)
            )
            start += length
        return d_query.transpose(1, 2), d_key.transpose(1, 2), d_value.transpose(1, 2), None, None
