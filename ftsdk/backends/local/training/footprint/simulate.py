"""One training step on tensors without memory: what it allocates, in which order.

The step is that of the trainer: its forward pass, attention, loss and adapters, on a network that is
built from a config. Only what cannot run without numbers is replaced: the fused attention of torch,
the masks that a model derives from numbers, and the unpacking of 4-bit weights.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MethodType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ftsdk.backends.local.compute import fused_lora, packed_attention
from ftsdk.backends.local.compute.adapters import put_adapter
from ftsdk.backends.local.compute.simulated_device import simulating
from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.footprint.allocators import (
    live_peak,
    taken_from_heap,
    taken_lean,
    taken_on_cuda,
)
from ftsdk.backends.local.training.footprint.shrunk import Figures, Layers, keep
from ftsdk.backends.local.training.footprint.trace import Trace
from ftsdk.backends.local.training.forward import set_flat
from ftsdk.backends.local.training.model import LoadedModel, ModelSize
from ftsdk.backends.local.training.row_path import RowPath
from ftsdk.dataset.tokenize.render import Rendered
from ftsdk.types.spec import LoRA


@dataclass(frozen=True)
class MicroBatch:
    """The rows of one forward pass, by their lengths in tokens, and how it is computed."""

    lengths: tuple[int, ...]
    checkpointing: bool = False


@dataclass(frozen=True)
class Way:
    """How a network is trained: `kind` is `cpu` or `cuda`, `flat` whether rows are laid end to end."""

    adapter: LoRA | None
    dtype: torch.dtype
    kind: str
    flat: bool = True

    @property
    def packed(self) -> bool:
        """True for a base in NF4."""
        return self.adapter is not None and self.adapter.quantize is not None


def simulate(network: Any, way: Way, micros: Sequence[MicroBatch]) -> list[dict[str, float]]:
    """The bytes that a step takes over the weights, for each micro-batch.

    `kept` is what the backward pass needs, `live` the most that is in use at once, `taken` what the
    allocator takes for it, and `lean` what a lean one takes.
    """
    layers = Layers.of(network)
    samples = [network] if layers is None else [keep(network, layers, s) for s in layers.samples()]
    models = [_model(sample, way) for sample in samples]
    found = []
    for micro in micros:
        figures = [_figures(model, way, micro) for model in models]
        found.append(dict(figures[0]) if layers is None else layers.whole(figures))
    return found


def _model(network: Any, way: Way) -> LoadedModel:
    network = network.to(way.dtype)
    network.config.use_cache = False
    if way.adapter is None:
        owner = network
        network.requires_grad_(True)
    else:
        owner = put_adapter(network, way.adapter, base_name="", revision=None, empty=True)
        fused_lora.fuse_adapters(owner)
        owner.to(way.dtype)
        if way.packed:
            _pack(network)
    if way.flat:
        set_flat(network)
    head = network.get_output_embeddings()
    plain = type(head) is torch.nn.Linear
    return LoadedModel(network, owner, RowPath(way.flat), plain, ModelSize(0, 0, 0))


def _figures(model: LoadedModel, way: Way, micro: MicroBatch) -> Figures:
    network = model.network
    if micro.checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        network.gradient_checkpointing_disable()
    network.train()
    for parameter in model.owner.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)  # the optimizer's, which counts it
    batch = _batch(micro.lengths)
    known = [*model.owner.parameters(), *model.owner.buffers(), batch.ids, batch.positions]
    known += [p.grad for p in model.owner.parameters() if p.grad is not None]
    trace = Trace([*known, batch.loss_positions, batch.targets])
    with simulating(way.kind), _without_numbers(), trace:
        loss = model.loss_sum(batch)
        kept = trace.live
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        del loss
    events = list(trace.events)
    on_cuda = way.kind == "cuda"
    return {
        "kept": kept,
        "live": live_peak(events),
        "taken": (taken_on_cuda if on_cuda else taken_from_heap)(events),
        "lean": (taken_on_cuda if on_cuda else taken_lean)(events),
        "adapter": sum(p.numel() for p in model.owner.parameters() if p.requires_grad),
    }


def _batch(lengths: Sequence[int]) -> PackedBatch:
    """Rows of these lengths, all of whose tokens are trained."""
    rows = [Rendered(array("i", [0]) * n, b"\x01" * n) for n in lengths]
    return PackedBatch.of(rows, torch.device("meta"))


# --- what cannot run without numbers ----------------------------------------------------------


@contextlib.contextmanager
def _without_numbers() -> Iterator[None]:
    functional = torch.nn.functional
    with (
        mock.patch.object(functional, "scaled_dot_product_attention", _attention),
        mock.patch.object(packed_attention.RowMasks, "of", _mask),
        mock.patch.object(fused_lora, "_dense", _dense),
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


def _attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
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


def _pack(network: Any) -> None:
    """Give the linear layers weights of 4 bits, as bitsandbytes does: all but the output head."""
    head = network.get_output_embeddings()
    for base in list(network.modules()):
        if isinstance(base, torch.nn.Linear) and base is not head and not _is_adapter(base):
            shape = base.weight.shape
            packed = torch.empty(-(-shape.numel() // 2), 1, dtype=torch.uint8, device="meta")
            base.weight = torch.nn.Parameter(packed, requires_grad=False)
            vars(base.weight)["quant_state"] = SimpleNamespace(shape=shape)
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


class _PackedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Any) -> Tensor:
        ctx.save_for_backward(weight)
        return x @ _dense(weight, weight.quant_state, x).t()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] @ _dense(weight, weight.quant_state, gradients[0]), None
