"""How often a comparison of pass/fail rows finds what is there, and how many rows that takes.

Chances are summed over all tables of wins and losses, never drawn at random. Rates and differences are
between 0 and 1: `flip_rate` is the share of rows on which the models differ, `difference` the rate of
wins less that of losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftsdk.evaluation.statistics.libraries import numpy, stats
from ftsdk.evaluation.statistics.paired import (
    ALPHA,
    at_least,
    difference_p,
    fewest_wins,
    parity_p,
)

POWER = 0.8
"""How often the rows that are needed find a difference, or parity, that is there."""
MOST_ROWS = 2_000_000
"""More rows than anybody collects: a claim that needs more cannot be settled."""
_EXACT_SEARCH = 50_000


def difference_power(
    rows: int, flip_rate: float, difference: float, *, alpha: float = ALPHA
) -> float:
    """Return how often the models are found to differ; at `difference=0` the false alarms."""
    np, binom = numpy(), stats().binom
    if flip_rate <= 0:
        return 0.0
    reach = 9 * (rows * flip_rate * (1 - flip_rate)) ** 0.5 + 30
    likely = rows * flip_rate
    flips = np.arange(max(0, int(likely - reach)), min(rows, int(likely + reach)) + 1)
    fewest = _decisive_wins(flips, rows, alpha)
    share = min(1.0, max(0.0, (flip_rate + difference) / (2 * flip_rate)))
    found = binom.sf(fewest - 1, flips, share) + binom.cdf(flips - fewest, flips, share)
    found = np.where(fewest <= flips, found, 0.0)
    return float((binom.pmf(flips, rows, flip_rate) * found).sum())


def _decisive_wins(flips: Any, rows: int, alpha: float) -> Any:
    """The fewest wins among so many flips at which p-value and interval both find a difference."""
    np, norm = numpy(), stats().norm
    limit = float(norm.isf(alpha / 2))
    low, high = (flips + 1) // 2 - 1, flips + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        inside = np.clip(middle, 0, flips)
        z = (2 * inside - flips) / np.sqrt(np.maximum(flips, 1))
        decisive = (difference_p(inside, flips - inside, rows) <= alpha) & (z >= limit)
        open_ = high - low > 1
        high = np.where(open_ & decisive, middle, high)
        low = np.where(open_ & ~decisive, middle, low)
    return high


def parity_power(
    rows: int,
    flip_rate: float,
    margin: float,
    *,
    difference: float = 0.0,
    alpha: float = ALPHA,
    exact: bool = False,
) -> float:
    """Return how often parity is found; at `difference=-margin` the false passes.

    Without `exact` it is that of Tango's test alone: much quicker, and rarely higher by a point.
    """
    fewest = fewest_wins(rows, margin, float(stats().norm.isf(alpha / 2)))
    if exact:
        loss_rate = (flip_rate - difference) / 2
        fewest = _enough_wins(fewest, rows, margin, (loss_rate, loss_rate), alpha)
    win_rate, loss_rate = (flip_rate + difference) / 2, (flip_rate - difference) / 2
    return float(at_least(fewest, rows, win_rate, loss_rate))


def _enough_wins(
    fewest: Any, rows: int, margin: float, loss_rates: tuple[float, float], alpha: float
) -> Any:
    """The fewest wins at which `parity_p` is low enough, for each number of losses that may occur."""
    binom, enough = stats().binom, fewest.copy()
    first = int(binom.ppf(1e-9, rows, loss_rates[0]))
    last = int(binom.isf(1e-9, rows, loss_rates[1]))
    for losses in range(max(first, 0), last + 1):
        wins = int(fewest[losses])
        while wins <= rows - losses and parity_p(wins, losses, rows, margin) > alpha / 2:
            wins += 1
        enough[losses] = wins
    return enough


def rows_for_difference(
    flip_rate: float, difference: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """Return the rows that find a difference with the given power; None where no number would."""
    if difference == 0:
        return None
    size = min(abs(difference), 1.0)
    flip_rate = min(max(flip_rate, size), 1.0)
    start = approximate_rows_for_difference(flip_rate, size, alpha=alpha, power=power)
    return _fewest_rows(
        start, power, lambda rows: difference_power(rows, flip_rate, size, alpha=alpha)
    )


def approximate_rows_for_difference(
    flip_rate: float, difference: float, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the rows that find a difference, by the normal approximation (Connor 1987)."""
    isf = stats().norm.isf
    spread = max(flip_rate - difference**2, 0.0)
    root = isf(alpha / 2) * flip_rate**0.5 + isf(1 - power) * spread**0.5
    return float(root**2 / difference**2)


def smallest_visible(
    flip_rate: float, rows: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest difference that so many rows would find with the given power.

    Where nothing flips, it is that of the fewest flips, all of one kind, that are found.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        rate = max(flip_rate, middle)
        found = approximate_rows_for_difference(rate, middle, alpha=alpha, power=power) <= rows
        low, high = (low, middle) if found else (middle, high)
    return high


def rows_for_parity(
    flip_rate: float,
    margin: float,
    *,
    difference: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int | None:
    """Return the rows that show parity with the given power, if the true difference is `difference`.

    None where no number would: the candidate is worse by the margin or more. Zero flips need rows
    as well (see `rows_without_flips`).
    """
    room = margin + min(difference, 0.0)
    if room <= 0 or margin >= 1:
        return None
    fewest = rows_without_flips(margin, alpha=alpha)
    flip_rate = max(flip_rate, abs(difference))
    if flip_rate <= 0:
        return fewest
    isf = stats().norm.isf
    start = max(
        fewest, (isf(alpha / 2) + isf(1 - power)) ** 2 * flip_rate / (margin + difference) ** 2
    )
    found = _fewest_rows(
        start,
        power,
        lambda rows: parity_power(rows, flip_rate, margin, difference=difference, alpha=alpha),
    )
    return None if found is None else max(found, fewest)


def rows_without_flips(margin: float, *, alpha: float = ALPHA, exact: bool = True) -> int:
    """Return the rows that show parity where not one row flips.

    Fewer prove nothing: a candidate that is worse by the margin often loses none of so few rows.
    Without `exact` it is the number for Tango's test alone.
    """
    limit = float(stats().norm.isf(alpha / 2))
    rows = int(numpy().ceil(limit**2 * (1 - margin) / margin - 1e-9))
    while exact and parity_p(0, 0, rows, margin) > alpha / 2:
        rows += 1
    return rows


def _fewest_rows(start: float, power: float, power_of: Callable[[int], float]) -> int | None:
    """The fewest rows of enough power near `start`; a table's steps make it waver by a point."""
    if start > MOST_ROWS:
        return None
    if start > _EXACT_SEARCH:
        return int(start * 1.02) + 1
    low, high = 0, max(2, int(start * 1.1))
    while power_of(high) < power:
        low, high = high, int(high * 1.2) + 1
        if high > MOST_ROWS:
            return None
    while high - low > max(1, high // 500):
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high
