"""One training step on tensors without memory: what it allocates, in which order.

The step is that of the trainer: its forward pass, attention, the loss of its method and adapters, on
a network that is built from a config. Only what cannot run without numbers is replaced
(`without_numbers`).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ftsdk.backends.local.compute.adapters import grow_embedding, put_adapter
from ftsdk.backends.local.compute.fused_lora import fuse_adapters
from ftsdk.backends.local.compute.patch_pieces import keep_less
from ftsdk.backends.local.compute.simulated_device import simulating
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.optimizers import OptimizerName
from ftsdk.backends.local.options import RunHyperparameters, RunOptions
from ftsdk.backends.local.training.footprint.allocators import (
    live_peak,
    taken_from_heap,
    taken_lean,
    taken_on_cuda,
)
from ftsdk.backends.local.training.footprint.offloaded import Inputs
from ftsdk.backends.local.training.footprint.shrunk import Figures, Layers, keep
from ftsdk.backends.local.training.footprint.trace import Trace
from ftsdk.backends.local.training.footprint.without_numbers import (
    compile_pieces,
    has_plain_head,
    pack,
    put_noise,
    without_numbers,
)
from ftsdk.backends.local.training.forward import evaluating, set_flat
from ftsdk.backends.local.training.model import LoadedModel, ModelSize
from ftsdk.backends.local.training.objectives.choose import objective_for
from ftsdk.backends.local.training.objectives.dpo import Counts
from ftsdk.backends.local.training.objectives.kto import Common, Labelled
from ftsdk.backends.local.training.objectives.pairs import Pair
from ftsdk.backends.local.training.row_path import RowPath
from ftsdk.dataset.tokenize.render import Rendered
from ftsdk.types.spec import LoRA, Method


@dataclass(frozen=True)
class MicroBatch:
    """The sequences of one forward pass, by their lengths in tokens, and how it is computed.

    Where an example is a pair, both of its sequences follow each other. `untrained` are those of a
    pass without a gradient, where the run has one.
    """

    lengths: tuple[int, ...]
    checkpointing: bool = False
    untrained: tuple[int, ...] = ()
    offload: bool = False


@dataclass(frozen=True)
class Way:
    """How a network is trained: `kind` is `cpu` or `cuda`. Rows are `padded` or laid end to end.

    `noise` is put on the embeddings; `compiled` are the small steps of the layers.
    """

    adapter: LoRA | None
    dtype: torch.dtype
    kind: str
    padded: bool = False
    method: Method = "sft"
    noise: bool = False
    compiled: bool = False
    token_ids: TokenIds = field(default_factory=TokenIds)
    optimizer: OptimizerName = "adamw"

    @property
    def packed(self) -> bool:
        """True for a base in NF4."""
        return self.adapter is not None and self.adapter.quantize is not None


class Simulation:
    """A network that is trained in one way, with few of its layers."""

    def __init__(self, network: Any, way: Way) -> None:
        self._way, self._layers = way, Layers.of(network)
        samples = [network]
        if self._layers is not None:
            samples = [keep(network, self._layers, places) for places in self._layers.samples()]
        first = _model(samples[0], way)
        first = replace(first, plain_head=has_plain_head(first.network))
        others = (_model(sample, way) for sample in samples[1:])
        self._models = [first, *(replace(one, plain_head=first.plain_head) for one in others)]

    def figures(self, micro: MicroBatch) -> Mapping[str, float]:
        """The bytes that a step takes over the weights.

        `kept` is what the backward pass needs, `live` the most that is in use at once, `taken` what
        the allocator takes for it, and `lean` what a lean one takes; `untrained` and `untrained_lean`
        are the latter for a pass without a gradient. `adapter` is the number of trained weights, and
        `away` what inputs of layers take in the memory of the machine.
        """
        found = [_figures(model, self._way, micro) for model in self._models]
        return found[0] if self._layers is None else self._layers.whole(found)


def _model(network: Any, way: Way) -> LoadedModel:
    network = network.to(way.dtype)
    network.config.use_cache = False
    grow_embedding(network, way.token_ids.rows)
    if way.adapter is None:
        owner = network
        network.requires_grad_(True)
    else:
        owner = put_adapter(
            network, way.adapter, base_name="", revision=None, tokens=way.token_ids, empty=True
        )
        fuse_adapters(owner)
        owner.to(way.dtype)
        if way.packed:
            pack(network)
    keep_less(network)
    if not way.padded:
        set_flat(network)
    if way.noise:
        put_noise(network)
    pieces = compile_pieces(network) if way.compiled else None
    size = ModelSize(0, 0, 0)
    path = RowPath("padded" if way.padded else "flat")
    return LoadedModel(network, owner, path, False, size, pieces=pieces)


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
    known = [*model.owner.parameters(), *model.owner.buffers()]
    known += [p.grad for p in model.owner.parameters() if p.grad is not None]
    inputs = Inputs(network) if micro.offload else None
    found = _step(model, way, micro, known)
    if inputs is not None:
        found = {name: taken + inputs.on_the_way for name, taken in found.items()}
        found["kept"] -= inputs.on_the_way
    found["away"] = 0 if inputs is None else inputs.away_bytes
    aside = _pass_aside(model, way, micro, known)
    found["untrained"], found["untrained_lean"] = _taken(aside, way)
    found["adapter"] = sum(p.numel() for p in model.owner.parameters() if p.requires_grad)
    return found


def _step(
    model: LoadedModel, way: Way, micro: MicroBatch, known: list[torch.Tensor]
) -> dict[str, float]:
    objective = objective_for(way.method, RunHyperparameters(), RunOptions())
    examples, common = _examples(way.method, micro.lengths)
    trace = Trace(known)
    with simulating(way.kind), without_numbers(), trace:
        loss = objective.loss_of(model, examples, common).loss
        kept = trace.live
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        del loss
    taken, lean = _taken(trace.events, way)
    return {"kept": kept, "live": live_peak(trace.events), "taken": taken, "lean": lean}


def _pass_aside(
    model: LoadedModel, way: Way, micro: MicroBatch, known: list[torch.Tensor]
) -> Sequence[tuple[int, int]]:
    """What a pass without a gradient allocates, over the rows that it has."""
    if not micro.untrained:
        return []
    trace = Trace(known)
    with simulating(way.kind), without_numbers(), evaluating(model.network), trace:
        model.log_probs(model.batch(_rows(micro.untrained)))
    return trace.events


def _taken(events: Sequence[tuple[int, int]], way: Way) -> tuple[int, int]:
    """The bytes that the allocator takes for a series, and those that a lean one takes."""
    if way.kind == "cuda":
        taken = taken_on_cuda(events)
        return taken, taken
    return taken_from_heap(events, adapter=way.adapter is not None), taken_lean(events)


def _examples(method: Method, lengths: Sequence[int]) -> tuple[list[Any], Any]:
    """Examples of a method whose sequences have these lengths, and what they have in common."""
    rows = _rows(lengths)
    if method in ("dpo", "orpo"):
        pairs = [Pair(*two, (0.0, 0.0)) for two in zip(rows[::2], rows[1::2], strict=True)]
        return pairs, Counts(len(pairs), sum(map(len, rows)))
    if method == "kto":
        return [Labelled(row, True, None, (0.0,)) for row in rows], Common(len(rows), 0, 0.0)
    return list(rows), sum(row.trained_count for row in rows)


def _rows(lengths: Sequence[int]) -> list[Rendered]:
    """Rows of these lengths, all of whose tokens are trained."""
    return [Rendered(array("i", [0]) * n, b"\x01" * n) for n in lengths]
