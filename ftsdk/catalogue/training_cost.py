"""What training will cost, as a range whose every assumption is said; unknown stays unknown.

trained tokens = tokens of the rows × epochs (+ validation tokens × evaluations, where billed)
cost           = trained tokens × rate, at least the minimum of a job
by the second  = seconds × rate of the hardware
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Literal

from ftsdk.catalogue.load import Entry, lookup, shipped
from ftsdk.catalogue.schema import Catalogue, Hardware, Provider, Rate, Span
from ftsdk.types.cost import Cost, CostBasis

__all__ = [
    "Serving",
    "estimate_training",
    "hosting",
    "hourly_rate",
    "prefer_quote",
    "token_range",
    "training_tokens",
]

_MICRO = Decimal("0.000001")
_MILLION = Decimal(1_000_000)
_COUNT_LOW, _COUNT_HIGH = Decimal("0.80"), Decimal("1.35")
"""How far a count by another tokenizer may be off; the high side errs towards paying more."""

Tokens = int | tuple[int, int]
"""Tokens of all rows once: counted exactly, or a range."""


@dataclass(frozen=True)
class Serving:
    """What a tuned model costs in use. None means unknown; prices are US dollars."""

    kind: Literal["free", "per_token", "per_hour", "unknown"]
    text: str
    usd_per_hour: Span | None = None
    input_per_mtok: Decimal | None = None
    cached_input_per_mtok: Decimal | None = None
    output_per_mtok: Decimal | None = None
    source: str = ""
    as_of: dt.date | None = None
    confirmed: bool = True
    note: str = ""

    def cost(self) -> Cost:
        """The standing cost alone, as a record; nothing per hour means nothing to be stopped."""
        if self.kind == "unknown":
            return Cost()
        per_hour = Decimal(0) if self.usd_per_hour is None else self.usd_per_hour.high
        return Cost(
            basis=CostBasis.ESTIMATED,
            hosting_usd_per_hour=per_hour,
            source=self.source,
            as_of=self.as_of,
            assumptions=(self.note,) if self.note else (),
        )


@dataclass
class _Sum:
    """An estimate in the making: two ends, and what was assumed on the way."""

    low: Decimal
    high: Decimal
    assumptions: list[str] = field(default_factory=list)

    def scale(self, low: Decimal | int, high: Decimal | int) -> None:
        self.low *= Decimal(low)
        self.high *= Decimal(high)


def token_range(tokens: int, basis: Literal["exact", "estimated", "unknown"]) -> Tokens | None:
    """A count with its doubt: exact stays one number, an estimate becomes a range."""
    if basis == "exact":
        return tokens
    if basis == "unknown":
        return None
    return int(tokens * _COUNT_LOW), int((tokens * _COUNT_HIGH).to_integral_value(ROUND_CEILING))


def estimate_training(
    provider: str,
    model: str,
    *,
    method: str = "sft",
    adapter_kind: str | None = None,
    tokens: Tokens | None = None,
    epochs: float | Decimal | None = None,
    rows: int | None = None,
    validation_tokens: int = 0,
    evaluations: int = 0,
    packed: bool = True,
    max_length: int | None = None,
    seconds: tuple[float, float] | None = None,
    hardware: str | None = None,
    today: dt.date | None = None,
    catalogue: Catalogue | None = None,
) -> Cost:
    """The cost of one training, in US dollars, as far as the catalogue knows.

    `adapter_kind` is `lora`, `nf4` or `full` (None: any); `tokens` count all rows once; `epochs`
    None means the provider's default, and the worst case where it chooses by itself. Without
    packing every row is billed as `max_length` tokens. `seconds` is for hardware billed by time.

    Never raises for what it does not know: basis `unknown`, and `assumptions` say what is missing.
    """
    book = catalogue or shipped()
    entry = lookup(provider, model, book)
    if entry is None:
        return _unknown(f"{provider} is not in the catalogue of {book.as_of}")
    if entry.facts.free:
        return _free(entry.facts.title)
    machine = _hardware(entry, hardware)
    if machine is not None:
        return _by_time(book, entry, machine, seconds)
    if entry.model is None:
        missing = f"no price is known for {model}" if model else "the price goes by the base model"
        return _unknown(f"{entry.facts.title}: {missing}")
    rate = _rate(entry, method, "lora" if adapter_kind == "nf4" else adapter_kind)
    if rate is None:
        what = f"{method}, {adapter_kind or 'any kind of training'}"
        return _unknown(f"{entry.facts.title}: no price is known for {entry.model_id} ({what})")
    billed = _billed_tokens(
        entry.facts, tokens, epochs, rows, method, packed=packed, max_length=max_length
    )
    if isinstance(billed, str):
        return _unknown(billed)
    bills = entry.facts.bills_validation
    if bills is not None and bills.holds and validation_tokens and evaluations:
        extra = validation_tokens * evaluations
        billed.low, billed.high = billed.low + extra, billed.high + extra
        billed.assumptions.append(f"{extra:,} validation tokens are billed, too")
    return _by_tokens(book, entry, rate, billed, today)


def training_tokens(
    provider: str,
    model: str,
    *,
    method: str = "sft",
    tokens: Tokens | None = None,
    epochs: float | Decimal | None = None,
    rows: int | None = None,
    packed: bool = True,
    max_length: int | None = None,
    catalogue: Catalogue | None = None,
) -> tuple[int, int, tuple[str, ...]] | str:
    """The least and the most tokens that a provider bills for, and what was assumed; or why none.

    As in `estimate_training`; a provider that charges nothing, or by time, bills no tokens.
    """
    entry = lookup(provider, model, catalogue or shipped())
    if entry is None:
        return "how it bills is not known"
    if entry.facts.free:
        return "charges nothing"
    if entry.facts.hardware:
        return "bills by the second, not by the token"
    found = _billed_tokens(
        entry.facts, tokens, epochs, rows, method, packed=packed, max_length=max_length
    )
    if isinstance(found, str):
        return found
    said = (*found.assumptions, *(("padding is not billed",) if packed else ()))
    return (
        int(found.low.to_integral_value(ROUND_FLOOR)),
        int(found.high.to_integral_value(ROUND_CEILING)),
        said,
    )


def _unknown(why: str) -> Cost:
    return Cost(assumptions=(why,))


def _free(title: str) -> Cost:
    return Cost(
        basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0), source=f"{title} charges nothing"
    )


def _hardware(entry: Entry, named: str | None) -> tuple[str, Hardware | None] | None:
    """The hardware of a provider that bills by time, or None where it bills by token."""
    if not entry.facts.hardware:
        return None
    name = named or (entry.model.hardware if entry.model else None)
    return (name or "", entry.facts.hardware.get(name or ""))


def hourly_rate(
    provider: str, model: str, *, hardware: str | None = None, catalogue: Catalogue | None = None
) -> Span | None:
    """US dollars for an hour of training, where a provider bills by time and the machine is known."""
    entry = lookup(provider, model, catalogue)
    found = None if entry is None else _hardware(entry, hardware)
    return found[1].per_hour if found is not None and found[1] is not None else None


def _by_time(
    book: Catalogue,
    entry: Entry,
    machine: tuple[str, Hardware | None],
    seconds: tuple[float, float] | None,
) -> Cost:
    name, facts = machine
    if facts is None:
        named = (
            f"{name!r} is not in the catalogue" if name else "which hardware runs it is not known"
        )
        return _unknown(f"{entry.facts.title} bills by the second, and {named}")
    source = book.source(facts)
    said = [f"{name} at ${_plain(facts.per_hour)} per hour", *_doubts(facts.confirmed, facts.note)]
    if seconds is None:
        return Cost(
            source=source.title,
            as_of=source.day,
            assumptions=(*said, "how long it runs is not known"),
        )
    low = facts.per_hour.low * Decimal(str(seconds[0])) / 3600
    high = facts.per_hour.high * Decimal(str(seconds[1])) / 3600
    said.append(f"{seconds[0] / 60:.0f} to {seconds[1] / 60:.0f} minutes; the time is a guess")
    return _estimated(low, high, source.title, source.day, said)


def _rate(entry: Entry, method: str, adapter: str | None) -> Rate | None:
    """One rate for the method and kind; the span of all where several fit."""
    assert entry.model is not None  # noqa: S101  # checked by the caller
    rates = entry.model.training
    if entry.model.rates is not None:
        rates = (*rates, *entry.facts.rates[entry.model.rates])
    fit = [rate for rate in rates if rate.covers(method, adapter)]
    if len(fit) < 2:
        return fit[0] if fit else None
    span = Span(
        low=min(r.usd_per_mtok.low for r in fit), high=max(r.usd_per_mtok.high for r in fit)
    )
    note = "the kind of training is open; the range covers all"
    return fit[0].model_copy(update={"usd_per_mtok": span, "note": note})


def _billed_tokens(
    facts: Provider,
    tokens: Tokens | None,
    epochs: float | Decimal | None,
    rows: int | None,
    method: str,
    *,
    packed: bool,
    max_length: int | None,
) -> _Sum | str:
    if not packed and (rows is None or max_length is None):
        return "without packing every row is billed as max_length tokens, which is not given"
    if not packed and rows is not None and max_length is not None:
        total = _Sum(Decimal(rows * max_length), Decimal(rows * max_length))
        total.assumptions.append(f"not packed: {rows:,} rows × {max_length:,} tokens")
    elif tokens is None:
        return "how many tokens the rows have is not known"
    else:
        low, high = (tokens, tokens) if isinstance(tokens, int) else tokens
        total = _Sum(Decimal(low), Decimal(high))
        total.assumptions.append(
            f"{low:,} tokens"
            if low == high
            else f"{low:,} to {high:,} tokens, by another tokenizer"
        )
    if method == "dpo" and facts.pair_factor != (1, 1):
        total.scale(*facts.pair_factor)
        total.assumptions.append("whether both answers of a pair are billed is not said")
    if epochs is not None:
        total.scale(Decimal(str(epochs)), Decimal(str(epochs)))
        total.assumptions.append(f"× {_number(Decimal(str(epochs)))} epochs")
        return total
    if facts.default_epochs is None:
        return f"epochs are not given, and the default of {facts.title} is not known"
    if facts.default_epochs == "auto":
        least, most = _auto_epochs(rows)
        total.scale(least, most)
        span = f"{least}" if least == most else f"{least} to {most}"
        total.assumptions.append(
            f"× {span} epochs: {facts.title} chooses; give epochs for a closer figure"
        )
        return total
    total.scale(facts.default_epochs, facts.default_epochs)
    total.assumptions.append(f"× {_number(facts.default_epochs)} epochs, its default")
    return total


def _auto_epochs(rows: int | None) -> tuple[int, int]:
    """The epochs OpenAI may choose: aim at 3, 100 to 25,000 rows × epochs, 1 to 25 (its cookbook)."""
    if not rows:
        return 1, 25
    chosen = 3
    if rows * chosen < 100:
        chosen = min(25, -(-100 // rows))
    elif rows * chosen > 25_000:
        chosen = max(1, 25_000 // rows)
    return min(3, chosen), max(3, chosen)


def _by_tokens(
    book: Catalogue, entry: Entry, rate: Rate, billed: _Sum, today: dt.date | None
) -> Cost:
    source = book.source(rate)
    low = rate.usd_per_mtok.low * billed.low / _MILLION
    high = rate.usd_per_mtok.high * billed.high / _MILLION
    said = [
        *billed.assumptions,
        f"${_plain(rate.usd_per_mtok)} per 1M tokens",
        *_doubts(rate.confirmed, rate.note),
    ]
    minimum = entry.facts.minimum
    if minimum is not None and low < minimum.usd:
        low, high = minimum.usd, max(high, minimum.usd)
        said.append(f"${minimum.usd:.2f} minimum per job ({minimum.note})")
    if today is not None and (today - source.day).days > 90:
        said.append(f"the price is {(today - source.day).days} days old")
    return _estimated(low, high, source.title, source.day, said)


def _estimated(low: Decimal, high: Decimal, source: str, day: dt.date, said: list[str]) -> Cost:
    return Cost(
        basis=CostBasis.ESTIMATED,
        low=low.quantize(_MICRO, ROUND_FLOOR),
        high=high.quantize(_MICRO, ROUND_CEILING),
        source=source,
        as_of=day,
        assumptions=tuple(said),
    )


def _doubts(confirmed: bool, note: str) -> list[str]:
    said = [note] if note else []
    return said if confirmed else [*said, "UNCONFIRMED"]


def _number(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(span: Span) -> str:
    """`5.49`, or `1.50–4.12`; at least two digits after the point."""
    ends = [
        f"{end:.2f}" if end == end.quantize(Decimal("0.01")) else _number(end)
        for end in (span.low, span.high)
    ]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def hosting(provider: str, model: str, catalogue: Catalogue | None = None) -> Serving:
    """What serving a tuned `model` costs: by the hour, by the token, nothing, or unknown."""
    book = catalogue or shipped()
    entry = lookup(provider, model, book)
    if entry is None:
        return Serving("unknown", "unknown", note=f"{provider} is not in the catalogue")
    facts, inference = entry.facts, entry.model.inference if entry.model else None
    if facts.free:
        return Serving("free", facts.serving, source=f"{facts.title} charges nothing")
    per_token = None
    if inference is not None:
        per_token = f"${_two(inference.input)} / ${_two(inference.output)} per 1M"
    if facts.hosting is not None:
        source = book.source(facts.hosting)
        price = facts.hosting.usd_per_hour
        start = "from " if price.low != price.high else ""
        text = f"dedicated, {start}${_two(price.low)}/h"
        return Serving(
            "per_hour",
            text if per_token is None else f"{text} + {per_token}",
            usd_per_hour=price,
            input_per_mtok=inference.input if inference else None,
            cached_input_per_mtok=inference.cached_input if inference else None,
            output_per_mtok=inference.output if inference else None,
            source=source.title,
            as_of=source.day,
            confirmed=facts.hosting.confirmed,
            note=facts.hosting.note,
        )
    if inference is not None and per_token is not None:
        source = book.source(inference)
        return Serving(
            "per_token",
            per_token,
            input_per_mtok=inference.input,
            cached_input_per_mtok=inference.cached_input,
            output_per_mtok=inference.output,
            source=source.title,
            as_of=source.day,
            confirmed=inference.confirmed,
            note=inference.note,
        )
    return Serving("unknown", facts.serving or "unknown", note="no price is known")


def _two(value: Decimal) -> str:
    return _plain(Span(low=value, high=value))


def prefer_quote(quote: Cost | None, estimate: Cost) -> Cost:
    """The provider's own quote where there is one, with how far our table was off."""
    if quote is None or quote.high is None:
        return estimate
    said = list(quote.assumptions)
    if estimate.high is not None and estimate.low is not None:
        if estimate.low <= quote.high <= estimate.high:
            said.append(f"our table said {estimate}")
        else:
            nearest = estimate.high if quote.high > estimate.high else estimate.low
            off = quote.high - nearest
            side = "above" if off > 0 else "below"
            said.append(f"${abs(off):.2f} {side} our table, which said {estimate}")
    return quote.model_copy(update={"assumptions": tuple(said)})
