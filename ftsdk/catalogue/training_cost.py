"""Estimate the cost of training as a range with its assumptions; unknown stays unknown.

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
from ftsdk.catalogue.schema import Catalogue, Hardware, Provider, Rate, Span, format_number
from ftsdk.types.cost import Cost, CostBasis

_MICRO = Decimal("0.000001")
_MILLION = Decimal(1_000_000)
_COUNT_LOW, _COUNT_HIGH = Decimal("0.80"), Decimal("1.35")
"""The error range of a count by another tokenizer; it errs on the high side."""

Tokens = int | tuple[int, int]
"""Tokens of all rows once: an exact count, or a range."""


@dataclass
class _TokenTotal:
    """A range of billed tokens while it is computed, with the assumptions so far."""

    low: Decimal
    high: Decimal
    assumptions: list[str] = field(default_factory=list)

    def scale(self, low: Decimal | int, high: Decimal | int) -> None:
        self.low *= Decimal(low)
        self.high *= Decimal(high)


def token_range(tokens: int, basis: Literal["exact", "estimated", "unknown"]) -> Tokens | None:
    """Return an exact count unchanged, an estimate as a range, and an unknown one as None."""
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
    """Estimate the cost of one training in US dollars from the catalogue.

    `adapter_kind` is `lora`, `nf4` or `full` (None: any). `tokens` is the count of all rows once.
    Without `epochs` the provider's default is used, or the worst case if it chooses them itself.
    Without packing every row is billed as `max_length` tokens. `seconds` is the duration range for
    hardware billed by time.

    Does not raise when something is unknown: the basis is then `unknown`, and `assumptions` lists
    what is missing.
    """
    catalogue = catalogue or shipped()
    entry = lookup(provider, model, catalogue)
    if entry is None:
        return _unknown(f"{provider} is not in the catalogue of {catalogue.as_of}")
    if entry.facts.free:
        return _free(entry.facts.title)
    machine = _hardware(entry, hardware)
    if machine is not None:
        return _by_time(catalogue, entry, machine, seconds)
    if entry.model is None:
        missing = (
            f"no price is known for {model}" if model else "the price depends on the base model"
        )
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
        billed.assumptions.append(f"{extra:,} validation tokens are billed as well")
    return _by_tokens(catalogue, entry, rate, billed, today)


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
    """Return the range of billed tokens and its assumptions, or the reason why there is none.

    The arguments are those of `estimate_training`. A provider that is free or bills by time bills
    no tokens.
    """
    entry = lookup(provider, model, catalogue or shipped())
    if entry is None:
        return "its billing is unknown"
    if entry.facts.free:
        return "is free"
    if entry.facts.hardware:
        return "bills by the second, not by the token"
    found = _billed_tokens(
        entry.facts, tokens, epochs, rows, method, packed=packed, max_length=max_length
    )
    if isinstance(found, str):
        return found
    assumptions = (*found.assumptions, *(("padding is not billed",) if packed else ()))
    return (
        int(found.low.to_integral_value(ROUND_FLOOR)),
        int(found.high.to_integral_value(ROUND_CEILING)),
        assumptions,
    )


def _unknown(why: str) -> Cost:
    return Cost(assumptions=(why,))


def _free(title: str) -> Cost:
    return Cost(
        basis=CostBasis.BILLED, low=Decimal(0), high=Decimal(0), source=f"{title} charges nothing"
    )


def _hardware(entry: Entry, named: str | None) -> tuple[str, Hardware | None] | None:
    """Return the hardware of a provider that bills by time, or None if it bills by token."""
    if not entry.facts.hardware:
        return None
    name = named or (entry.model.hardware if entry.model else None)
    return (name or "", entry.facts.hardware.get(name or ""))


def hourly_rate(
    provider: str, model: str, *, hardware: str | None = None, catalogue: Catalogue | None = None
) -> Span | None:
    """Return US dollars per hour of training if the provider bills by time and the machine is known."""
    entry = lookup(provider, model, catalogue)
    found = None if entry is None else _hardware(entry, hardware)
    return found[1].per_hour if found is not None and found[1] is not None else None


def _by_time(
    catalogue: Catalogue,
    entry: Entry,
    machine: tuple[str, Hardware | None],
    seconds: tuple[float, float] | None,
) -> Cost:
    name, facts = machine
    if facts is None:
        reason = f"{name!r} is not in the catalogue" if name else "its hardware is unknown"
        return _unknown(f"{entry.facts.title} bills by the second, and {reason}")
    source = catalogue.source(facts)
    assumptions = [
        f"{name} at ${facts.per_hour.format()} per hour",
        *_caveats(facts.confirmed, facts.note),
    ]
    if seconds is None:
        return Cost(
            source=source.title,
            as_of=source.day,
            assumptions=(*assumptions, "the duration is unknown"),
        )
    low = facts.per_hour.low * Decimal(str(seconds[0])) / 3600
    high = facts.per_hour.high * Decimal(str(seconds[1])) / 3600
    assumptions.append(f"{seconds[0] / 60:.0f} to {seconds[1] / 60:.0f} minutes, which is a guess")
    return _estimated(low, high, source.title, source.day, assumptions)


def _rate(entry: Entry, method: str, adapter: str | None) -> Rate | None:
    """Return the rate for the method and kind of training; the range of all if several apply."""
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
    note = "the kind of training is not given; the range covers all"
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
) -> _TokenTotal | str:
    if not packed and (rows is None or max_length is None):
        return "without packing every row is billed as max_length tokens, which is not given"
    if not packed and rows is not None and max_length is not None:
        total = _TokenTotal(Decimal(rows * max_length), Decimal(rows * max_length))
        total.assumptions.append(f"not packed: {rows:,} rows × {max_length:,} tokens")
    elif tokens is None:
        return "the token count is unknown"
    else:
        low, high = (tokens, tokens) if isinstance(tokens, int) else tokens
        total = _TokenTotal(Decimal(low), Decimal(high))
        total.assumptions.append(
            f"{low:,} tokens"
            if low == high
            else f"{low:,} to {high:,} tokens, by another tokenizer"
        )
    if method == "dpo" and facts.pair_factor != (1, 1):
        total.scale(*facts.pair_factor)
        total.assumptions.append(
            "the provider does not document whether both answers of a pair are billed"
        )
    if epochs is not None:
        total.scale(Decimal(str(epochs)), Decimal(str(epochs)))
        total.assumptions.append(f"× {_epochs(Decimal(str(epochs)))}")
        return total
    if facts.default_epochs is None:
        return f"epochs are not given, and the default of {facts.title} is unknown"
    if facts.default_epochs == "auto":
        least, most = _auto_epochs(rows)
        total.scale(least, most)
        span = f"{least}" if least == most else f"{least} to {most}"
        total.assumptions.append(
            f"× {span} epochs: {facts.title} chooses; give epochs for a closer figure"
        )
        return total
    total.scale(facts.default_epochs, facts.default_epochs)
    total.assumptions.append(f"× {_epochs(facts.default_epochs)}, its default")
    return total


def _epochs(count: Decimal) -> str:
    return f"{format_number(count)} epoch{'' if count == 1 else 's'}"


def _auto_epochs(rows: int | None) -> tuple[int, int]:
    """Return the range of epochs that OpenAI may choose (from its cookbook).

    It aims at 3, and at 100 to 25,000 rows × epochs, within 1 to 25 epochs.
    """
    if not rows:
        return 1, 25
    chosen = 3
    if rows * chosen < 100:
        chosen = min(25, -(-100 // rows))
    elif rows * chosen > 25_000:
        chosen = max(1, 25_000 // rows)
    return min(3, chosen), max(3, chosen)


def _by_tokens(
    catalogue: Catalogue, entry: Entry, rate: Rate, billed: _TokenTotal, today: dt.date | None
) -> Cost:
    source = catalogue.source(rate)
    low = rate.usd_per_mtok.low * billed.low / _MILLION
    high = rate.usd_per_mtok.high * billed.high / _MILLION
    assumptions = [
        *billed.assumptions,
        f"${rate.usd_per_mtok.format()} per 1M tokens",
        *_caveats(rate.confirmed, rate.note),
    ]
    minimum = entry.facts.minimum
    if minimum is not None and low < minimum.usd:
        low, high = minimum.usd, max(high, minimum.usd)
        assumptions.append(f"${minimum.usd:.2f} minimum per job ({minimum.note})")
    if today is not None and (today - source.day).days > 90:
        assumptions.append(f"the price is {(today - source.day).days} days old")
    return _estimated(low, high, source.title, source.day, assumptions)


def _estimated(
    low: Decimal, high: Decimal, source: str, day: dt.date, assumptions: list[str]
) -> Cost:
    return Cost(
        basis=CostBasis.ESTIMATED,
        low=low.quantize(_MICRO, ROUND_FLOOR),
        high=high.quantize(_MICRO, ROUND_CEILING),
        source=source,
        as_of=day,
        assumptions=tuple(assumptions),
    )


def _caveats(confirmed: bool, note: str) -> list[str]:
    notes = [note] if note else []
    return notes if confirmed else [*notes, "UNCONFIRMED"]


def prefer_quote(quote: Cost | None, estimate: Cost) -> Cost:
    """Return the provider's quote if there is one, with how far our estimate was off."""
    if quote is None or quote.high is None:
        return estimate
    assumptions = list(quote.assumptions)
    if estimate.high is not None and estimate.low is not None:
        if estimate.low <= quote.high <= estimate.high:
            assumptions.append(f"our estimate was {estimate}")
        else:
            nearest = estimate.high if quote.high > estimate.high else estimate.low
            off = quote.high - nearest
            side = "above" if off > 0 else "below"
            assumptions.append(f"${abs(off):.2f} {side} our estimate of {estimate}")
    return quote.model_copy(update={"assumptions": tuple(assumptions)})
