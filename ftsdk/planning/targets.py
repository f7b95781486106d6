"""Rank the places that a model can move to: by what a month costs there at your traffic.

Everything comes from the catalogue and the arguments; nothing is sent. A price that is not known stays
unknown, and such a candidate comes after those that have one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from ftsdk.catalogue.load import Entry, shipped
from ftsdk.catalogue.retirement import date_warnings, retirement_dates
from ftsdk.catalogue.schema import Base, Catalogue, Span, format_price
from ftsdk.catalogue.serving_cost import Month, Traffic, break_even, payback_days
from ftsdk.catalogue.training_cost import estimate_training
from ftsdk.planning.candidates import MUST_LAST_DAYS, Candidate, why_closed
from ftsdk.planning.serving import Serving
from ftsdk.types.cost import Cost, CostBasis

MONTHS = 12
"""Over how many months the price of training is spread."""
_ZERO = Decimal(0)
Weights = Literal["yours", "theirs", "unknown"]


@dataclass(frozen=True)
class RankedTarget:
    """A candidate with its costs and dates, its place in the ranking, and the reason for it.

    `month` is None where the price of serving is not known. `break_even` is a range of requests a month
    from which it costs no more than what you have now, `payback_days` a range of days; None where it
    never does, or where it is not known. `closed` is why it cannot be chosen today. `last_safe_day` is
    the last day on which a training is sure to be accepted. `sources` are the pages of the figures and
    their days, `unconfirmed` what no source states firmly, `missing` why there is
    no price. `mean_rank` is how the base did among 12
    open models after tuning; lower is better.
    """

    rank: int
    candidate: Candidate
    title: str
    month: Month | None
    per_request: Decimal | None
    training: Cost
    break_even: tuple[int, int] | None
    payback_days: tuple[Decimal, Decimal] | None
    weights: Weights
    mean_rank: Decimal | None
    no_new_jobs_from: dt.date | None
    last_safe_day: dt.date | None
    ends_on: dt.date | None
    closed: str | None
    sources: tuple[str, ...]
    unconfirmed: tuple[str, ...]
    notes: tuple[str, ...]
    missing: str = ""
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it can be chosen today."""
        return self.closed is None

    @property
    def is_confirmed(self) -> bool:
        """Whether every figure has a firm source."""
        return not self.unconfirmed

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values; amounts are texts."""
        month = self.month
        return {
            "rank": self.rank,
            "name": self.candidate.name,
            "provider": self.candidate.provider,
            "model": self.candidate.model,
            "kind": self.candidate.kind,
            "usd_per_month": None if month is None else _ends(month.usd),
            "usd_fixed_per_month": None if month is None else _ends(month.fixed),
            "usd_per_1000_requests": None if month is None else _ends(month.per_1000),
            "is_least": month is not None and month.is_least,
            "replicas": None if month is None else month.replicas,
            "idle_share": None if month is None else month.idle_share,
            "training": self.training.model_dump(mode="json"),
            "break_even_requests_per_month": self.break_even,
            "payback_days": self.payback_days and [str(round(day, 1)) for day in self.payback_days],
            "weights": self.weights,
            "mean_rank": None if self.mean_rank is None else str(self.mean_rank),
            "no_new_jobs_from": _iso(self.no_new_jobs_from),
            "last_safe_day": _iso(self.last_safe_day),
            "ends_on": _iso(self.ends_on),
            "closed": self.closed,
            "sources": list(self.sources),
            "unconfirmed": list(self.unconfirmed),
            "notes": list(self.notes),
            "reason": self.reason,
        }


def rank_targets(
    candidates: Iterable[Candidate],
    traffic: Traffic,
    *,
    now: Candidate | None = None,
    today: dt.date,
    months: int = MONTHS,
    must_last_days: int = MUST_LAST_DAYS,
    catalogue: Catalogue | None = None,
) -> list[RankedTarget]:
    """Rank the candidates at this traffic: the cheapest month first, with training spread over `months`.

    Those that can be chosen and last `must_last_days` come first, then those with a known price. Equal costs are decided by the
    mean rank of the base, then by whether the weights are yours. `now` is what you pay today, or what
    the rest is compared with; without it nothing is said about break-even. `traffic` is that of the
    model as it is tuned: without a long prompt.
    """
    facts = catalogue or shipped()
    before = None if now is None else Serving(now, traffic, facts)
    found = []
    for one in candidates:
        closed = why_closed(one, today, facts, must_last_days=must_last_days)
        found.append(_target(one, traffic, before, today, months, closed, facts))
    found.sort(key=lambda one: _order(one, months))
    best = next((one for one in found if one.is_open and one.month is not None), None)
    return [
        replace(one, rank=place, reason=_reason(one, traffic, best, months))
        for place, one in enumerate(found, start=1)
    ]


def _target(
    one: Candidate,
    traffic: Traffic,
    now: Serving | None,
    today: dt.date,
    months: int,
    closed: str | None,
    catalogue: Catalogue,
) -> RankedTarget:
    serving = Serving(one, traffic, catalogue)
    training = _training(one, today, catalogue)
    dates = retirement_dates(one.provider, one.model, catalogue=catalogue)
    if dates.ends_on is not None and not dates.confirmed:
        serving.unconfirmed.append(f"end date: {dates.note}")
    serving.unconfirmed += [
        f"training: {line}" for line in training.assumptions if "UNCONF" in line
    ]
    if training.source and one.kind == "tuned":
        serving.sources.append(f"training: {training.source}, {training.as_of or 'today'}")
    price = serving.price
    month = None if price is None else price.month(serving.asked)
    weights, doubt = _weights(one, serving.entry)
    serving.unconfirmed += doubt
    return RankedTarget(
        rank=0,
        candidate=one,
        title=one.provider if serving.entry is None else serving.entry.facts.title,
        month=month,
        per_request=None if price is None else price.per_request(serving.asked),
        training=training,
        break_even=_break_even(now, serving, training, months),
        payback_days=_payback(now, month, training),
        weights=weights,
        mean_rank=_mean_rank(one.model, catalogue),
        no_new_jobs_from=dates.no_new_jobs_from if one.kind == "tuned" else None,
        last_safe_day=dates.retrain_by if one.kind == "tuned" else None,
        ends_on=dates.ends_on,
        closed=closed,
        missing=serving.missing,
        sources=tuple(dict.fromkeys(serving.sources)),
        unconfirmed=tuple(dict.fromkeys(serving.unconfirmed)),
        notes=_notes(one, serving, training, today, catalogue),
    )


def _notes(
    one: Candidate, serving: Serving, training: Cost, today: dt.date, catalogue: Catalogue
) -> tuple[str, ...]:
    dated = date_warnings(one.provider, one.model, today, catalogue=catalogue)
    if one.kind == "prompt":
        dated = tuple(line for line in dated if " end on " in line)
    own = serving.entry.model.note if serving.entry and serving.entry.model else ""
    if training.high is None:
        dated = (*dated, f"training is not counted: {'; '.join(training.assumptions)}")
    return tuple(dict.fromkeys(filter(None, (*serving.notes, *dated, own, one.note))))


def _training(one: Candidate, today: dt.date, catalogue: Catalogue) -> Cost:
    if one.kind == "prompt":
        return Cost(basis=CostBasis.BILLED, low=_ZERO, high=_ZERO, source="nothing is trained")
    if one.training is not None and one.training.high is not None:
        return one.training
    return estimate_training(
        one.provider,
        one.model,
        method=one.method,
        adapter_kind=one.adapter_kind,
        tokens=one.training_tokens,
        epochs=one.epochs,
        rows=one.rows,
        today=today,
        catalogue=catalogue,
    )


def _weights(one: Candidate, entry: Entry | None) -> tuple[Weights, list[str]]:
    """Return whose the weights are, and what is not sure about it."""
    if one.kind == "prompt":
        return "theirs", []
    if entry is not None and entry.facts.free:
        return "yours", []
    rule = None if entry is None else entry.facts.weights_are_yours
    if rule is None:
        return "unknown", []
    doubt = [] if rule.confirmed else [f"weights: {rule.note}"]
    return ("yours" if rule.holds else "theirs"), doubt


def _mean_rank(model: str, catalogue: Catalogue) -> Decimal | None:
    name = model.rpartition("/")[2].lower()

    def is_it(base_id: str, base: Base) -> bool:
        return name in {one.lower() for one in (base_id, *base.aliases)}

    return next((b.mean_rank for i, b in catalogue.bases.items() if is_it(i, b)), None)


def _break_even(
    now: Serving | None, new: Serving, training: Cost, months: int
) -> tuple[int, int] | None:
    if now is None or now.price is None or new.price is None:
        return None
    ends = [
        break_even(
            now.price,
            new.price,
            now.asked,
            new.asked,
            training=cost or _ZERO,
            months=months,
            dear=dear,
        )
        for cost, dear in ((training.low, False), (training.high, True))
    ]
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _payback(
    now: Serving | None, month: Month | None, training: Cost
) -> tuple[Decimal, Decimal] | None:
    if now is None or now.price is None or month is None or training.high is None:
        return None
    before = now.price.month(now.asked)
    low = payback_days(training.low or _ZERO, before, month)
    high = payback_days(training.high, before, month, dear=True)
    return None if low is None or high is None else (low, high)


def _total(one: RankedTarget, months: int) -> Decimal | None:
    """Return a month with its share of the training, at the high end; an unknown training counts 0."""
    if one.month is None:
        return None
    return one.month.usd.high + (one.training.high or _ZERO) / months


def _order(one: RankedTarget, months: int) -> tuple[bool, bool, Decimal, Decimal, bool, str]:
    total = _total(one, months)
    return (
        not one.is_open,
        total is None,
        total or _ZERO,
        Decimal(99) if one.mean_rank is None else one.mean_rank,
        one.weights != "yours",
        one.candidate.name,
    )


def _reason(one: RankedTarget, traffic: Traffic, best: RankedTarget | None, months: int) -> str:
    if one.closed is not None:
        return one.closed
    if one.month is None:
        return f"its price is not known: {one.missing}"
    least = "at least " if one.month.is_least else ""
    parts = [f"{least}{_dollars(one.month.usd)} a month"]
    if one.month.per_1000 is not None:
        parts.append(f"{_dollars(one.month.per_1000)} per 1,000 requests")
    if one.month.fixed.high:
        parts.append(f"{_dollars(one.month.fixed)} of it whether anything is asked or not")
    mine, cheapest = _total(one, months), None if best is None else _total(best, months)
    if best is one:
        parts.append(f"the least at {traffic.requests:,} requests a month")
    elif mine is not None and cheapest is not None and mine > cheapest:
        parts.append(f"${mine - cheapest:,.2f} more than the first")
    return "; ".join(parts)


def _dollars(span: Span) -> str:
    """Return an amount or a range as money: whole dollars from 100 on."""
    ends = [f"{end:,.0f}" if end >= 100 else _small(end) for end in (span.low, span.high)]
    return f"${ends[0]}" if ends[0] == ends[1] else f"${ends[0]}–{ends[1]}"


def _small(usd: Decimal) -> str:
    return f"{usd:.2f}" if usd >= 1 or not usd else format_price(usd.quantize(Decimal("0.0001")))


def _ends(span: Span | None) -> list[str] | None:
    return None if span is None else [str(span.low), str(span.high)]


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()
