"""Attention with capped scores and sinks, for rows laid end to end, against plain formulas."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra `local`")

import torch  # after the skip

LENGTHS = (13, 1, 7)


def plain(
    query: Any, key: Any, value: Any, mask: Any, scale: float, cap: float | None, sinks: Any
) -> Any:
    """One row as the models of transformers compute it, [1, length, heads, d]."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = query @ key.transpose(2, 3) * scale
    if cap is not None:
        scores = torch.tanh(scores / cap) * cap
    scores = scores.masked_fill(~mask, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1)[..., : key.shape[2]]
    return (weights @ value).transpose(1, 2)


def inputs(dtype: Any) -> list[Any]:
    torch.manual_seed(0)
    tokens = sum(LENGTHS)
    made = [torch.randn(1, heads, tokens, size) * 2 for heads, size in ((4, 8), (2, 8), (2, 6))]
    return [one.to(dtype).requires_grad_() for one in made]


def packed(query: Any, key: Any, value: Any, window: int | None, **others: Any) -> Any:
    from transformers import masking_utils

    from ftsdk.backends.local.compute.packed_attention import RowMasks, packed_attention

    rule = masking_utils.causal_mask_function
    if window is not None:
        rule = masking_utils.sliding_window_causal_mask_function(window)
    masks = RowMasks(rule, window, LENGTHS)
    return packed_attention(None, query, key, value, masks, scaling=0.4, **others)[0]


@pytest.mark.parametrize("window", [None, 5], ids=["causal", "window"])
@pytest.mark.parametrize("cap", [None, 1.5], ids=["not capped", "capped"])
@pytest.mark.parametrize("with_sinks", [False, True], ids=["no sinks", "sinks"])
@pytest.mark.parametrize("most", [0, 512], ids=["computed again", "kept"])
def test_rows_and_gradients_are_those_of_plain_formulas(
    most: int,
    window: int | None,
    cap: float | None,
    with_sinks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ftsdk.backends.local.compute import packed_attention

    monkeypatch.setattr(packed_attention, "KEPT_LENGTH", most)
    made = inputs(torch.float32)
    sinks = torch.randn(4).requires_grad_() if with_sinks else None
    learned = [*made, *([] if sinks is None else [sinks])]
    out = packed(*made, window, softcap=cap, s_aux=sinks)
    parts, start = [], 0
    for length in LENGTHS:
        here = slice(start, start + length)
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        if window is not None:
            mask &= ~torch.ones_like(mask).tril(-window)
        row = [one[:, :, here] for one in made]
        parts.append(plain(*row, mask, 0.4, cap, sinks))
        start += length
    expected = torch.cat(parts, 1)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    weight = torch.randn_like(out)
    found = torch.autograd.grad((out * weight).sum(), learned)
    wanted = torch.autograd.grad((expected * weight).sum(), learned)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bf16_is_near_float32() -> None:
    exact = [one.detach().float() for one in inputs(torch.bfloat16)]
    coarse = packed(*inputs(torch.bfloat16), None, softcap=30.0).detach().float()
    expected = packed(*exact, None, softcap=30.0)
    assert float((coarse - expected).abs().max()) < 0.03
    assert float((coarse - expected).abs().mean()) < 0.005


@pytest.mark.parametrize("most", [0, 512])
def test_the_weights_of_long_rows_are_not_kept(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.compute import packed_attention

    monkeypatch.setattr(packed_attention, "KEPT_LENGTH", most)
    kept: list[int] = []

    def pack(tensor: Any) -> Any:
        kept.append(tensor.numel())
        return tensor

    made = inputs(torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        packed(*made, None, softcap=2.0)
    weights = 4 * max(LENGTHS) ** 2  # of all heads of the longest row
    assert (weights in kept) is (max(LENGTHS) <= most), kept


@pytest.mark.parametrize("most", [0, 512])
def test_dropout_is_that_of_the_forward_pass_in_the_backward_pass(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of ones: the gradient of the values is the column sum of the weights that were used."""
    from ftsdk.backends.local.compute import packed_attention

    monkeypatch.setattr(packed_attention, "KEPT_LENGTH", most)
    query, key, _ = inputs(torch.float32)
    value = torch.eye(sum(LENGTHS)).expand(1, 2, -1, -1).clone().requires_grad_()
    torch.manual_seed(3)
    out = packed(query, key, value, None, softcap=2.0, dropout=0.5)
    (gradient,) = torch.autograd.grad(out.sum(), [value])
    weights = out[0].transpose(0, 1).reshape(2, 2, sum(LENGTHS), -1).sum((1, 2))
    torch.testing.assert_close(gradient[0, :, :, 0], weights, rtol=1e-4, atol=1e-5)
