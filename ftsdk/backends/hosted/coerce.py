"""Convert values of a reply that may be anything: each becomes what it should be, or None."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

from ftsdk.util.clock import parse_time


def as_text(value: Any) -> str | None:
    """Return a string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def as_number(value: Any) -> float | None:
    """Return a finite number, else None; booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def as_count(value: Any) -> int | None:
    """Return a whole number of at least 0, also where it is written as 3.0, else None."""
    if isinstance(value, bool) or as_number(value) is None or value < 0 or value != int(value):
        return None
    return int(value)


def as_decimal(value: Any) -> Decimal | None:
    """Return an amount of at least 0, exactly as it was written, else None."""
    found = as_number(value)
    return None if found is None or found < 0 else Decimal(str(value))


def as_instant(seconds: Any) -> dt.datetime | None:
    """Return Unix seconds as an aware datetime; None for 0 (not yet) and anything else."""
    found = as_number(seconds)
    if found is None or found <= 0:
        return None
    try:
        return dt.datetime.fromtimestamp(found, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def as_time(value: Any) -> dt.datetime | None:
    """Return an ISO time or Unix seconds as an aware datetime, else None."""
    if not isinstance(value, str):
        return as_instant(value)
    try:
        return parse_time(value)
    except (ValueError, OverflowError):
        return None
