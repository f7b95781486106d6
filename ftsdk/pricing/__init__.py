"""Prices, limits and end dates: one dated catalogue, and what can be reckoned from it."""

from __future__ import annotations

from ftsdk.pricing.catalogue import Entry, load_catalogue, lookup, shipped
from ftsdk.pricing.estimate import (
    Serving,
    estimate_training,
    hosting,
    hourly_rate,
    prefer_quote,
    token_range,
)
from ftsdk.pricing.schema import Catalogue

__all__ = [
    "Catalogue",
    "Entry",
    "Serving",
    "estimate_training",
    "hosting",
    "hourly_rate",
    "load_catalogue",
    "lookup",
    "prefer_quote",
    "shipped",
    "token_range",
]
