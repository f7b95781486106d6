"""What a chat costs: the price of a model per million tokens, and of a usage that was reported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from ftsdk.catalogue.load import Entry, lookup, shipped
from ftsdk.catalogue.schema import Catalogue, Inference

_MILLION = Decimal(1_000_000)
_NANO = Decimal("0.000000001")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_INPUT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens")
_CACHED = ("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens")


@dataclass(frozen=True)
class ChatPrice:
    """US dollars per million tokens of a model.

    `batch_factor` is what a batch costs compared with single calls, `source` names the page and its
    day. `confirmed` is False where no source states the price firmly.
    """

    input: Decimal
    cached_input: Decimal | None
    output: Decimal
    batch_factor: Decimal | None = None
    source: str = ""
    confirmed: bool = True
    note: str = ""

    @property
    def is_free(self) -> bool:
        """Whether tokens cost nothing."""
        return not (self.input or self.output or self.cached_input)

    def cost(self, usage: Mapping[str, int], *, batch: bool = False) -> Decimal:
        """Return the cost in US dollars of a usage, with the names that `ChatAnswer.usage` has.

        Cached tokens count at the full price where no price for them is known, and so does a batch
        without a factor. Reasoning tokens are part of the completion tokens. Rounded up to
        10⁻⁹ dollars.
        """
        asked = _count(usage, _INPUT)
        cached = min(asked, _count(usage, _CACHED))
        per_cached = self.input if self.cached_input is None else self.cached_input
        total = (asked - cached) * self.input + cached * per_cached
        total += _count(usage, _OUTPUT) * self.output
        if batch and self.batch_factor is not None:
            total *= self.batch_factor
        return (total / _MILLION).quantize(_NANO, ROUND_CEILING)


def _count(usage: Mapping[str, int], names: tuple[str, ...]) -> int:
    return max(0, next((usage[name] for name in names if name in usage), 0))


def chat_price(provider: str, model: str, catalogue: Catalogue | None = None) -> ChatPrice | None:
    """Return the price of chatting with a model; None where it is not known.

    A fine-tune (`ft:BASE:org::id`, `BASE.ft-…`, and their checkpoints) has the tuned price of its
    base. A name with a date that the catalogue does not list has the price of the name without it.
    """
    catalogue = catalogue or shipped()
    entry = _entry(provider, model, catalogue)
    if entry is None:
        return None
    facts = entry.facts
    if facts.free:
        return ChatPrice(
            Decimal(0), Decimal(0), Decimal(0), source=f"{facts.title} charges nothing"
        )
    found = None
    if entry.model is not None:
        found = entry.model.inference if is_tuned(model) else entry.model.untuned
    if found is not None:
        return _price(found, catalogue)
    rule = facts.tokens_are_free
    if rule is not None and rule.holds:
        zero = Decimal(0)
        return ChatPrice(zero, zero, zero, source=_source(rule.source, catalogue), note=rule.note)
    return None


def is_tuned(model: str) -> bool:
    """Whether a name is that of a fine-tune, as OpenAI and Azure name them."""
    return model.strip().lower().startswith("ft:") or ".ft-" in model


def _entry(provider: str, model: str, catalogue: Catalogue) -> Entry | None:
    """Return the catalogue's entry of a model, also by its name without a date."""
    found = lookup(provider, model, catalogue)
    if found is None or found.model is not None:
        return found
    base = model.split(":")[1] if model.lower().startswith("ft:") and ":" in model[3:] else model
    return lookup(provider, _DATED.sub("", base), catalogue)


def _price(found: Inference, catalogue: Catalogue) -> ChatPrice:
    return ChatPrice(
        input=found.input,
        cached_input=found.cached_input,
        output=found.output,
        batch_factor=found.batch_factor,
        source=_source(found.source, catalogue),
        confirmed=found.confirmed,
        note=found.note,
    )


def _source(name: str, catalogue: Catalogue) -> str:
    source = catalogue.sources[name]
    return f"{source.title}, {source.day}"
