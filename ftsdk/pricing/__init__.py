"""Prices, limits and end dates: one dated catalogue, and what can be reckoned from it."""

from __future__ import annotations

from ftsdk.pricing.catalogue import Entry, load_catalogue, lookup, shipped
from ftsdk.pricing.endings import WITHIN_DAYS, Lifetime, closed, ends_on, lifetime, warnings
from ftsdk.pricing.estimate import (
    Serving,
    estimate_training,
    hosting,
    hourly_rate,
    prefer_quote,
    token_range,
)
from ftsdk.pricing.radar import AccountModel, Ending, Radar, calendar, radar
from ftsdk.pricing.schema import Catalogue

__all__ = [
    "WITHIN_DAYS",
    "AccountModel",
    "Catalogue",
    "Ending",
    "Entry",
    "Lifetime",
    "Radar",
    "Serving",
    "calendar",
    "closed",
    "ends_on",
    "estimate_training",
    "hosting",
    "hourly_rate",
    "lifetime",
    "load_catalogue",
    "lookup",
    "prefer_quote",
    "radar",
    "shipped",
    "token_range",
    "warnings",
]
