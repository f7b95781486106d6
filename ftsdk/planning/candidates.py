"""Places that a model can move to: a tuned model at a provider, or an untuned one with a prompt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ftsdk.catalogue.load import Entry, canonical_name, lookup, shipped
from ftsdk.catalogue.retirement import closed_reason, retirement_dates
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import Tokens, estimate_training
from ftsdk.types.cost import Cost

MUST_LAST_DAYS = 180
"""A place that ends sooner is no place to move to."""
_ZERO = Decimal(0)
Kind = Literal["tuned", "prompt"]


@dataclass(frozen=True)
class Candidate:
    """A place to move to.

    `model` is tuned there (`kind="tuned"`), or asked with a prompt that adds `prompt_tokens` to each
    request, of which `prompt_cached` are read from the cache. `training_tokens` is the count of all
    rows once, by the model's own tokenizer. `training` is the provider's own estimate, preferred over
    the catalogue's. `requests_per_s` is what one replica was measured to answer. `serve_on` names
    another provider whose machine serves the weights, `hardware` which one. `is_customer` says whether
    the account has tuned there before; None where that is not known. `unsupported` are options that
    the backend refuses. `storage` is US dollars a month.
    """

    provider: str
    model: str
    kind: Kind = "tuned"
    prompt_tokens: float = 0
    prompt_cached: float = 0
    training_tokens: Tokens | None = None
    epochs: float | None = None
    rows: int | None = None
    method: str = "sft"
    adapter_kind: str | None = "lora"
    training: Cost | None = None
    requests_per_s: float | None = None
    serve_on: str = ""
    hardware: str | None = None
    storage: Decimal = _ZERO
    is_customer: bool | None = None
    unsupported: tuple[str, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """Return what a table calls it."""
        served = f" on {self.serve_on} {self.hardware or ''}".rstrip() if self.serve_on else ""
        return f"{self.provider} · {self.model}{served}{' · prompt' * (self.kind == 'prompt')}"


def why_closed(
    one: Candidate,
    today: dt.date,
    catalogue: Catalogue,
    *,
    must_last_days: int = MUST_LAST_DAYS,
) -> str | None:
    """Return why a candidate cannot be chosen today, or ends too soon; None if it can be chosen."""
    entry = lookup(one.provider, one.model, catalogue)
    if one.unsupported:
        return f"not supported: {'; '.join(one.unsupported)}"
    dates = retirement_dates(one.provider, one.model, catalogue=catalogue)
    if dates.ends_on is not None and dates.ends_on <= today:
        return closed_reason(one.provider, one.model, today, catalogue=catalogue)
    if dates.ends_on is not None and (left := (dates.ends_on - today).days) < must_last_days:
        return f"it ends on {dates.ends_on}, in {left} days"
    return None if one.kind == "prompt" else _refused(one, entry, today, catalogue)


def _refused(
    one: Candidate, entry: Entry | None, today: dt.date, catalogue: Catalogue
) -> str | None:
    """Return why its provider would take no training of it, or None."""
    model = None if entry is None else entry.model
    if model is not None and model.methods is not None and one.method not in model.methods:
        return f"{one.model} cannot be tuned by {one.method} at {one.provider}"
    closed = closed_reason(one.provider, one.model, today, catalogue=catalogue)
    return closed or (_shut_out(entry, today) if one.is_customer is False else None)


def _shut_out(entry: Entry | None, today: dt.date) -> str | None:
    if entry is None:
        return None
    figures = (
        entry.facts.closed_to_new_accounts_on,
        entry.model.closed_to_new_accounts_on if entry.model else None,
    )
    days = [figure.day for figure in figures if figure is not None and figure.day <= today]
    if not days:
        return None
    return f"{entry.facts.title} has been closed to new accounts since {min(days)}"


def candidates_of(
    places: Sequence[str],
    base: str,
    *,
    today: dt.date,
    method: str = "sft",
    prompt_tokens: float = 0,
    training_tokens: Tokens | None = None,
    epochs: float | None = None,
    rows: int | None = None,
    most: int = 2,
    catalogue: Catalogue | None = None,
) -> list[Candidate]:
    """Return what is worth considering at some places, given as `provider` or `provider:model`.

    At a provider that tunes the same base, that base; else its `most` cheapest models that can be
    tuned today. Beside them every model there that has a price untuned, with a prompt of
    `prompt_tokens`, unless it ends. A model that is named in two spellings is considered once.
    """
    facts = catalogue or shipped()
    found: list[Candidate] = []
    for place in dict.fromkeys(places):
        provider, _, named = place.partition(":")
        models = [named] if named else _tunable(provider, base, method, most, today, facts)
        found += [
            Candidate(
                provider,
                model,
                training_tokens=training_tokens,
                epochs=epochs,
                rows=rows,
                method=method,
            )
            for model in models
        ]
        if not named:
            found += [
                Candidate(provider, model, "prompt", prompt_tokens)
                for model in _lasting(provider, facts)
            ]
    return _once(found, facts)


def _once(found: Sequence[Candidate], catalogue: Catalogue) -> list[Candidate]:
    """Return the first candidate of each kind, provider and model, whatever the spelling."""
    first: dict[tuple[str, str, str], Candidate] = {}
    for one in found:
        model = canonical_name(one.provider, one.model, catalogue)
        first.setdefault((one.kind, one.provider, model), one)
    return list(first.values())


def _tunable(
    provider: str, base: str, method: str, most: int, today: dt.date, catalogue: Catalogue
) -> list[str]:
    facts = catalogue.providers.get(provider)
    if facts is None:
        return []
    same = lookup(provider, base, catalogue)
    if same is not None and same.model_id is not None:
        return [same.model_id]
    able = [
        name
        for name, model in facts.models.items()
        if model.methods is None or method in model.methods
        if closed_reason(provider, name, today, catalogue=catalogue) is None
    ]

    def price(name: str) -> tuple[bool, Decimal]:
        cost = estimate_training(
            provider, name, method=method, tokens=1_000_000, epochs=1, catalogue=catalogue
        )
        return cost.high is None, cost.high or _ZERO

    return sorted(able, key=price)[:most]


def _lasting(provider: str, catalogue: Catalogue) -> list[str]:
    facts = catalogue.providers.get(provider)
    if facts is None:
        return []
    return [
        name
        for name, model in facts.models.items()
        if model.untuned is not None and model.ends_on is None
    ]
