"""Two models on the same rows, pass or fail: McNemar's tests and Tango's score interval.

`wins` counts the rows that only the candidate passed, `losses` those that only the reference
passed, `rows` all of them. The difference is `(wins - losses) / rows`, between -1 and 1.

Sources: Fagerland, Lydersen and Laake 2013 (mid-p); Tango 1998 (score interval); Hsueh, Liu and Chen
2001 (exact non-inferiority); Berger and Boos 1994 (a confidence set for the nuisance parameter).
"""

from __future__ import annotations

from typing import Any

from ftsdk.evaluation.statistics.libraries import load, numpy, stats

ALPHA = 0.05
"""Two-sided level of a difference. Parity is one-sided, at half of it: the end of the same interval."""
MOST_FLIPS = 0.9
"""The share of rows that flip beyond which the exact test of a difference is used."""
MOST_ROWS_EXACT = 5_000
"""Up to here parity is checked exactly as well; beyond it the score test alone is within 0.1 %."""
_SET_LEVEL = 0.0005
"""How often the confidence set of the flip rate may miss the true one; added to the p-value."""
_GRID = 33


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return the two-sided p-value of the exact (binomial) McNemar test; 1 where nothing flips."""
    return min(1.0, 2 * float(stats().binom.cdf(min(wins, losses), wins + losses, 0.5)))


def mcnemar_mid_p(wins: Any, losses: Any) -> Any:
    """Return the two-sided mid-p value of the McNemar test, of numbers or of arrays."""
    np, binom = numpy(), stats().binom
    wins, losses = np.asarray(wins), np.asarray(losses)
    flips, fewer = wins + losses, np.minimum(wins, losses)
    one_point = binom.pmf(fewer, flips, 0.5)
    p = np.where(wins == losses, 1 - one_point / 2, 2 * binom.cdf(fewer, flips, 0.5) - one_point)
    return _plain(np.where(flips == 0, 1.0, p))


def difference_p(wins: Any, losses: Any, rows: int) -> Any:
    """Return the two-sided p-value of "the models do not differ", of numbers or of arrays.

    It is the mid-p value, but the exact one where more than `MOST_FLIPS` of the rows flip: mid-p keeps
    its level because the number of flips varies, and there it hardly does (up to 7.7 % false alarms).
    """
    np, binom = numpy(), stats().binom
    wins, losses = np.asarray(wins), np.asarray(losses)
    flips, fewer = wins + losses, np.minimum(wins, losses)
    exact = np.minimum(1.0, 2 * binom.cdf(fewer, flips, 0.5))
    return _plain(np.where(flips > MOST_FLIPS * rows, exact, mcnemar_mid_p(wins, losses)))


def tango_z(wins: Any, losses: Any, rows: int, difference: float) -> Any:
    """Return Tango's score statistic at a supposed difference, of numbers or of arrays.

    It falls as the supposed difference grows, and is 0 at the observed one.
    """
    np = numpy()
    wins, losses = np.asarray(wins, dtype=float), np.asarray(losses, dtype=float)
    lost = _loss_rate(wins, losses, rows, difference)
    variance = rows * (2 * lost + difference * (1 - difference))
    distance = wins - losses - rows * difference
    z = distance / np.sqrt(np.maximum(variance, 1e-24))
    return _plain(np.where(distance == 0, 0.0, z))


def _loss_rate(wins: Any, losses: Any, rows: int, difference: float) -> Any:
    """The likeliest rate of losses where the rate of wins exceeds it by `difference`."""
    np = numpy()
    a = 2 * rows
    b = -wins - losses + (2 * rows - wins + losses) * difference
    c = -losses * difference * (1 - difference)
    return (np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)) - b) / (2 * a)


def tango_interval(
    wins: int, losses: int, rows: int, *, level: float = 1 - ALPHA
) -> tuple[float, float]:
    """Return Tango's score interval of the difference."""
    limit = float(stats().norm.isf((1 - level) / 2))
    return _end(wins, losses, rows, limit), _end(wins, losses, rows, -limit)


def _end(wins: int, losses: int, rows: int, limit: float) -> float:
    """The supposed difference at which the statistic is `limit`."""

    def excess(difference: float) -> float:
        return float(tango_z(wins, losses, rows, difference)) - limit

    first, last = -1 + 1e-9, 1 - 1e-9
    if excess(first) <= 0:
        return -1.0
    if excess(last) >= 0:
        return 1.0
    return float(load("scipy.optimize").brentq(excess, first, last, xtol=1e-10))


def parity_p(wins: int, losses: int, rows: int, margin: float) -> float:
    """Return the one-sided p-value of "the candidate is worse by `margin` or more".

    The larger of Tango's (a normal approximation) and, up to `MOST_ROWS_EXACT` rows, that of the
    exact test on the same statistic: in small sets the first alone passes a little too often.
    """
    z = float(tango_z(wins, losses, rows, -margin))
    p = float(stats().norm.sf(z))
    if rows > MOST_ROWS_EXACT or p > 0.5:
        return p
    return max(p, _exact_p(wins, losses, rows, margin, z))


def _exact_p(wins: int, losses: int, rows: int, margin: float, z: float) -> float:
    np, beta, flips = numpy(), stats().beta, wins + losses
    low = beta.ppf(_SET_LEVEL / 2, flips, rows - flips + 1) if flips else 0.0
    high = beta.isf(_SET_LEVEL / 2, flips + 1, rows - flips) if flips < rows else 1.0
    rates = np.linspace(max(low, margin), max(high, margin), _GRID)
    tails = at_least(fewest_wins(rows, margin, z), rows, (rates - margin) / 2, (rates + margin) / 2)
    return float(min(1.0, tails.max() + _SET_LEVEL))


def fewest_wins(rows: int, margin: float, z: float) -> Any:
    """Return the fewest wins with a statistic of at least `z` at `-margin`, for 0 … `rows` losses.

    Where no number of wins is enough, it is one more than there can be.
    """
    np = numpy()
    losses = np.arange(rows + 1)
    low, high = np.full(rows + 1, -1), rows - losses + 1
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = tango_z(np.maximum(middle, 0), losses, rows, -margin) >= z - 1e-12
        open_ = high - low > 1
        high = np.where(open_ & enough, middle, high)
        low = np.where(open_ & ~enough, middle, low)
    return high


def at_least(fewest: Any, rows: int, win_rate: Any, loss_rate: Any) -> Any:
    """Return the probability of at least `fewest[losses]` wins, summed over the losses.

    The rates are numbers, or arrays of the same length.
    """
    np, binom = numpy(), stats().binom
    win_rate, loss_rate = np.asarray(win_rate), np.asarray(loss_rate)
    mean, reach = rows * loss_rate, 9 * np.sqrt(rows * loss_rate * (1 - loss_rate)) + 30
    losses = np.arange(max(0, int((mean - reach).min())), min(rows, int((mean + reach).max())) + 1)
    losses = losses[fewest[losses] <= rows - losses]
    lost = loss_rate[..., None]
    share = np.clip(win_rate[..., None], 0, None) / np.maximum(1 - lost, 1e-12)
    tail = binom.sf(fewest[losses] - 1, rows - losses, np.minimum(share, 1.0))
    return _plain((binom.pmf(losses, rows, lost) * tail).sum(axis=-1))


def newcombe_interval(
    both: int, wins: int, losses: int, neither: int, *, level: float = 1 - ALPHA
) -> tuple[float, float]:
    """Return Newcombe's interval of the difference (square and add, his method 10).

    Only for comparison with publications: Tango's keeps its level better.
    """
    rows = both + wins + losses + neither
    first, second = (both + wins) / rows, (both + losses) / rows
    found = stats()
    low1, high1 = found.binomtest(both + wins, rows).proportion_ci(level, method="wilson")
    low2, high2 = found.binomtest(both + losses, rows).proportion_ci(level, method="wilson")
    phi = _phi(both, wins, losses, neither)
    down = (first - low1) ** 2 - 2 * phi * (first - low1) * (high2 - second) + (high2 - second) ** 2
    up = (second - low2) ** 2 - 2 * phi * (second - low2) * (high1 - first) + (high1 - first) ** 2
    difference = first - second
    return difference - float(max(down, 0)) ** 0.5, difference + float(max(up, 0)) ** 0.5


def _phi(both: int, wins: int, losses: int, neither: int) -> float:
    """The correlation of the two models, with Newcombe's correction."""
    product = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    if product == 0:
        return 0.0
    crossed = both * neither - wins * losses
    rows = both + wins + losses + neither
    corrected = max(crossed - rows / 2, 0) if crossed > 0 else crossed
    return float(corrected / product**0.5)


def _plain(value: Any) -> Any:
    """A number for an array without dimensions."""
    return float(value) if value.ndim == 0 else value
