"""A network with fewer layers, from which the memory of all of them follows.

Layers of one kind take the same memory, so a network with one layer of each kind, and one with a
second of it, give the share of each layer.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Layers:
    """The layers of a network by kind; `places` are the places of each kind in the network."""

    owner: Any
    name: str
    places: Mapping[Hashable, Sequence[int]]

    @classmethod
    def of(cls, network: Any) -> Layers | None:
        """The layers of a network; None where they cannot be found."""
        count = getattr(network.config.get_text_config(), "num_hidden_layers", None)
        for owner in network.modules():
            for name, child in owner.named_children():
                if isinstance(child, torch.nn.ModuleList) and len(child) == count:
                    return cls(owner, name, _kinds(network, list(child)))
        return None

    def samples(self) -> list[list[int]]:
        """Places of the layers to keep: one of each kind, then for each kind one with a second."""
        first = [places[0] for places in self.places.values()]
        seconds = (places[1] for places in self.places.values() if len(places) > 1)
        return [sorted(first), *(sorted([*first, second]) for second in seconds)]

    def whole(self, figures: Sequence[Figures]) -> dict[str, float]:
        """The figures of the whole network, from those of its samples."""
        base, *more = figures
        repeated = [places for places in self.places.values() if len(places) > 1]
        total = dict(base)
        for places, found in zip(repeated, more, strict=True):
            for name, value in found.items():
                total[name] += (len(places) - 1) * (value - base[name])
        return total


def _kinds(network: Any, layers: Sequence[Any]) -> dict[Hashable, list[int]]:
    types = getattr(network.config.get_text_config(), "layer_types", None) or [None] * len(layers)
    found: dict[Hashable, list[int]] = {}
    for place, layer in enumerate(layers):
        shapes = tuple((name, tuple(p.shape)) for name, p in layer.named_parameters())
        found.setdefault((type(layer).__name__, types[place], shapes), []).append(place)
    return found


def keep(network: Any, layers: Layers, places: Sequence[int]) -> Any:
    """A copy of a network with only the layers at these places."""
    whole = getattr(layers.owner, layers.name)
    setattr(layers.owner, layers.name, torch.nn.ModuleList(whole[place] for place in places))
    try:
        small = copy.deepcopy(network)
    finally:
        setattr(layers.owner, layers.name, whole)
    for config in {
        id(m.config): m.config for m in small.modules() if hasattr(m, "config")
    }.values():
        text = config.get_text_config()
        if getattr(text, "num_hidden_layers", None) == len(whole):
            types = getattr(text, "layer_types", None)
            text.num_hidden_layers = len(places)
            # Some configs compute it from the number of layers.
            if types and not isinstance(getattr(type(text), "layer_types", None), property):
                text.layer_types = [types[place] for place in places]
    return small
