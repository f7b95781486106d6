"""What a simulated step replaces, because it cannot run on tensors without numbers.

These are the fused attention of torch, the masks that a model derives from numbers, the unpacking of
4-bit weights, the noise on embeddings, and compiled functions. Each takes the memory of the original.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import MethodType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ftsdk.backends.local.compute import fused_lora, packed_attention, patch_pieces
from ftsdk.backends.local.compute.packed_attention import rows_of
from ftsdk.backends.local.compute.pieces import Pieces
from ftsdk.backends.local.training.forward import evaluating


@contextlib.contextmanager
def without_numbers() -> Iterator[None]:
    """Let a network without memory compute what a real one would, as far as memory shows it."""
    from peft.tuners.lora import dora

    functional = torch.nn.functional
    with (
        mock.patch.object(functional, "scaled_dot_product_attention", _attention),
        mock.patch.object(packed_attention.RowMasks, "of", _mask),
        mock.patch.object(fused_lora, "_dense", _dense),
        # It looks at numbers to find rows laid end to end.
        mock.patch("transformers.masking_utils.find_packed_sequence_indices", return_value=None),
        mock.patch.object(dora, "dequantize_module_weight", _dense_of),
    ):
        yield


def _mask(self: Any, length: int, device: torch.device) -> Tensor | None:
    """The mask of a row; None where it is causal, which a model without a local size is taken for."""
    if self._local_size is None or length <= self._local_size:
        return None
    if length not in self._made:
        self._made[length] = torch.ones(length, length, dtype=torch.bool, device=device)
    found: Tensor | None = self._made[length]
    return found


def _attention(query: Tensor, key: Tensor, value: Tensor, **given: Any) -> Tensor:
    if key.shape[1] != query.shape[1] and not given.get("enable_gqa"):
        # No fused kernel takes one key head for all; torch multiplies, and keeps the weights.
        scores = (query * 0.5) @ (key * 0.5).transpose(-2, -1)
        if (mask := given.get("attn_mask")) is not None:
            scores = scores + mask.to(scores.dtype)
        weights = torch.softmax(scores, -1)
        return weights @ value
    out: Tensor = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]  # torch has no types for it
    return out


class _Attention(torch.autograd.Function):
    """The memory of a fused attention kernel: its output and one number for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        heads = query.shape[1]
        wide = [query.new_empty(t.shape[0], heads, *t.shape[2:]) for t in (key, value)]
        del wide  # kernels compute keys' gradients for each query head, and add them up
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def pack(network: Any) -> None:
    """Give the linear layers weights of 4 bits, as bitsandbytes does: all but the output head."""
    head = network.get_output_embeddings()
    for base in list(network.modules()):
        if isinstance(base, torch.nn.Linear) and base is not head and not _is_adapter(base):
            shape, dtype = base.weight.shape, base.weight.dtype
            packed = torch.empty(-(-shape.numel() // 2), 1, dtype=torch.uint8, device="meta")
            base.weight = torch.nn.Parameter(packed, requires_grad=False)
            vars(base.weight)["quant_state"] = SimpleNamespace(shape=shape)
            vars(base)["computes_in"] = dtype
            base.__dict__["forward"] = MethodType(_packed_forward, base)


def _is_adapter(module: Any) -> bool:
    return any(p.requires_grad for p in module.parameters(recurse=False))


def _dense(weight: Tensor, state: Any, like: Tensor) -> Tensor:
    if state is None:
        return weight
    scales = like.new_empty(state.shape.numel() // 64, dtype=torch.float32)
    dense = like.new_empty(state.shape)
    del scales
    return dense


def _packed_forward(self: Any, x: Tensor) -> Tensor:
    product: Tensor = _PackedLinear.apply(x, self.weight)  # type: ignore[no-untyped-call]  # torch has no types for it
    return product if self.bias is None else product + self.bias


def _dense_of(layer: Any) -> Tensor:
    """The weight of a layer as a matrix, for an adapter that needs it."""
    return _dense(layer.weight, getattr(layer.weight, "quant_state", None), _like(layer))


def _like(layer: Any) -> Tensor:
    """A tensor of the format that the layer computes in."""
    return torch.empty((), device="meta", dtype=vars(layer).get("computes_in"))


class _PackedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Any) -> Tensor:
        ctx.save_for_backward(weight)
        return x @ _dense(weight, weight.quant_state, x).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ _dense(weight, weight.quant_state, gradients[0]), None


def has_plain_head(network: Any) -> bool:
    """Whether the logits of a network are those of its output head and nothing else is done to them.

    Some models scale or cap them; the trainer then computes those of all tokens at once.
    """
    head = network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    after = _OperationsAfter()
    handle = head.register_forward_hook(lambda *_: after.begin())
    ids = torch.zeros(1, 8, dtype=torch.long, device="meta")
    try:
        with without_numbers(), evaluating(network), after, rows_of([8]):
            network(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except (TypeError, AttributeError):  # it takes other arguments
        return False
    finally:
        handle.remove()
    return after.is_plain


class _OperationsAfter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Sees whether anything is computed after a moment in a forward pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._begun = False
        self.is_plain = True

    def begin(self) -> None:
        self._begun = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        is_view = func.is_view or func is torch.ops.aten.detach.default
        self.is_plain &= is_view or not self._begun
        return func(*args, **(kwargs or {}))


def put_noise(network: Any) -> None:
    """Put on the embeddings what `noise.add_noise` allocates."""

    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        scale = output.new_empty(output.shape[1])
        return output + torch.empty_like(output) * scale[None, :, None]

    network.get_input_embeddings().register_forward_hook(hook)


def compile_pieces(network: Any) -> Pieces:
    """Let the layers of a network allocate what they do where their small steps are compiled."""
    pieces = Pieces(
        norm=_as_first,
        norm_backward=_as_first,
        silu_gate=_as_first,
        silu_gate_backward=_two_as_first,
        gelu_gate=_as_first,
        gelu_gate_backward=_two_as_first,
        turn=_as_first,
        turn_backward=_as_first,
        cross_entropy=_losses,
    )
    same = patch_pieces._same

    def is_alike(expected: Tensor, found: Tensor) -> bool:
        if expected.device.type != "meta":
            return same(expected, found)
        return expected.shape == found.shape and expected.dtype == found.dtype

    # The rotary turn is a function of the model's module, which the real network uses as well.
    with (
        mock.patch.object(patch_pieces, "_same", is_alike),
        mock.patch.object(patch_pieces, "_patch_rotary"),
    ):
        patch_pieces.patch_pieces(network, pieces)
    return pieces


def _as_first(first: Tensor, *_: Any) -> Tensor:
    """The output of a compiled function, which allocates nothing else."""
    return torch.empty_like(first)


def _two_as_first(first: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(first), torch.empty_like(first)


def _losses(logits: Tensor, _wanted: Tensor) -> tuple[Tensor, Tensor]:
    return logits.new_empty(logits.shape[0], dtype=torch.float32), torch.empty_like(logits)
