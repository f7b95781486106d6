"""What the backward pass keeps: gated MLPs and norms only their inputs, short rows their attention weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
peft = pytest.importorskip("peft", reason="needs the extra `local`")
transformers = pytest.importorskip("transformers", reason="needs the extra `local`")

from ftsdk.backends.local.compute import packed_attention as pa  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.adapters import put_adapter  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.fused_lora import fuse_adapters  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.patch_pieces import keep_less  # noqa: E402  # it needs torch
from ftsdk.backends.local.training.footprint import bound  # noqa: E402  # after torch
from ftsdk.types.spec import LoRA  # noqa: E402  # after torch
from tests.train.test_pieces import model_of  # noqa: E402  # it needs torch

TOKENS = 24


def adapted(kind: str, *, dropout: float = 0.0, fused: bool = True) -> Any:
    """A small model with an adapter whose second matrices are not zero."""
    network = model_of(kind)
    adapter = LoRA(rank=4, alpha=8, dropout=dropout, target_modules="all-linear")
    owner = put_adapter(network, adapter, base_name="", revision=None)
    torch.manual_seed(5)
    for name, parameter in owner.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    if fused:
        fuse_adapters(owner)
    return owner


def step(owner: Any) -> tuple[Any, dict[str, Any], int]:
    """Loss, gradients, and the bytes that autograd keeps."""
    seen: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.arange(TOKENS).reshape(1, TOKENS) % 50
    torch.manual_seed(9)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = owner(input_ids=ids, labels=ids).loss
        weights = {p.untyped_storage().data_ptr() for p in owner.parameters()}
        kept = sum(size for place, size in seen.items() if place not in weights)
        loss.backward()
    grads = {name: p.grad for name, p in owner.named_parameters() if p.grad is not None}
    return loss.detach(), grads, kept


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_less_is_kept_and_gradients_are_those_of_peft(kind: str) -> None:
    loss, grads, plain = step(adapted(kind, fused=False))
    _, _, before = step(adapted(kind))
    owner = adapted(kind)
    patched = keep_less(owner.get_base_model())
    assert patched.counts["gates"] == 2
    found_loss, found, kept = step(owner)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=1e-6)
    assert found.keys() == grads.keys()
    for name, gradient in grads.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=2e-6 * scale)
    assert kept < before <= plain
    # In each of two layers: what the gate gives, and the activation on the way to it.
    assert before - kept >= 2 * 2 * TOKENS * 48 * 4


def test_an_adapter_with_dropout_keeps_what_it_dropped_from() -> None:
    expected_loss, expected, _ = step(adapted("llama", dropout=0.3).train())
    owner = adapted("llama", dropout=0.3).train()
    keep_less(owner.get_base_model())
    loss, grads, _ = step(owner)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-6, atol=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(grads[name], gradient, rtol=1e-4, atol=1e-5)


def test_without_an_adapter_all_weights_get_their_gradients() -> None:
    plain = model_of("qwen3")
    loss, grads, before = step(plain)
    network = model_of("qwen3")
    assert keep_less(network).counts == {"norms": 9, "gates": 2}
    found_loss, found, kept = step(network)
    torch.testing.assert_close(found_loss, loss, rtol=1e-6, atol=1e-6)
    assert kept < before
    for name, gradient in grads.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_a_network_without_memory_is_patched_as_a_real_one_is() -> None:
    for kind in ("llama", "gemma2", "qwen3", "gpt_neox"):
        real = keep_less(model_of(kind)).counts
        assert keep_less(model_of(kind).to("meta")).counts == real


def test_a_network_without_memory_with_another_mlp_is_not(monkeypatch: Any) -> None:
    kind = transformers.models.llama.modeling_llama.LlamaMLP
    monkeypatch.setattr(kind, "forward", lambda self, x: 2 * self.down_proj(self.up_proj(x)))
    assert "gates" not in keep_less(model_of("llama").to("meta")).counts
    assert "gates" not in keep_less(model_of("llama")).counts


# --- attention ------------------------------------------------------------------------------------


def attention(ask: Callable[..., Any], lengths: tuple[int, ...]) -> list[Any]:
    torch.manual_seed(3)
    tokens = sum(lengths)
    leaves = [torch.randn(1, heads, tokens, 8, requires_grad=True) for heads in (4, 2, 2)]
    out = ask(*leaves)
    torch.manual_seed(4)
    out.backward(torch.randn(out.shape))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def by_rows(lengths: tuple[int, ...]) -> Callable[..., Any]:
    def ask(query: Any, key: Any, value: Any) -> Any:
        rows = [one.split(lengths, 2) for one in (query, key, value)]
        parts = [
            torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=0.3, enable_gqa=True
            )
            for q, k, v in zip(*rows, strict=True)
        ]
        return torch.cat(parts, 2).transpose(1, 2)

    return ask


@pytest.mark.parametrize("longest", [0, 6, 512])
def test_rows_with_and_without_kept_weights_attend_alike(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pa, "KEPT_LENGTH", longest)
    lengths = (9, 6, 1, 3, 7)
    expected = attention(by_rows(lengths), lengths)
    found = attention(lambda q, k, v: pa._RowAttention.apply(q, k, v, lengths, 0.3, True), lengths)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_weights_are_kept_only_where_a_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = pa._attend

    def attend(out: Any, *given: Any) -> Any:
        asked.append(len(out))
        return original(out, *given)

    monkeypatch.setattr(pa, "_attend", attend)
    monkeypatch.setattr(pa, "KEPT_LENGTH", 5)
    query = torch.randn(1, 2, 9, 8, requires_grad=True)
    for learning in (False, True):
        pa._RowAttention.apply(query, query, query, (6, 3), 0.3, learning)
        assert asked == ([3] if learning else [])


def test_the_bound_of_memory_knows_which_weights_are_kept() -> None:
    assert bound.KEPT_LENGTH == pa.KEPT_LENGTH


def test_a_simulation_leaves_the_rotary_turn_of_real_models_alone() -> None:
    from ftsdk.backends.local.training.footprint.without_numbers import compile_pieces

    home = transformers.models.llama.modeling_llama
    before = home.apply_rotary_pos_emb
    compile_pieces(model_of("llama").to("meta"))
    assert home.apply_rotary_pos_emb is before
