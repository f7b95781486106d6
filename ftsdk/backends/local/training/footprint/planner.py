"""Choose how a run goes through a device of a given size, and say what would fit where nothing does.

Preferred is what trains fastest: all tokens at once and activations kept; then fewer tokens at once;
then activations computed again; then as few tokens as the longest row has; and on a GPU at last what
the layers keep of them in the memory of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ftsdk.backends.local.training.compiling import may_compile
from ftsdk.backends.local.training.footprint.asked import Asked
from ftsdk.backends.local.training.footprint.bound import DATA_BYTES, MICRO_BATCH_TOKENS
from ftsdk.backends.local.training.footprint.divided import divided, gathered_bytes
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.local.training.footprint.simulate import MicroBatch, Simulation, Way
from ftsdk.backends.local.training.footprint.weights import trained_items, weight_items
from ftsdk.backends.local.training.row_path import BatchSize
from ftsdk.types.spec import LoRA

_FEW_TOKENS = {"cpu": 512, "cuda": 4096}
"""Fewer tokens at once cost more time than computing activations again."""

_SCRATCH = {"cpu": 0.2, "cuda": 0.0}
"""What matrix products and softmax take for themselves, as a share of the tensors that come and go."""


_COMPILER = 330 << 20
"""What torch's compiler keeps in the process: an estimate, rounded up."""
_SAVED_BYTES = 12
"""Bytes for each weight of an adapter while it is loaded back and compared."""


@dataclass(frozen=True)
class Room:
    """A device: its kind and name, the bytes that a run may take, and those of the process itself.

    `free_bytes` are those of the first that no other program has now; None where that is unknown.
    `beside_bytes` is the memory of the machine that a GPU may use for what is offloaded; None where
    there is none, or it is not known.
    """

    kind: str
    name: str
    room_bytes: int
    process_bytes: int
    free_bytes: int | None = None
    beside_bytes: int | None = None

    def shared_by(self, processes: int) -> Room:
        """What each of so many processes has of it."""
        free = None if self.free_bytes is None else self.free_bytes // processes
        return replace(self, room_bytes=self.room_bytes // processes, free_bytes=free)


@dataclass(frozen=True)
class _Setting:
    budget: int
    size: BatchSize
    checkpointing: bool
    offload: bool = False


class Planner:
    """Plans the memory of one architecture; `build` returns its network without memory."""

    def __init__(self, build: Callable[[], Any], room: Room) -> None:
        self._build, self._room = build, room
        self._simulations: dict[str, Simulation] = {}
        self._figures: dict[tuple[str, MicroBatch], Mapping[str, float]] = {}

    def plan(self, way: Way, asked: Asked, *, advise: bool = True) -> MemoryPlan:
        """The first setting that fits; where none does, the smallest one, and what would fit.

        A setting that fits what is free now is preferred to one that fits only the whole device.
        Without `advise` what would fit is left out, which takes longer than the rest.
        """
        room, free = self._room.room_bytes, self._room.free_bytes
        found = self._first(way, asked, room)
        if found.fits and free is not None and found.peak_bytes > free:
            smaller = self._first(way, asked, free)
            why = "what trains faster does not fit in what is free now" if smaller.fits else ""
            return smaller.model_copy(update={"fits": True, "why": why or smaller.why})
        if found.fits or not advise:
            return found
        return found.model_copy(update={"would_fit": tuple(self._would_fit(way, asked))})

    def _first(self, way: Way, asked: Asked, most: int) -> MemoryPlan:
        """The first setting that takes at most so many bytes, or the smallest one."""
        network = self._build()
        base = {**weight_items(network, way)} if way.adapter is not None else {}
        parameters = sum(parameter.numel() for parameter in network.parameters())
        base |= _beside(parameters, way, asked)
        whole = gathered_bytes(network, way) if asked.sharding == "fsdp" else 0
        smallest: MemoryPlan | None = None
        first = True
        for setting in _settings(asked, way, bool(network.supports_gradient_checkpointing)):
            figures = self._most_of(network, way, _micro_batches(setting, way, asked))
            for lean in (False, True) if way.kind == "cpu" else (False,):
                plan = self._plan(way, setting, base, figures, most, lean=lean, first=first)
                if asked.sharding == "fsdp":
                    plan = divided(plan, whole, asked.processes, most)
                if plan.fits:
                    return plan.model_copy(update={"parameters": parameters})
                if smallest is None or plan.peak_bytes < smallest.peak_bytes:
                    smallest = plan
            first = False
        if smallest is None:
            raise ValueError("there is no setting to try")
        return smallest.model_copy(update={"parameters": parameters})

    def _most_of(self, network: Any, way: Way, micros: Iterable[MicroBatch]) -> Mapping[str, float]:
        """The most that any of these micro-batches takes, by figure."""
        found = [self._figures_of(network, way, micro) for micro in micros]
        return {name: max(one[name] for one in found) for name in found[0]}

    def _figures_of(self, network: Any, way: Way, micro: MicroBatch) -> Mapping[str, float]:
        """What a micro-batch takes, simulated once."""
        name = str(way)
        if (name, micro) not in self._figures:
            if name not in self._simulations:
                self._simulations[name] = Simulation(network, way)
            self._figures[name, micro] = self._simulations[name].figures(micro)
        return self._figures[name, micro]

    def _plan(
        self,
        way: Way,
        setting: _Setting,
        base: Mapping[str, int],
        figures: Mapping[str, float],
        most: int,
        *,
        lean: bool,
        first: bool,
    ) -> MemoryPlan:
        weights = round(figures["adapter"])
        taken = figures["lean" if lean else "taken"]
        aside = figures["untrained_lean" if lean else "untrained"]
        passing = figures["live"] - figures["kept"]
        scratch = _SCRATCH[way.kind] * passing
        saving = weights * _SAVED_BYTES if way.adapter is not None else 0
        step = taken + scratch
        items = {
            **base,
            **trained_items(weights, way),
            "activations": round(figures["kept"]),
            "temporaries of one pass": round(passing),
            "scratch of the math libraries": round(scratch),
            "kept by the allocator": max(0, round(taken - figures["live"])),
            "more for the untrained model": max(0, round(aside - step)),
            "more for saving": max(0, round(saving - max(step, aside))),
            "process and libraries": self._room.process_bytes,
        }
        items = {name: count for name, count in items.items() if count}
        away, beside = round(figures["away"]), self._room.beside_bytes
        fits = sum(items.values()) <= most and (beside is None or away <= beside)
        why = "" if first and not lean else "what trains faster does not fit"
        if lean:
            why += ", freed memory is given back"
        return MemoryPlan(
            kind=way.kind,
            device=self._room.name,
            room_bytes=self._room.room_bytes,
            free_bytes=self._room.free_bytes,
            items=items,
            micro_batch_tokens=setting.budget,
            tokens_at_once=setting.size.tokens,
            gradient_checkpointing=setting.checkpointing,
            offload_activations=setting.offload,
            away_bytes=away,
            lean=lean,
            fits=fits,
            why=why,
        )

    def _would_fit(self, way: Way, asked: Asked) -> Iterator[str]:
        """Yield the single changes after which it fits; without one, those that fit together."""
        found = False
        for text, other, smaller in _changes(way, asked):
            plan = self._first(other, _least(smaller), self._room.room_bytes)
            if plan.fits:
                found = True
                yield f"{text} ({gigabytes(plan.peak_bytes)})"
        if found:
            return
        words: list[str] = []
        for text, other, smaller in _all_changes(way, asked):
            words = [*words[:1], text]
            plan = self._first(other, _least(smaller), self._room.room_bytes)
            if plan.fits:
                yield f"{' with '.join(words)} ({gigabytes(plan.peak_bytes)})"
                return


def _settings(asked: Asked, way: Way, can_recompute: bool) -> Iterator[_Setting]:
    """Yield the settings that the user leaves open, the fastest first."""
    budgets = [asked.tokens or MICRO_BATCH_TOKENS[way.kind]]
    if asked.tokens is None:
        while budgets[-1] > asked.example_tokens:
            budgets.append(max(asked.example_tokens, budgets[-1] // 2))
    sizes: dict[int, BatchSize] = {}
    for budget in budgets:
        size = BatchSize.of_examples(asked.longest, asked.example_tokens, asked.rows, budget)
        if size not in sizes.values():
            sizes[budget] = size
    tried = set()
    for checkpointing, offload, least in _kinds(asked, way, can_recompute):
        for place, (budget, size) in enumerate(sizes.items()):
            setting = _Setting(budget, size, checkpointing, offload)
            enough = place == 0 or size.tokens >= least
            if enough and setting not in tried:
                tried.add(setting)
                yield setting


def _kinds(asked: Asked, way: Way, can_recompute: bool) -> Iterator[tuple[bool, bool, int]]:
    """Yield whether activations are computed again, whether offloaded, and the fewest tokens for it."""
    few = _FEW_TOKENS[way.kind]
    for checkpointing, offload, least in (
        (False, False, few),
        (True, False, 0),
        (False, False, 0),
        (True, True, 0),
    ):
        possible = can_recompute or not checkpointing
        possible = possible and (way.kind == "cuda" or not offload)
        if (
            possible
            and asked.checkpointing in (None, checkpointing)
            and asked.offload in (None, offload)
        ):
            yield checkpointing, offload, least


def _least(asked: Asked) -> Asked:
    """As few tokens at once as there can be, where the user leaves that open."""
    checkpointing = True if asked.checkpointing is None else asked.checkpointing
    tokens = asked.tokens or asked.example_tokens
    return replace(asked, tokens=tokens, checkpointing=checkpointing)


def _shorter(asked: Asked, longest: int) -> Asked:
    """The same rows, cut at `longest` tokens."""
    example = min(asked.example_tokens, (2 if asked.is_of_pairs else 1) * longest)
    untrained = min(asked.untrained, longest)
    return replace(asked, longest=longest, example=example, untrained=untrained)


def _beside(parameters: int, way: Way, asked: Asked) -> Mapping[str, int]:
    """What a run on a CPU has in its process besides tensors."""
    if way.kind != "cpu":
        return {}
    compiles = may_compile(asked.kernels, way.kind, asked.step_tokens * parameters)
    return {
        "rows of the dataset": DATA_BYTES * asked.data_tokens,
        "compiler": _COMPILER if compiles else 0,
    }


def _micro_batches(setting: _Setting, way: Way, asked: Asked) -> Iterator[MicroBatch]:
    """Yield the micro-batches that may take most, each with such a pass without a gradient."""
    if not way.padded:
        yield _end_to_end(setting, asked)
        return
    trained = _padded(setting.budget, asked.rows, asked.longest, 2 if asked.is_of_pairs else 1)
    aside = _padded(setting.budget, asked.rows, asked.untrained, 1) if asked.untrained else [()]
    for place in range(max(len(trained), len(aside))):
        lengths, untrained = (
            trained[min(place, len(trained) - 1)],
            aside[min(place, len(aside) - 1)],
        )
        yield MicroBatch(lengths, setting.checkpointing, untrained, setting.offload)


def _padded(budget: int, rows: int, longest: int, sequences: int) -> list[tuple[int, ...]]:
    """As many of the longest examples as go together, or one more of shorter ones.

    An example is so many `sequences`, all of which are padded to the longest.
    """
    each = sequences * longest
    tokens = max(each, min(budget, rows * each))
    full, rest = divmod(tokens, each)
    more = sequences * (full + 1)
    found = [(longest,) * (sequences * full), (tokens // more,) * more]
    return found if rest else found[:1]


def _end_to_end(setting: _Setting, asked: Asked) -> MicroBatch:
    size = setting.size
    untrained: tuple[int, ...] = ()
    if asked.untrained:
        aside = BatchSize.of([asked.untrained], asked.rows, setting.budget)
        untrained = _filled(aside.tokens, [aside.longest])
    example = [asked.longest, asked.example_tokens - asked.longest]
    example = example if asked.is_of_pairs else example[:1]
    filled = _filled(size.tokens, example)
    return MicroBatch(filled, setting.checkpointing, untrained, setting.offload)


def _filled(tokens: int, example: Sequence[int]) -> tuple[int, ...]:
    """Sequences of the longest example until so many tokens are full, and a shorter one."""
    full, rest = divmod(tokens, sum(example))
    last = [rest // len(example)] * len(example)
    last[0] += rest - sum(last)
    return (*(list(example) * full), *(last if min(last) > 1 else ()))


def _changes(way: Way, asked: Asked) -> Iterator[tuple[str, Way, Asked]]:
    """Yield single changes of a job that take less memory, as text and as the changed job."""
    if asked.checkpointing is False:
        yield "gradient_checkpointing left open", way, replace(asked, checkpointing=None)
    if asked.offload is False and way.kind == "cuda":
        yield "offload_activations left open", way, replace(asked, offload=None)
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
    if way.optimizer == "adamw":
        yield 'optimizer="adamw_8bit"', replace(way, optimizer="adamw_8bit"), asked
    shorter = asked.longest // 2
    while shorter >= 128:
        yield f"max_length={shorter}", way, _shorter(asked, shorter)
        shorter //= 2


def _all_changes(way: Way, asked: Asked) -> Iterator[tuple[str, Way, Asked]]:
    """Yield changes one on top of the other."""
    open_ = replace(asked, tokens=None, checkpointing=None, offload=None)
    packed = replace(way, adapter=_nf4(way.adapter or LoRA()))
    words = 'quantize="nf4"' if way.adapter else 'a LoRA with quantize="nf4"'
    yield words, packed, open_
    shorter = open_.longest // 2
    while shorter >= 128:
        yield f"max_length={shorter}", packed, _shorter(open_, shorter)
        shorter //= 2


def _nf4(adapter: LoRA) -> LoRA:
    return adapter.model_copy(update={"quantize": "nf4"})
