"""Intervals of one rate, such as the share of rows that a model passes."""

from __future__ import annotations

from ftsdk.evaluation.statistics.libraries import stats
from ftsdk.evaluation.statistics.paired import ALPHA


def wilson(passed: int, rows: int, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Return Wilson's interval of a rate, for display; 0 … 1 where there are no rows."""
    return _interval(passed, rows, level, "wilson")


def clopper_pearson(passed: int, rows: int, *, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the exact interval of a rate, which never misses more often than its level says."""
    return _interval(passed, rows, level, "exact")


def _interval(passed: int, rows: int, level: float, method: str) -> tuple[float, float]:
    if rows == 0:
        return 0.0, 1.0
    found = stats().binomtest(passed, rows).proportion_ci(level, method=method)
    return float(found.low), float(found.high)
