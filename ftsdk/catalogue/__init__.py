"""Prices, limits and end dates: one dated catalogue, and what can be reckoned from it."""

from __future__ import annotations

from ftsdk.catalogue.comparison import Option, Target, compare, targets_of
from ftsdk.catalogue.load import Entry, load_catalogue, lookup, shipped
from ftsdk.catalogue.provider_dates import remember
from ftsdk.catalogue.retirement import (
    WITHIN_DAYS,
    Lifetime,
    closed,
    ends_on,
    last_safe_day,
    lifetime,
    warnings,
)
from ftsdk.catalogue.retirement_calendar import AccountModel, Ending, Radar, calendar, radar
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import (
    Serving,
    estimate_training,
    hosting,
    hourly_rate,
    prefer_quote,
    token_range,
    training_tokens,
)

__all__ = [
    "WITHIN_DAYS",
    "AccountModel",
    "Catalogue",
    "Ending",
    "Entry",
    "Lifetime",
    "Option",
    "Radar",
    "Serving",
    "Target",
    "calendar",
    "closed",
    "compare",
    "ends_on",
    "estimate_training",
    "hosting",
    "hourly_rate",
    "last_safe_day",
    "lifetime",
    "load_catalogue",
    "lookup",
    "prefer_quote",
    "radar",
    "remember",
    "shipped",
    "targets_of",
    "token_range",
    "training_tokens",
    "warnings",
]
