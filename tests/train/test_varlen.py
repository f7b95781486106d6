"""Attention in one kernel: stand-ins with the signatures of the real ones, computed plainly here."""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
transformers = pytest.importorskip("transformers", reason="needs the extra `local`")

from ftsdk.backends.local.compute import varlen  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.packed_attention import (  # noqa: E402  # it needs torch
    packed_attention,
    row_masks,
    rows_of,
)

CPU = torch.device("cpu")
HEADS = varlen.Heads(4, 2, 16, windows=True)
ANY = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def no_kernel_afterwards() -> Iterator[None]:
    yield
    varlen.use(None)


def plain(
    query: Any, key: Any, value: Any, starts: Any, scale: float, left: int, cap: float = 0.0
) -> Any:
    """Plain attention of [tokens, heads, d], row by row."""
    group = query.shape[1] // key.shape[1]
    parts = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        q = query[start:end]
        k, v = (one[start:end].repeat_interleave(group, 1) for one in (key, value))
        scores = torch.einsum("qhd,khd->hqk", q, k).float() * scale
        if cap:
            scores = cap * torch.tanh(scores / cap)
        back = torch.arange(len(q))[:, None] - torch.arange(len(q))[None]
        hidden = (back < 0) | (back > left if left >= 0 else back < 0)
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1).to(v.dtype)
        parts.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(parts)


def varlen_attn(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int,
    *, return_aux: Any = None, scale: float | None = None, window_size: Any = (-1, -1),
    enable_gqa: bool = False, seqused_k: Any = None, block_table: Any = None, num_splits: Any = None,
) -> Any:  # fmt: skip
    """Torch 2.13's, as far as rows are concerned."""
    assert cu_seq_q.dtype == torch.int32
    assert cu_seq_q is cu_seq_k
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert window_size[1] == 0, "it must be causal"
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert return_aux is seqused_k is block_table is num_splits is None
    assert query.is_contiguous()
    return plain(query, key, value, cu_seq_q, scale or query.shape[-1] ** -0.5, window_size[0])


def varlen_attn_of_2_10(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int,
    is_causal: bool = False, return_aux: Any = None,
) -> Any:  # fmt: skip
    assert is_causal
    assert query.shape[1] == key.shape[1]
    return plain(query, key, value, cu_seq_q, query.shape[-1] ** -0.5, -1)


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int,
    max_seqlen_k: int, dropout_p: float = 0.0, softmax_scale: Any = None, causal: bool = False,
    window_size: Any = (-1, -1), softcap: float = 0.0,
) -> Any:  # fmt: skip
    assert causal
    assert not dropout_p
    return plain(q, k, v, cu_seqlens_q, softmax_scale, window_size[0], softcap)


KERNELS: dict[str, Callable[[], Any]] = {
    "torch": lambda: varlen.of_torch(varlen_attn),
    "torch 2.10": lambda: varlen.of_torch(varlen_attn_of_2_10),
    "flash-attn": lambda: varlen.of_flash_attn(flash_attn_varlen_func),
}


def everywhere(kernel: Any) -> Any:
    """The kernel for float32 too, so that results can be compared closely."""
    return varlen.Kernel(kernel.name, kernel.attend, kernel.windows, kernel.caps, ANY)


def with_signature(function: Any) -> Any:
    """The function with the signature of torch's kernel."""
    function.__signature__ = inspect.signature(varlen_attn)
    return function


@pytest.mark.parametrize("name", list(KERNELS))
def test_a_kernel_that_computes_right_is_no_different(name: str) -> None:
    kernel = everywhere(KERNELS[name]())
    assert varlen.difference(kernel, HEADS, CPU, torch.float32) == ""
    assert varlen.difference(KERNELS[name](), HEADS, CPU, torch.bfloat16) == ""


@pytest.mark.parametrize("fault", ["window", "scale", "rows", "gradient"])
def test_a_kernel_that_computes_otherwise_is_not_chosen(fault: str) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, one: Any) -> Any:
            return one.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0] * 1.1

    def wrong(q: Any, k: Any, v: Any, starts: Any, *given: Any, **named: Any) -> Any:
        left, scale = named["window_size"][0], named["scale"]
        if fault == "window" and left >= 0:
            left += 1
        if fault == "scale":
            scale = q.shape[-1] ** -0.5
        if fault == "rows":
            starts = starts[[0, -1]]
        out = plain(q, k, v, starts, scale, left)
        return Wrong.apply(out) if fault == "gradient" else out

    kernel = everywhere(varlen.of_torch(with_signature(wrong)))
    assert "other results" in varlen.difference(kernel, HEADS, CPU, torch.float32)


def test_the_first_that_is_right_is_chosen_and_the_rest_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'flash_attn'")

    def no_gpu(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("Could not run 'aten::_flash_attention_forward'\nlong text")

    cuda: Any = type("Device", (), {"type": "cuda"})()
    monkeypatch.setattr(varlen, "difference", lambda kernel, *_: kernel.attend(None))
    right = varlen.Kernel("right", lambda *_: "")
    monkeypatch.setattr(varlen, "LOADERS", {"flash-attn": missing, "right": lambda: right})
    assert varlen.choose(HEADS, cuda, torch.bfloat16) == (
        right,
        "All rows attend in one kernel: right.",
    )
    wrong = varlen.Kernel("wrong", no_gpu)
    monkeypatch.setattr(varlen, "LOADERS", {"flash-attn": missing, "wrong": lambda: wrong})
    kernel, line = varlen.choose(HEADS, cuda, torch.bfloat16)
    assert kernel is None
    assert line == (
        "Rows attend one after the other: flash-attn is not usable (No module named 'flash_attn'); "
        "wrong is not usable (Could not run 'aten::_flash_attention_forward')."
    )
    assert varlen.choose(HEADS, CPU, torch.float32) == (None, "")


def test_torchs_own_kernel_takes_what_it_is_given() -> None:
    """On this processor it cannot compute; a call with wrong arguments would fail otherwise."""
    from torch.nn.attention.varlen import varlen_attn as real

    kernel = varlen.of_torch(real)
    assert kernel.windows
    starts = varlen.starts_of((3, 2), CPU)
    meta = [torch.empty(5, heads, 16, dtype=torch.bfloat16, device="meta") for heads in (4, 2, 2)]
    call = varlen.Call(0.3, window=1)
    assert kernel.attend(*meta, starts.to("meta"), 3, call).shape == (5, 4, 16)
    with pytest.raises((NotImplementedError, RuntimeError)):
        varlen.difference(kernel, HEADS, CPU, torch.bfloat16)


@pytest.mark.parametrize(
    ("call", "dtype", "reason"),
    [
        (varlen.Call(1.0, dropout=0.1), torch.bfloat16, "dropout"),
        (varlen.Call(1.0, sinks=1), torch.bfloat16, "sinks"),
        (varlen.Call(1.0, cap=50.0), torch.bfloat16, "capped scores"),
        (varlen.Call(1.0), torch.float32, "numbers in float32"),
        (varlen.Call(1.0, window=4), torch.bfloat16, ""),
    ],
)
def test_what_it_does_not_compute_is_refused_by_name(call: Any, dtype: Any, reason: str) -> None:
    made = [torch.empty(1, heads, 3, 16, dtype=dtype) for heads in (4, 2, 2)]
    assert KERNELS["torch"]().refusal(*made, call) == reason
    odd = [torch.empty(1, 4, 3, 12, dtype=torch.bfloat16)] * 3
    assert KERNELS["torch"]().refusal(*odd, varlen.Call(1.0)) == "heads of 12 numbers"


# --- in a model -----------------------------------------------------------------------------------


def gradient_of(kind: str, kernel: Any, **changes: Any) -> Any:
    from ftsdk.backends.local.training.batches import PackedBatch
    from ftsdk.backends.local.training.forward import next_token_logits, set_flat
    from ftsdk.dataset.tokenize.render import Rendered
    from tests.train.test_pieces import model_of

    network = model_of(kind, head_dim=16, **changes)
    set_flat(network)
    varlen.use(kernel)
    lengths = (21, 9, 1, 14)
    rows = [Rendered(array("i", [(7 * k + n) % 50 for k in range(n)]), b"\1" * n) for n in lengths]
    batch = PackedBatch.of(rows, CPU)
    logits = next_token_logits(network, batch)
    torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum").backward()
    varlen.use(None)
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    ("kind", "changes", "windows"),
    [
        ("llama", {}, {-1}),
        ("mistral", {"sliding_window": 8}, {7}),
        (
            "gemma3_text",
            {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]},
            {7, -1},
        ),
    ],
)
def test_a_model_has_the_same_gradients_in_one_kernel(
    kind: str, changes: dict[str, Any], windows: set[int]
) -> None:
    calls: list[Any] = []
    starts: set[int] = set()

    def seen(q: Any, k: Any, v: Any, where: Any, *given: Any, **named: Any) -> Any:
        calls.append(named["window_size"][0])
        starts.add(where.data_ptr())
        return varlen_attn(q, k, v, where, *given, **named)

    found = gradient_of(kind, everywhere(varlen.of_torch(with_signature(seen))), **changes)
    expected = gradient_of(kind, None, **changes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert set(calls) == windows
    assert len(calls) == 2
    assert len(starts) == 1, "the places were computed more than once"


def test_chunks_and_float32_go_the_plain_way() -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was called")

    never_called = varlen.Kernel("never", never, dtypes=ANY)
    query = torch.randn(1, 4, 30, 16)
    key = torch.randn(1, 2, 30, 16)

    def chunk(_batch: Any, _head: Any, q: Any, k: Any) -> Any:
        return (q // 8 == k // 8) & (k <= q)

    def causal(_batch: Any, _head: Any, q: Any, k: Any) -> Any:
        return k <= q

    for rule, size, kernel in (
        (chunk, 8, never_called),
        (causal, None, varlen.Kernel("bf16", never)),
    ):
        varlen.use(kernel)
        with rows_of((20, 10)):
            masks = row_masks(mask_function=rule, local_size=size, use_vmap=False)
            out, _ = packed_attention(None, query, key, key, masks)
        assert out.shape == (1, 30, 4, 16)
