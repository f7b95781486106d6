"""What a job may cost, what it cost, and what retires soon: from the catalogue."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.openai.limits import for_model
from ftsdk.backends.openai.profiles import Profile
from ftsdk.backends.refusals import adapter_kind
from ftsdk.catalogue.retirement import date_warnings
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import Tokens, estimate_training, token_range
from ftsdk.dataset import Dataset
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.spec import JobSpec


def estimate(
    profile: Profile, spec: JobSpec, train: Dataset | None, today: dt.date, catalogue: Catalogue
) -> Cost:
    """Return the cost of training as a range; basis `unknown` where no price is known."""
    if profile.capabilities.price != "catalogue":
        return Cost(source=f"no price list of {profile.title} is known to ftsdk")
    tokens, rows = (None, None) if train is None else _tokens(profile, spec, train)
    return estimate_training(
        profile.name,
        spec.model,
        method=spec.method,
        adapter_kind=adapter_kind(spec),
        tokens=tokens,
        rows=rows,
        epochs=spec.hyperparameters.epochs,
        today=today,
        catalogue=catalogue,
    )


def _tokens(profile: Profile, spec: JobSpec, train: Dataset) -> tuple[Tokens | None, int]:
    """Return the tokens of all rows once, an exact count or a range, and the number of rows."""
    limits = for_model(profile.limits, spec.model)
    counting = counter_for(None, model=spec.model, limits=limits, wanted=True)
    assert counting is not None  # noqa: S101  # it is wanted
    rows = 0
    for rows, row in enumerate(train, 1):
        counting.add(rows, row)
    summary = counting.summary(None)
    if summary is None:
        return 0, rows
    return token_range(summary.total, "exact" if summary.exact else "estimated"), rows


def notes(
    profile: Profile, dated_as: str | None, spec: JobSpec, today: dt.date, catalogue: Catalogue
) -> tuple[list[str], list[str]]:
    """Return what a plan should say beside its fields: notes, and warnings about end dates.

    `dated_as` is the provider whose end dates apply at this address; None where none do.
    """
    remarks, warned = [], []
    if profile.result == "needs_deployment":
        remarks.append("the model will need its own deployment; training does not start one")
    if profile.result == "adapter":
        remarks.append(
            "the result is an adapter to download, not a model that can be called by name"
        )
    if profile.capabilities.note and profile.capabilities.no_new_jobs_from is None:
        warned.append(f"{profile.title}: {profile.capabilities.note}")
    if dated_as is not None:
        warned += date_warnings(dated_as, spec.model, today, catalogue=catalogue)
    return remarks, warned


def billed(
    raw: Mapping[str, Any], tokens: int | None, provider: str, catalogue: Catalogue
) -> Cost | None:
    """Return what a finished job cost: its billed tokens at the catalogue's price; None if unknown."""
    model = raw.get("model")
    if not tokens or not isinstance(model, str):
        return None
    # One epoch of `tokens` rows' tokens: trained_tokens already counts all epochs.
    found = estimate_training(provider, model, tokens=tokens, epochs=1, catalogue=catalogue)
    if found.high is None:
        return None
    return found.model_copy(
        update={
            "basis": CostBasis.BILLED,
            "low": found.high,
            "source": f"{tokens:,} billed tokens × {found.source}",
            "assumptions": (),
        }
    )
