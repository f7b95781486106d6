"""The durable memory of jobs. Only this room knows SQL."""

from __future__ import annotations

from ftsdk.store.journal import Also, Journal, KeyTaken, Move
from ftsdk.store.leases import Lease, Leases
from ftsdk.store.spending import (
    Limit,
    Reservation,
    Spending,
    Weight,
    check_limits,
    month_of,
    reserving,
    weight,
)

__all__ = [
    "Also",
    "Journal",
    "KeyTaken",
    "Lease",
    "Leases",
    "Limit",
    "Move",
    "Reservation",
    "Spending",
    "Weight",
    "check_limits",
    "month_of",
    "reserving",
    "weight",
]
