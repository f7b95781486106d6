"""The same fine-tune at several places: what training, serving and waiting would cost, and until when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ftsdk.catalogue.load import lookup, shipped
from ftsdk.catalogue.retirement import Live, closed, lifetime, warnings
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import Serving, Tokens, estimate_training, hosting
from ftsdk.types.cost import Cost

__all__ = ["Option", "Target", "compare", "targets_of"]


@dataclass(frozen=True)
class Target:
    """One place to compare: what a backend knows beside the catalogue goes along.

    `elsewhere` is an address that is not the provider's own: its prices and dates do not hold there,
    only the backend's `cost`. `tokens` is for its own tokenizer; `duration_s` a range of seconds; `unsupported` what was
    asked and cannot be there; `cost` the backend's own estimate, preferred where it knows one.
    """

    provider: str
    model: str
    adapter_kind: str | None = "lora"
    tokens: Tokens | None = None
    hardware: str | None = None
    duration_s: tuple[float, float] | None = None
    unsupported: tuple[str, ...] = ()
    cost: Cost | None = None
    elsewhere: bool = False
    note: str = ""


@dataclass(frozen=True)
class Option:
    """One row of the comparison. `closed` says why it cannot be had; None while it can."""

    provider: str
    title: str
    model: str
    adapter_kind: str | None
    training: Cost
    serving: Serving
    duration_s: tuple[float, float] | None
    ends_on: dt.date | None
    no_new_jobs_from: dt.date | None
    closed: str | None
    unsupported: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """True when it can be had as asked."""
        return self.closed is None and not self.unsupported

    def to_dict(self) -> dict[str, Any]:
        """The row as `--json` prints it."""
        serving = self.serving
        per_hour = serving.usd_per_hour
        return {
            "provider": self.provider,
            "model": self.model,
            "adapter": self.adapter_kind,
            "training": self.training.model_dump(mode="json"),
            "serving": {
                "kind": serving.kind,
                "text": serving.text,
                "usd_per_hour": None if per_hour is None else [per_hour.low, per_hour.high],
                "usd_per_mtok_input": serving.input_per_mtok,
                "usd_per_mtok_output": serving.output_per_mtok,
                "source": serving.source,
                "as_of": serving.as_of,
                "confirmed": serving.confirmed,
            },
            "duration_s": self.duration_s,
            "ends_on": self.ends_on,
            "no_new_jobs_from": self.no_new_jobs_from,
            "closed": self.closed,
            "unsupported": list(self.unsupported),
            "notes": list(self.notes),
        }


def compare(
    targets: Iterable[Target],
    *,
    method: str = "sft",
    tokens: Tokens | None = None,
    epochs: float | None = None,
    rows: int | None = None,
    today: dt.date,
    catalogue: Catalogue | None = None,
    live: Live | None = None,
) -> list[Option]:
    """The targets as rows: what can be had first, the cheapest first; unknown prices after known.

    `tokens` count all rows once, for targets that do not bring a count of their own.
    """
    book = catalogue or shipped()
    options = [
        _option(target, method, tokens, epochs, rows, today, book, live) for target in targets
    ]
    return sorted(options, key=_order)


def _order(option: Option) -> tuple[bool, bool, Decimal, str, str]:
    high = option.training.high
    return (
        not option.is_open,
        high is None,
        high if high is not None else Decimal(0),
        option.provider,
        option.model,
    )


def _option(
    target: Target,
    method: str,
    tokens: Tokens | None,
    epochs: float | None,
    rows: int | None,
    today: dt.date,
    book: Catalogue,
    live: Live | None,
) -> Option:
    if target.elsewhere:
        return _elsewhere(target)
    entry = lookup(target.provider, target.model, book)
    life = lifetime(target.provider, target.model, catalogue=book, live=live)
    cost = estimate_training(
        target.provider,
        target.model,
        method=method,
        adapter_kind=target.adapter_kind,
        tokens=tokens if target.tokens is None else target.tokens,
        epochs=epochs,
        rows=rows,
        seconds=target.duration_s,
        hardware=target.hardware,
        today=today,
        catalogue=book,
    )
    if target.cost is not None and target.cost.high is not None:
        cost = target.cost
    refused, notes = list(target.unsupported), list[str]()
    model = entry.model if entry is not None else None
    if model is not None and model.methods is not None and method not in model.methods:
        refused.append(f"{method} of {entry.model_id}" if entry else method)
    kind = "lora" if target.adapter_kind == "nf4" else target.adapter_kind
    if model is not None and model.adapters is not None and kind not in (None, *model.adapters):
        refused.append(f"{target.adapter_kind} training of {target.model}")
    minimum = entry.facts.minimum if entry is not None else None
    if minimum is not None and cost.low == minimum.usd:
        notes.append(f"${minimum.usd:.2f} minimum per job".replace(".00", ""))
    shut = closed(target.provider, target.model, today, catalogue=book, live=live)
    if shut is None:
        notes += warnings(target.provider, target.model, today, catalogue=book, live=live)
    notes += [note for note in (target.note, model.note if model is not None else "") if note]
    return Option(
        provider=target.provider,
        title=entry.facts.title if entry is not None else target.provider,
        model=target.model,
        adapter_kind=target.adapter_kind,
        training=cost,
        serving=hosting(target.provider, target.model, book),
        duration_s=target.duration_s,
        ends_on=life.ends_on,
        no_new_jobs_from=life.no_new_jobs_from,
        closed=shut,
        unsupported=tuple(dict.fromkeys(refused)),
        notes=tuple(notes),
    )


def _elsewhere(target: Target) -> Option:
    """A row for an address of which the catalogue says nothing."""
    unknown = Cost(assumptions=(f"no price is known at this address of {target.provider}",))
    return Option(
        provider=target.provider,
        title=target.provider,
        model=target.model,
        adapter_kind=target.adapter_kind,
        training=target.cost if target.cost is not None else unknown,
        serving=Serving("unknown", "unknown", note="no price is known at this address"),
        duration_s=target.duration_s,
        ends_on=None,
        no_new_jobs_from=None,
        closed=None,
        unsupported=target.unsupported,
        notes=(target.note,) if target.note else (),
    )


def targets_of(
    provider: str, *, method: str = "sft", catalogue: Catalogue | None = None
) -> list[Target]:
    """Every model that the catalogue says can be tuned by `method` at a provider."""
    facts = (catalogue or shipped()).providers.get(provider)
    if facts is None:
        return []
    return [
        Target(provider, name)
        for name, model in facts.models.items()
        if model.methods is None or method in model.methods
    ]
