"""Which models can be tuned here, or on a card of a given size."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.local.memory import memory_on_card
from ftsdk.backends.local.models.known_models import KNOWN_MODELS
from ftsdk.backends.local.models.known_sizes import KNOWN_SIZES
from ftsdk.backends.local.models.pull import facts_cache
from ftsdk.backends.local.models.resolve import pulled_folder
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan
from ftsdk.types.spec import LoRA

_KINDS = {"LoRA": None, "QLoRA": "nf4"}


@dataclass(frozen=True)
class Fit:
    """The memory of one model trained in one way; `way` is `LoRA` or `QLoRA`."""

    model: str
    way: str
    plan: MemoryPlan

    def to_dict(self) -> dict[str, Any]:
        """The figures as `--json` prints them; bytes are integers."""
        plan = self.plan
        return {
            "model": self.model,
            "way": self.way,
            "fits": None if plan.unknown else plan.fits,
            "peak_bytes": plan.peak_bytes,
            "room_bytes": plan.room_bytes,
            "memory": dict(plan.items),
            "tokens_at_once": plan.tokens_at_once,
            "gradient_checkpointing": plan.gradient_checkpointing,
            "unknown": plan.unknown,
        }


def fits(
    home: Path,
    *,
    card_bytes: int | None = None,
    models: Iterable[str] = (),
    longest: int = 1024,
    batch_size: int = 8,
    rank: int = 16,
) -> Iterator[Fit]:
    """Yield the memory of each known model, and of `models` by name or folder, in each way.

    `card_bytes` is the memory of a CUDA card; without it, this machine's own device counts. `longest`
    is in tokens. Models without a folder here are known by their published dimensions.
    """
    known = {name: pulled_folder(name, home=home) for name in _names(models)}
    sized = functools.partial(
        memory_on_card, longest=longest, batch_size=batch_size, cache=facts_cache(home)
    )
    for way, quantize in _KINDS.items():
        adapter = LoRA(rank=rank, quantize=quantize)
        for name, folder in known.items():
            if folder is not None:
                yield Fit(name, way, sized(adapter, card_bytes, folder=folder))
        for size in KNOWN_SIZES:
            yield Fit(size.hub_id, way, sized(adapter, card_bytes, config=size.config))


def _names(models: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*models, *(known.name for known in KNOWN_MODELS)]))
