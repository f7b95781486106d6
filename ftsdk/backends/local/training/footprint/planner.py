"""Choose how a run goes through a device of a given size, and say what would fit where nothing does.

Preferred is what trains fastest: all tokens at once and activations kept; then fewer tokens at once;
then activations computed again; then as few tokens as the longest row has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftsdk.backends.local.training.footprint.bound import MICRO_BATCH_TOKENS
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.local.training.footprint.simulate import MicroBatch, Way, simulate
from ftsdk.backends.local.training.footprint.weights import trained_items, weight_items
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.types.spec import LoRA

_FEW_TOKENS = {"cpu": 512, "cuda": 4096}
"""Fewer tokens at once cost more time than computing activations again."""

_SCRATCH = {"cpu": 0.2, "cuda": 0.0}
"""What matrix products and softmax take for themselves, as a share of the tensors that come and go."""


@dataclass(frozen=True)
class Room:
    """A device: its kind and name, the bytes that a run may take, and those of the process itself."""

    kind: str
    name: str
    room_bytes: int
    process_bytes: int


@dataclass(frozen=True)
class Asked:
    """What is trained: the longest row in tokens, rows of a micro-batch, and the user's own choices.

    `tokens` and `checkpointing` are None where the planner chooses.
    """

    longest: int
    batch_size: int
    tokens: int | None = None
    checkpointing: bool | None = None


@dataclass(frozen=True)
class _Setting:
    budget: int
    size: BatchSize
    checkpointing: bool


class Planner:
    """Plans the memory of one architecture; `build` returns its network without memory."""

    def __init__(self, build: Callable[[], Any], room: Room) -> None:
        self._build, self._room = build, room

    def plan(self, way: Way, asked: Asked, *, advise: bool = True) -> MemoryPlan:
        """The first setting that fits; where none does, the smallest one, and what would fit.

        Without `advise` the latter is left out, which takes longer than the rest.
        """
        found = self._first(way, asked)
        if found.fits or not advise:
            return found
        return found.model_copy(update={"would_fit": tuple(self._would_fit(way, asked))})

    def _first(self, way: Way, asked: Asked) -> MemoryPlan:
        network = self._build()
        base = weight_items(network, way) if way.adapter is not None else {}
        smallest: MemoryPlan | None = None
        first = True
        for setting in _settings(asked, way, bool(network.supports_gradient_checkpointing)):
            micro = MicroBatch(tuple(_lengths(setting.size, way)), setting.checkpointing)
            figures = simulate(network, way, [micro])[0]
            for lean in (False, True) if way.kind == "cpu" else (False,):
                plan = self._plan(way, setting, base, figures, lean=lean, first=first)
                if plan.fits:
                    return plan
                if smallest is None or plan.peak_bytes < smallest.peak_bytes:
                    smallest = plan
            first = False
        if smallest is None:
            raise ValueError("there is no setting to try")
        return smallest

    def _plan(
        self,
        way: Way,
        setting: _Setting,
        base: Mapping[str, int],
        figures: Mapping[str, float],
        *,
        lean: bool,
        first: bool,
    ) -> MemoryPlan:
        trained = trained_items(round(figures["adapter"]), way)
        taken = figures["lean" if lean else "taken"]
        passing = figures["live"] - figures["kept"]
        items = {
            **base,
            **trained,
            "activations": round(figures["kept"]),
            "temporaries of one pass": round(passing),
            "scratch of the math libraries": round(_SCRATCH[way.kind] * passing),
            "kept by the allocator": max(0, round(taken - figures["live"])),
            "process and libraries": self._room.process_bytes,
        }
        items = {name: count for name, count in items.items() if count}
        fits = sum(items.values()) <= self._room.room_bytes
        why = "" if first and not lean else "what trains faster does not fit"
        if lean:
            why += ", freed memory is given back"
        return MemoryPlan(
            kind=way.kind,
            device=self._room.name,
            room_bytes=self._room.room_bytes,
            items=items,
            micro_batch_tokens=setting.budget,
            tokens_at_once=setting.size.tokens if way.flat else setting.size.longest,
            gradient_checkpointing=setting.checkpointing,
            lean=lean,
            fits=fits,
            why=why,
        )

    def _would_fit(self, way: Way, asked: Asked) -> Iterator[str]:
        """Yield the single changes after which it fits; without one, those that fit together."""
        found = False
        for text, other, smaller in _changes(way, asked):
            plan = self._first(other, _least(smaller))
            if plan.fits:
                found = True
                yield f"{text} ({gigabytes(plan.peak_bytes)})"
        if found:
            return
        words: list[str] = []
        for text, other, smaller in _all_changes(way, asked):
            words = [*words[:1], text]
            plan = self._first(other, _least(smaller))
            if plan.fits:
                yield f"{' with '.join(words)} ({gigabytes(plan.peak_bytes)})"
                return


def _settings(asked: Asked, way: Way, can_recompute: bool) -> Iterator[_Setting]:
    """Yield the settings that the user leaves open, the fastest first."""
    budgets = [asked.tokens or MICRO_BATCH_TOKENS[way.kind]]
    if asked.tokens is None:
        while budgets[-1] > asked.longest:
            budgets.append(max(asked.longest, budgets[-1] // 2))
    sizes: dict[int, BatchSize] = {}
    for budget in budgets:
        size = BatchSize.of([asked.longest], asked.batch_size, budget)
        if size not in sizes.values():
            sizes[budget] = size
    few = _FEW_TOKENS[way.kind]
    tried = set()
    for checkpointing, least in ((False, few), (True, 0), (False, 0)):
        if asked.checkpointing not in (None, checkpointing) or (
            checkpointing and not can_recompute
        ):
            continue
        for place, (budget, size) in enumerate(sizes.items()):
            enough = place == 0 or size.tokens >= least
            if enough and (budget, checkpointing) not in tried:
                tried.add((budget, checkpointing))
                yield _Setting(budget, size, checkpointing)


def _least(asked: Asked) -> Asked:
    """As few tokens at once as there can be, where the user leaves that open."""
    checkpointing = True if asked.checkpointing is None else asked.checkpointing
    return replace(asked, tokens=asked.tokens or asked.longest, checkpointing=checkpointing)


def _lengths(size: BatchSize, way: Way) -> Sequence[int]:
    """Rows of the longest length, and what is left: the micro-batch that takes most."""
    if not way.flat:
        return [size.longest]
    full, rest = divmod(size.tokens, size.longest)
    return [size.longest] * full + ([rest] if rest else [])


def _changes(way: Way, asked: Asked) -> Iterator[tuple[str, Way, Asked]]:
    """Yield single changes of a job that take less memory, as text and as the changed job."""
    if asked.checkpointing is False:
        yield "gradient_checkpointing left open", way, replace(asked, checkpointing=None)
    if asked.tokens is not None:
        yield "micro_batch_tokens left open", way, replace(asked, tokens=None)
    adapter = way.adapter
    if adapter is None:
        yield "a LoRA of rank 16 instead of all weights", replace(way, adapter=LoRA()), asked
        yield (
            'a LoRA with quantize="nf4" instead of all weights',
            replace(way, adapter=_nf4(LoRA())),
            asked,
        )
    elif adapter.quantize is None:
        yield 'quantize="nf4"', replace(way, adapter=_nf4(adapter)), asked
    if adapter is not None and adapter.rank > 8:
        yield "rank=8", replace(way, adapter=adapter.model_copy(update={"rank": 8})), asked
    shorter = asked.longest // 2
    while shorter >= 128:
        yield f"max_length={shorter}", way, replace(asked, longest=shorter)
        shorter //= 2


def _all_changes(way: Way, asked: Asked) -> Iterator[tuple[str, Way, Asked]]:
    """Yield changes one on top of the other."""
    open_ = replace(asked, tokens=None, checkpointing=None)
    packed = replace(way, adapter=_nf4(way.adapter or LoRA()))
    words = 'quantize="nf4"' if way.adapter else 'a LoRA with quantize="nf4"'
    yield words, packed, open_
    shorter = open_.longest // 2
    while shorter >= 128:
        yield f"max_length={shorter}", packed, replace(open_, longest=shorter)
        shorter //= 2


def _nf4(adapter: LoRA) -> LoRA:
    return adapter.model_copy(update={"quantize": "nf4"})
