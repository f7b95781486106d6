"""Compare one fine-tune at several providers: training cost, serving cost, duration, end dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ftsdk.catalogue.hosting_cost import Serving, hosting_cost
from ftsdk.catalogue.load import lookup, shipped
from ftsdk.catalogue.retirement import Live, closed_reason, date_warnings, retirement_dates
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import Tokens, estimate_training
from ftsdk.types.cost import Cost


@dataclass(frozen=True)
class Target:
    """A provider and model to compare, with what its backend knows beyond the catalogue.

    `tokens` is counted with the model's own tokenizer. `duration_s` is a range in seconds.
    `unsupported` lists the requested options that the backend refuses. `cost` is the backend's own
    estimate, preferred over the catalogue's. `custom_address` means that the backend uses another
    address than the provider's own, where the catalogue's prices and dates do not apply.
    """

    provider: str
    model: str
    adapter_kind: str | None = "lora"
    tokens: Tokens | None = None
    hardware: str | None = None
    duration_s: tuple[float, float] | None = None
    unsupported: tuple[str, ...] = ()
    cost: Cost | None = None
    custom_address: bool = False
    note: str = ""


@dataclass(frozen=True)
class Option:
    """One row of the comparison. `closed` is why the provider takes no such job; None if it does."""

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
        """True when the provider takes the job as requested."""
        return self.closed is None and not self.unsupported

    def to_dict(self) -> dict[str, Any]:
        """Return the row as `--json` prints it."""
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
    """Compare the targets. Open options come first, then by price; unknown prices come last.

    `tokens` is the count of all rows once, for targets without a count of their own.
    """
    catalogue = catalogue or shipped()
    options = [
        _option(target, method, tokens, epochs, rows, today, catalogue, live) for target in targets
    ]
    return sorted(options, key=_sort_key)


def _sort_key(option: Option) -> tuple[bool, bool, Decimal, str, str]:
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
    catalogue: Catalogue,
    live: Live | None,
) -> Option:
    if target.custom_address:
        return _option_at_custom_address(target)
    entry = lookup(target.provider, target.model, catalogue)
    dates = retirement_dates(target.provider, target.model, catalogue=catalogue, live=live)
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
        catalogue=catalogue,
    )
    if target.cost is not None and target.cost.high is not None:
        cost = target.cost
    unsupported, notes = list(target.unsupported), list[str]()
    model = entry.model if entry is not None else None
    if model is not None and model.methods is not None and method not in model.methods:
        unsupported.append(f"{method} of {entry.model_id}" if entry else method)
    kind = "lora" if target.adapter_kind == "nf4" else target.adapter_kind
    if model is not None and model.adapters is not None and kind not in (None, *model.adapters):
        unsupported.append(f"{target.adapter_kind} training of {target.model}")
    minimum = entry.facts.minimum if entry is not None else None
    if minimum is not None and cost.low == minimum.usd:
        notes.append(f"${minimum.usd:.2f} minimum per job".replace(".00", ""))
    closed = closed_reason(target.provider, target.model, today, catalogue=catalogue, live=live)
    if closed is None:
        notes += date_warnings(target.provider, target.model, today, catalogue=catalogue, live=live)
    about_model = model.note if model is not None else ""
    if method != "dpo" and about_model.startswith("DPO "):
        about_model = ""  # says nothing about this job
    notes += [note for note in (target.note, about_model) if note]
    return Option(
        provider=target.provider,
        title=entry.facts.title if entry is not None else target.provider,
        model=target.model,
        adapter_kind=target.adapter_kind,
        training=cost,
        serving=hosting_cost(target.provider, target.model, catalogue),
        duration_s=target.duration_s,
        ends_on=dates.ends_on,
        no_new_jobs_from=dates.no_new_jobs_from,
        closed=closed,
        unsupported=tuple(dict.fromkeys(unsupported)),
        notes=tuple(notes),
    )


def _option_at_custom_address(target: Target) -> Option:
    """Return the row for an address that the catalogue does not cover."""
    unknown = Cost(assumptions=(f"no price is known for this address of {target.provider}",))
    return Option(
        provider=target.provider,
        title=target.provider,
        model=target.model,
        adapter_kind=target.adapter_kind,
        training=target.cost if target.cost is not None else unknown,
        serving=Serving("unknown", "unknown", note="no price is known for this address"),
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
    """Return the provider's models that can be tuned by `method`, according to the catalogue."""
    facts = (catalogue or shipped()).providers.get(provider)
    if facts is None:
        return []
    return [
        Target(provider, name)
        for name, model in facts.models.items()
        if model.methods is None or method in model.methods
    ]
