"""What an adapter covers: the parts of a model, by the number of their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_SELDOM_ADAPTED = ("the output head", "embeddings")
"""Parts that `all-linear` always leaves out, so that leaving them out needs no word."""


@dataclass(frozen=True)
class Part:
    """One part of a model, such as attention: its weights, and how many of them are adapted."""

    name: str
    weights: int
    adapted: int


@dataclass(frozen=True)
class Coverage:
    """What an adapter is put on: the parts of the base model, by the number of their weights."""

    parts: tuple[Part, ...]

    def describe(self) -> str:
        """One line: the parts that are adapted, and the large ones that are not."""
        total = sum(part.weights for part in self.parts)
        whole = [part.name for part in self.parts if part.adapted == part.weights]
        some = [f"some of {part.name}" for part in self.parts if 0 < part.adapted < part.weights]
        left = [
            part.name + (f" ({part.weights / total:.0%} of the weights)" if share >= 0.01 else "")
            for part in self.parts
            if part.adapted == 0
            and part.name not in _SELDOM_ADAPTED
            and ((share := part.weights / total) >= 0.01 or part.name in ("the router", "experts"))
        ]
        adapted = _listed([*whole, *some])
        if len(whole) + len(some) == 1:
            adapted += " only"
        return f"{adapted}; not {_listed(left)}" if left else adapted

    def facts(self) -> dict[str, Any]:
        """The coverage as the result records it."""
        return {
            "summary": self.describe(),
            "parts": {p.name: {"weights": p.weights, "adapted": p.adapted} for p in self.parts},
        }


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def coverage_of(owner: Any) -> Coverage:
    """What the adapter of a peft model is put on."""
    from peft.tuners.lora.layer import LoraLayer

    adapted = set()
    for name, module in owner.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            plain = re.sub(r"\.base_layer(?=\.|$)", "", name)
            adapted.add(f"{plain}.{getattr(module, 'parameter_name', 'weight')}")
    totals: dict[str, list[int]] = {}
    for matrix in matrices(owner.get_base_model()):
        count = totals.setdefault(matrix.part, [0, 0])
        count[0] += matrix.weights
        count[1] += matrix.weights if matrix.name in adapted else 0
    order = [part for part in _ORDER if part in totals]
    return Coverage(tuple(Part(part, *totals[part]) for part in order))


_SENSES = frozenset({"vision", "image", "visual", "vit", "multimodal", "audio", "speech"})
"""Words in the names of modules that images or sound go through."""
_ORDER = (
    "attention",
    "feed-forward layers",
    "state-space layers",
    "the router",
    "experts",
    "shared experts",
    "layers for images or sound",
    "other layers",
    "the output head",
    "embeddings",
)


@dataclass(frozen=True)
class Matrix:
    """One matrix of a base model, or a stack of them: its name, size, and part of the model."""

    name: str
    weights: int
    part: str
    is_linear: bool


def matrices(network: Any) -> Iterator[Matrix]:
    """The matrices of the base model, also under an adapter or packed to 4 bits."""
    modules = dict(network.named_modules())
    head = network.get_output_embeddings()
    seen = set()
    for name, parameter in network.named_parameters():
        if ".lora_" in name or ".modules_to_save." in name or ".trainable_tokens_" in name:
            continue
        state = getattr(parameter, "quant_state", None)
        shape = parameter.shape if state is None else state.shape
        if len(shape) < 2 or id(parameter) in seen:
            continue
        seen.add(id(parameter))
        owner = modules[name.rpartition(".")[0]]
        plain = re.sub(r"\.(token_adapter|base_layer|original_module)(?=\.)", "", name)
        part = _part(plain, owner, head, modules)
        yield Matrix(plain, shape.numel(), part, is_linear(owner))


def is_of_senses(name: str) -> bool:
    """True for a module that images or sound go through, and text does not."""
    return not _SENSES.isdisjoint(name.replace(".", "_").split("_"))


def is_linear(module: Any) -> bool:
    """True for the layers that compute a matrix product with their weight."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def _part(name: str, module: Any, head: Any, modules: Mapping[str, Any]) -> str:
    """The part of the model that a weight belongs to, by the names of the modules it is in."""
    if isinstance(module, torch.nn.Embedding):
        return "embeddings"
    if module in (head, *_inside(head)):
        return "the output head"
    if is_of_senses(name):
        return "layers for images or sound"
    words = name.lower().split(".")[:-1]
    inside = [word for word in words if not word.isdigit()]
    if any(re.match(r"shared_(experts?|mlp)", word) for word in inside):
        return "shared experts"
    if any("router" in word for word in inside) or _is_gate(name, modules):
        return "the router"
    if "experts" in inside or _is_beside_router(name, module, modules):
        return "experts"
    if any(re.search(r"mamba|mixer|ssm|conv|rg_lru", word) for word in inside):
        return "state-space layers"
    if any(re.search(r"attn|attention|\battn\b", word) for word in inside):
        return "attention"
    if any(re.search(r"mlp|feed_forward|ffn|ff|fc|dense|block_sparse", word) for word in inside):
        return "feed-forward layers"
    return "other layers"


def _inside(head: Any) -> Iterator[Any]:
    """The layer that an adapter of the output head wraps."""
    for holder in (head, getattr(head, "token_adapter", None)):
        for name in ("base_layer", "original_module"):
            wrapped = vars(holder).get("_modules", {}).get(name) if holder is not None else None
            if wrapped is not None:
                yield wrapped


def _is_gate(name: str, modules: Mapping[str, Any]) -> bool:
    """True for `….gate.weight` beside experts, which chooses among them."""
    parts = name.split(".")
    return any(
        word == "gate" and hasattr(modules.get(".".join(parts[:place])), "experts")
        for place, word in enumerate(parts)
    )


def _is_beside_router(name: str, module: Any, modules: Mapping[str, Any]) -> bool:
    """True for stacked matrices, one for each expert, beside the router that chooses among them."""
    weight = getattr(module, name.rpartition(".")[2], None)
    if weight is None or weight.ndim != 3 or "conv" in type(module).__name__.lower():
        return False
    above = modules.get(name.rpartition(".")[0].rpartition(".")[0])
    return hasattr(above, "router")
