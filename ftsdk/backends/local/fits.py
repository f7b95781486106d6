"""Which models can be tuned here, or on a card of a given size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.local.memory import memories, on_card
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
    on_count: Callable[[int], None] | None = None,
) -> Iterator[Fit]:
    """Yield the memory of each known model, and of `models` by name or folder, in each way.

    `card_bytes` is the memory of a CUDA card; without it, this machine's own device counts. `longest`
    is in tokens. Models without a folder here are known by their published dimensions. `on_count` is
    given the number of answers before the first.
    """
    known = {name: pulled_folder(name, home=home) for name in _names(models)}
    asked = functools.partial(on_card, card_bytes=card_bytes, longest=longest, rows=batch_size)
    questions: list[tuple[str, str, dict[str, Any]]] = []
    for way, quantize in _KINDS.items():
        adapter = LoRA(rank=rank, quantize=quantize)
        here = [(name, folder) for name, folder in known.items() if folder is not None]
        questions += [(name, way, asked(adapter, folder=folder)) for name, folder in here]
        questions += [(one.hub_id, way, asked(adapter, config=one.config)) for one in KNOWN_SIZES]
    if on_count is not None:
        on_count(len(questions))
    plans = memories([question for _, _, question in questions], facts_cache(home))
    for (name, way, _), plan in zip(questions, plans, strict=True):
        yield Fit(name, way, plan)


def _names(models: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*models, *(known.name for known in KNOWN_MODELS)]))
