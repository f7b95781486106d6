"""Prices, limits and end dates: one dated catalogue, and what can be reckoned from it."""

from __future__ import annotations

from ftsdk.pricing.catalogue import Entry, load_catalogue, lookup, shipped
from ftsdk.pricing.comparison import Option, Target, compare, targets_of
from ftsdk.pricing.endings import (
    WITHIN_DAYS,
    Lifetime,
    closed,
    ends_on,
    last_safe_day,
    lifetime,
    warnings,
)
from ftsdk.pricing.estimate import (
    Serving,
    estimate_training,
    hosting,
    hourly_rate,
    prefer_quote,
    token_range,
    training_tokens,
)
from ftsdk.pricing.ledger import Line, Total, to_csv, totals
from ftsdk.pricing.lifespans import AccountModel, Ending, Radar, calendar, radar
from ftsdk.pricing.schema import Catalogue
from ftsdk.pricing.told import remember

__all__ = [
    "WITHIN_DAYS",
    "AccountModel",
    "Catalogue",
    "Ending",
    "Entry",
    "Lifetime",
    "Line",
    "Option",
    "Radar",
    "Serving",
    "Target",
    "Total",
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
    "to_csv",
    "token_range",
    "totals",
    "training_tokens",
    "warnings",
]
