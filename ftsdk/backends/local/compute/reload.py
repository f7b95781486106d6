"""Whether an adapter survives saving and loading, tried without memory for its weights.

Loading follows the adapter's config, and peft renames what older versions of an architecture called
otherwise. Either can lose weights without an error: they keep their first values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ftsdk.backends.local.compute.skeleton import without_weights


@dataclass(frozen=True)
class Reload:
    """The weights of an adapter after a save and a load, by name.

    `lost` were trained and are not loaded, `extra` were never trained, `misfits` have other shapes.
    """

    lost: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{named(self.lost)} are lost"] if self.lost else []
        parts += [f"{named(self.extra)} were never trained"] if self.extra else []
        parts += [f"{named(self.misfits)} have other shapes"] if self.misfits else []
        return "; ".join(parts)


def named(names: tuple[str, ...] | list[str]) -> str:
    """How many weights there are, and the first of their names."""
    first = ", ".join(name.removeprefix("base_model.model.") for name in names[:3])
    return f"{len(names)} weights ({first}{', …' if len(names) > 3 else ''})"


def weights_of(owner: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights by their names in a saved file; the base's own are not among them."""
    from peft import get_peft_model_state_dict

    found: dict[str, torch.Tensor] = get_peft_model_state_dict(owner, save_embedding_layers=False)
    return found


def compare(trained: Mapping[str, torch.Tensor], loaded: Mapping[str, torch.Tensor]) -> Reload:
    """How two adapters differ in the names and shapes of their weights."""
    return Reload(
        lost=tuple(sorted(trained.keys() - loaded.keys())),
        extra=tuple(sorted(loaded.keys() - trained.keys())),
        misfits=tuple(
            sorted(n for n in trained if n in loaded and trained[n].shape != loaded[n].shape)
        ),
    )


def reload(owner: Any, config: Any = None) -> Reload:
    """What a save and a load would change about the adapter of `owner`.

    The base is built again without weights, the adapter is made from `config` (its own by default)
    and its weights are loaded under the names that they are saved by.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    config = config or copy.deepcopy(owner.peft_config["default"])
    again = get_peft_model(without_weights(owner.get_base_model()), config, low_cpu_mem_usage=True)
    trained = weights_of(owner)
    found = compare(trained, weights_of(again))
    if str(found):
        return found
    empty = {name: tensor.to("meta") for name, tensor in trained.items()}
    report: Any = set_peft_model_state_dict(again, empty, low_cpu_mem_usage=True)
    parts = (".lora_", ".modules_to_save.", ".trainable_tokens_delta.")
    own = {name for name, _ in again.named_parameters()}  # a tied weight has one name here
    lost = [n for n in report.missing_keys if n in own and any(part in n for part in parts)]
    return Reload(lost=tuple(sorted(lost)), extra=tuple(sorted(report.unexpected_keys)))
