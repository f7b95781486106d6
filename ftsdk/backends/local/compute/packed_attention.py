"""Causal attention over packed rows: laid end to end without padding, each attends to itself only.

On a CPU, torch's flash kernel is fast forward and slow backward: its backward pass took four times
as long as plain matrix products on rows of a few hundred tokens (AMX, bf16). So rows are computed by
matrix products there, one after the other. Short rows keep their attention weights for the backward
pass. For long rows these would be the largest part of what is kept: their forward pass uses the
flash kernel, which stores none, and the backward pass computes them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from ftsdk.backends.local.compute import varlen
from ftsdk.backends.local.compute.scored_attention import Scoring, attend
from ftsdk.backends.local.compute.simulated_device import device_kind

if TYPE_CHECKING:
    from torch import Tensor

_SHORT = 64
KEPT_LENGTH = 512
"""The longest row, in tokens, whose attention weights are kept; longer ones gain no time by it."""
_NOT_COMPUTED = {"position_bias": "has biases by distance"}
"""Arguments of an attention layer that change its result, and what they do."""
_row_lengths: ContextVar[tuple[int, ...]] = ContextVar("row_lengths")
_starts: ContextVar[dict[torch.device, Tensor]] = ContextVar("starts")
"""Where rows start, computed once for each micro-batch."""


@contextlib.contextmanager
def rows_of(lengths: Sequence[int]) -> Iterator[None]:
    """Say that inside the block a model takes rows of these lengths, in tokens, laid end to end."""
    token, starts = _row_lengths.set(tuple(lengths)), _starts.set({})
    try:
        yield
    finally:
        _row_lengths.reset(token)
        _starts.reset(starts)


def row_lengths() -> tuple[int, ...]:
    """The lengths of the rows of the enclosing `rows_of`, in tokens."""
    return _row_lengths.get()


class RowMasks:
    """Which earlier tokens of its row each token attends to, as the model itself defines it.

    transformers lets an attention implementation make the mask from the model's own rule: causal,
    sliding window, chunks. The rule is applied here to each row alone, with places from 0.
    `lengths` are those of the rows, in tokens.
    """

    def __init__(
        self, rule: Callable[..., Any], local_size: int | None, lengths: tuple[int, ...]
    ) -> None:
        self.lengths = lengths
        self._rule, self._local_size = rule, local_size
        self._made: dict[int, Tensor | None] = {}
        self._is_window: bool | None = None
        self._starts = _starts.get({})  # kept for layers that are computed again in a backward pass

    def of(self, length: int, device: torch.device) -> Tensor | None:
        """The mask of a row, [length, length], True where attended; None where it is just causal."""
        if length not in self._made:
            # A window or chunk says nothing about rows that fit in it: their first tokens show the rest.
            fits = self._local_size is not None and length <= self._local_size
            seen = self._allowed(min(length, _SHORT) if fits else length, device)
            causal = bool(torch.equal(seen, _past(len(seen), device)))
            if not causal and len(seen) < length:
                seen = self._allowed(length, device)
            self._made[length] = None if causal else seen
        return self._made[length]

    def starts(self, device: torch.device) -> Tensor:
        """Where each row starts, and where the last one ends: int32, [rows + 1]."""
        if device not in self._starts:
            self._starts[device] = varlen.starts_of(self.lengths, device)
        return self._starts[device]

    def window(self, device: torch.device) -> int | None:
        """How many tokens before itself a token sees; None for all.

        Raises `NotImplementedError` for another rule. A rule for the longest row is one for all,
        because each depends on places alone.
        """
        mask = self.of(max(self.lengths), device)
        if mask is None:
            return None
        if self._is_window is None:
            window = self._past_window(len(mask), device)
            self._is_window = window is not None and torch.equal(mask, window)
        if not self._is_window or self._local_size is None:
            raise NotImplementedError("its attention has a mask of its own")
        return self._local_size - 1

    def _past_window(self, length: int, device: torch.device) -> Tensor | None:
        if self._local_size is None:
            return None
        return _past(length, device).triu(1 - self._local_size)

    def _allowed(self, length: int, device: torch.device) -> Tensor:
        place = torch.arange(length, device=device)
        zero = place.new_zeros(1, 1, 1, 1)
        allowed = self._rule(zero, zero, place[None, None, :, None], place[None, None, None, :])
        return torch.as_tensor(allowed, device=device).broadcast_to(1, 1, length, length)[0, 0]


def row_masks(
    *,
    mask_function: Callable[..., Any],
    local_size: int | None = None,
    use_vmap: bool = True,
    **_: Any,
) -> RowMasks:
    """Return the masks of `packed_attention`; transformers calls it once for each kind of layer.

    The lengths of the rows are those of the enclosing `rows_of`. Raises `NotImplementedError` for a
    rule that is not a function of places alone.
    """
    if use_vmap:
        raise NotImplementedError("its attention mask depends on more than places")
    return RowMasks(mask_function, local_size, _row_lengths.get())


def packed_attention(
    module: Any,  # noqa: ARG001  # transformers passes it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: RowMasks | Any,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention with the signature that transformers calls.

    `query`, `key` and `value` are [1, heads, tokens, d]; the result is [1, tokens, heads, d].
    `attention_mask` is what `row_masks` returned for this kind of layer. Raises
    `NotImplementedError` for what it cannot compute (another mask or none, biases); the model then
    runs with its own attention.
    """
    for name, what in _NOT_COMPUTED.items():
        if others.get(name) is not None:
            raise NotImplementedError(f"its attention {what}")
    if not isinstance(attention_mask, RowMasks):
        raise NotImplementedError("its attention has a mask of its own")
    row_lengths = attention_mask.lengths
    if sum(row_lengths) != query.shape[2] or query.shape[2] != key.shape[2]:
        raise NotImplementedError("its attention sees other tokens than those of the rows")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    scoring = Scoring(scale, dropout, others.get("softcap"), others.get("s_aux"))
    at_once = _at_once(query, key, value, attention_mask, scoring)
    if at_once is not None:
        return at_once, None
    masks = [attention_mask.of(length, query.device) for length in row_lengths]
    changed = scoring.cap is not None or scoring.sinks is not None
    just_causal = all(mask is None for mask in masks) and not changed
    if device_kind(query) == "cpu" and not dropout and just_causal and _plain(query, key, value):
        learning = torch.is_grad_enabled()
        attended: Tensor = _RowAttention.apply(query, key, value, row_lengths, scale, learning)  # type: ignore[no-untyped-call]  # torch has no types for it
        return attended, None
    parts = []
    start = 0
    for length, mask in zip(row_lengths, masks, strict=True):
        here = slice(start, start + length)
        row = query[:, :, here], key[:, :, here], value[:, :, here]
        parts.append((_scored if changed else _fused)(*row, mask, scoring).transpose(1, 2))
        start += length
    return torch.cat(parts, dim=1), None


def _fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
) -> Tensor:
    """The attention of one row by torch's kernel, [1, heads, length, d]."""
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=scoring.dropout,
        is_causal=mask is None,
        scale=scoring.scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _scored(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring
) -> Tensor:
    """The attention of one row whose scores are changed, [1, heads, length, d]."""
    length = query.shape[2]
    hidden = _future(length, query.device) if mask is None else ~mask
    keep = length <= KEPT_LENGTH and device_kind(query) == "cpu"
    return attend(query, key, value, hidden, replace(scoring, keep=keep))


def _at_once(
    query: Tensor, key: Tensor, value: Tensor, masks: RowMasks, scoring: Scoring
) -> Tensor | None:
    """The attention of all rows by the kernel of this run; None where it does not compute this."""
    kernel = varlen.chosen()
    if kernel is None:
        return None
    try:
        window = masks.window(query.device)
    except NotImplementedError:
        return None
    call = varlen.Call(scoring.scale, window, scoring.cap, scoring.dropout, scoring.sinks)
    if kernel.refusal(query, key, value, call):
        return None
    longest = max(masks.lengths)
    return varlen.attend(kernel, query, key, value, masks.starts(query.device), longest, call)


def _plain(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """True when heads have one size and the query heads are a multiple of the others."""
    sizes = query.shape[-1] == key.shape[-1] == value.shape[-1]
    return sizes and query.shape[1] % key.shape[1] == 0 and key.shape[1] == value.shape[1]


def _past(length: int, device: torch.device) -> Tensor:
    """[length, length], True where a token attends to itself or an earlier one."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril_()


_future_of_longest: dict[str, Tensor] = {}


def _future(length: int, device: torch.device) -> Tensor:
    """[length, length], True where a token would attend to a later one.

    The one of the longest row so far is kept: its corner is that of a shorter row.
    """
    kept = _future_of_longest.get(device.type)
    if kept is None or len(kept) < length:
        kept = torch.ones(length, length, dtype=torch.bool, device=device).triu_(1)
        _future_of_longest[device.type] = kept
    return kept[:length, :length]


def _weights(q: Tensor, k: Tensor, heads: int) -> Tensor:
    """The causal attention weights of one row, [heads, length, length].

    `q`, scaled, is [key heads, heads that share one x length, d], and `k` is [key heads, length, d].
    """
    length = k.shape[1]
    scores = torch.bmm(q, k.transpose(1, 2)).view(heads, length, length)
    scores.masked_fill_(_future(length, scores.device), float("-inf"))
    return torch.softmax(scores, -1)


def _stacked(query: Tensor, shared: int, scale: float) -> Tensor:
    """The scaled queries of a row; heads that share a key head are stacked into one product."""
    heads, length, size = query.shape
    return (query * scale).reshape(shared, heads // shared * length, size)


class _RowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        lengths: tuple[int, ...],
        scale: float,
        learning: bool,
    ) -> Tensor:
        out = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
        kept: list[Tensor] = []
        start = 0
        for length in lengths:
            here = slice(start, start + length)
            q, k, v = query[:, :, here], key[:, :, here], value[:, :, here]
            if learning and length <= KEPT_LENGTH:
                kept.append(_attend(out[0, here], q[0], k[0], v[0], scale))
            else:
                attended = torch.nn.functional.scaled_dot_product_attention(
                    q, k, v, is_causal=True, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
                )
                out[:, here] = attended.transpose(1, 2)
            start += length
        ctx.save_for_backward(query, key, value, *kept)
        ctx.lengths, ctx.scale = lengths, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        kept.reverse()
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
            q = _stacked(query[0, :, here], shared, ctx.scale)
            k, v = key[0, :, here], value[0, :, here]
            d = d_out[0, here].transpose(0, 1).reshape(shared, group * length, size)
            weights = kept.pop() if length <= KEPT_LENGTH else _weights(q, k, heads)
            d_weights = torch.bmm(d, v.transpose(1, 2)).view(heads, length, length)
            d_scores = torch._softmax_backward_data(
                d_weights, weights, -1, weights.dtype
            )  # there is no public function for this
            del d_weights  # of the size of all heads x length x length, as those below
            d_scores = d_scores.view(shared, group * length, length)
            weights = weights.view(shared, group * length, length)
            d_value[0, here] = torch.bmm(weights.transpose(1, 2), d).transpose(0, 1)
            d_key[0, here] = torch.bmm(d_scores.transpose(1, 2), q).transpose(0, 1)
            d_query[0, here] = (
                torch.bmm(d_scores, k).mul_(ctx.scale).view(heads, length, size).transpose(0, 1)
            )
            del weights, d_scores
            start += length
        turned = (one.transpose(1, 2) for one in (d_query, d_key, d_value))
        return (*turned, None, None, None)


def _attend(out: Tensor, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Write the attention of one row to `out`, [length, heads, d]; returns its weights."""
    heads, length, size = query.shape
    shared = key.shape[0]
    weights = _weights(_stacked(query, shared, scale), key, heads)
    attended = torch.bmm(weights.view(shared, heads // shared * length, length), value)
    out.copy_(attended.view(heads, length, size).transpose(0, 1))
    return weights
