"""Two models on the same rows, graded: intervals and tests of the mean difference, also in clusters.

`differences` are the candidate's scores less the reference's, one a row. `clusters` names the cluster
of each row (such as its conversation); rows of one cluster may fail together, so they count as one
observation. The mean is over rows in both cases.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.evaluation.statistics.libraries import numpy, stats
from ftsdk.evaluation.statistics.paired import ALPHA

RESAMPLES = 9_999
MOST_UNITS_RESAMPLED = 3_000
"""Beyond it the t interval is the same to the digits shown, and the bootstrap takes seconds."""
_MOST_CELLS = 1 << 18


@dataclass(frozen=True)
class Mean:
    """A mean over rows with its standard error; `units` rows or clusters vary independently."""

    value: float
    error: float
    units: int

    def interval(self, level: float = 1 - ALPHA) -> tuple[float, float]:
        """Return the t interval with `units - 1` degrees of freedom; all there can be for one unit."""
        if self.units < 2:
            return -float("inf"), float("inf")
        reach = float(stats().t.isf((1 - level) / 2, self.units - 1)) * self.error
        return self.value - reach, self.value + reach

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of "the true mean is `bound` or less"."""
        if self.units < 2:
            return 1.0
        distance = self.value - bound
        if self.error == 0:
            return 0.5 if distance == 0 else float(distance < 0)
        return float(stats().t.sf(distance / self.error, self.units - 1))


@dataclass(frozen=True)
class SkewedMean(Mean):
    """A mean whose test allows for the skewness of the units (Hall's transformation, 1992)."""

    skew: float = 0.0

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of "the true mean is `bound` or less"."""
        if self.units < 2:
            return 1.0
        t = (self.value - bound) / self.error
        bend = self.skew / self.units**0.5
        bent = t + bend * t**2 / 3 + bend**2 * t**3 / 27 + bend / 6
        return float(stats().t.sf(bent, self.units - 1))


def mean_of(differences: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Mean:
    """Return the mean difference with its standard error, clustered where `clusters` are given."""
    sums = _sums(differences, clusters)
    return _mean(sums, len(differences))


def _mean(sums: _Sums, rows: int) -> Mean:
    np = numpy()
    value = float(sums.total.sum()) / rows
    residuals = sums.total - value * sums.size
    units = len(sums.total)
    spread = float((residuals**2).sum()) * units / max(units - 1, 1)
    return Mean(value, float(np.sqrt(spread)) / rows, units)


@dataclass(frozen=True)
class _Sums:
    """The sum of the differences of each unit, and how many rows it has."""

    total: Any
    size: Any


def _sums(differences: Sequence[float], clusters: Sequence[Hashable] | None) -> _Sums:
    np = numpy()
    values = np.asarray(differences, dtype=float)
    if clusters is None:
        return _Sums(values, np.ones(len(values)))
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(name, len(number)) for name in clusters], dtype=int)
    return _Sums(np.bincount(index, weights=values), np.bincount(index).astype(float))


def cautious_mean(
    differences: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    alpha: float = ALPHA,
    scale: float = 1.0,
) -> SkewedMean:
    """Return the mean after adding units, half of them the largest gain and half the largest loss.

    A few rare losses have a standard error that is far too small, and none at all has 0, so a plain
    t-test for parity passes too often: up to 40 % of the time instead of 2.5 %. Adding as many units as
    Wilson's interval does makes it as strict as Tango's test. `scale` is the range of the metric, for
    where no row differs.
    """
    np = numpy()
    sums = _sums(differences, clusters)
    rows, units = len(differences), len(sums.total)
    added = float(stats().norm.isf(alpha / 2)) ** 2
    totals, sizes = sums.total * units / rows, sums.size * units / rows  # a unit of 1 on average
    largest = float(np.abs(totals).max(initial=0.0)) or scale
    value = float(totals.sum()) / (units + added)
    inside = totals - value * sizes
    squares = float((inside**2).sum()) + added * largest**2
    cubes = float((inside**3).sum()) + added * (-(value**3) - 3 * value * largest**2)
    variance = squares / max(units - 1, 1) * units / (units + added)
    skew = cubes / (units + added) / variance**1.5
    return SkewedMean(value, float(np.sqrt(variance / (units + added))), units, skew)


def bca_interval(
    reference: Sequence[float],
    candidate: Sequence[float],
    *,
    level: float = 1 - ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the BCa bootstrap interval of the mean difference; NaN where all differences are equal."""
    np = numpy()
    first, second = np.asarray(candidate, dtype=float), np.asarray(reference, dtype=float)
    if np.ptp(first - second) < 1e-12:
        return float("nan"), float("nan")

    def statistic(x: Any, y: Any, axis: int = -1) -> Any:
        return np.mean(x, axis=axis) - np.mean(y, axis=axis)

    found = stats().bootstrap(
        (first, second),
        statistic,
        paired=True,
        vectorized=True,
        method="BCa",
        confidence_level=level,
        n_resamples=resamples,
        batch=max(1, _MOST_CELLS // len(first)),
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip_p(
    differences: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    alternative: str = "two-sided",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Return the p-value of the sign-flip permutation test; whole clusters flip together.

    Exact (all sign patterns) where there are no more patterns than `resamples`, at random beyond.
    Units without a difference do not count; one alone shows nothing.
    """
    np = numpy()
    sums = _sums(differences, clusters).total
    sums = sums[np.abs(sums) > 1e-12]
    if len(sums) < 2:
        return 1.0
    found = stats().permutation_test(
        (sums,),
        lambda x, axis=-1: np.sum(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative=alternative,
        n_resamples=np.inf if 2 ** min(len(sums), 60) <= resamples + 1 else resamples,
        batch=max(1, _MOST_CELLS // len(sums)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def difference_p(
    differences: Sequence[float], clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> tuple[float, str]:
    """Return the p-value of "no difference", and the name of the test that fits the rows."""
    mean = mean_of(differences, clusters)
    of_clusters = "" if clusters is None else " of clusters"
    if mean.units <= MOST_UNITS_RESAMPLED or mean.error == 0:
        return sign_flip_p(differences, clusters, seed=seed), f"sign-flip test{of_clusters}"
    mirrored = Mean(-mean.value, mean.error, mean.units)
    return 2 * min(mean.p_above(0.0), mirrored.p_above(0.0)), f"t-test{of_clusters}"


def tost_p(differences: Sequence[float], low: float, high: float) -> float:
    """Return the p-value of two one-sided t-tests of "the mean is outside `low` … `high`"."""
    mean = mean_of(differences)
    mirrored = Mean(-mean.value, mean.error, mean.units)
    return max(mean.p_above(low), mirrored.p_above(-high))


def difference_interval(
    reference: Sequence[float],
    candidate: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    alpha: float = ALPHA,
    scale: float = 1.0,
    seed: int = 0,
) -> tuple[float, float, str]:
    """Return the interval of the mean difference, and the name of the method that fits the rows."""
    differences = [b - a for a, b in zip(reference, candidate, strict=True)]
    if len(set(differences)) < 2:
        mean = cautious_mean(differences, clusters, alpha=alpha, scale=scale)
        return *mean.interval(1 - alpha), "t interval with added rows"
    if clusters is not None:
        return *mean_of(differences, clusters).interval(1 - alpha), "clustered t interval"
    if len(differences) > MOST_UNITS_RESAMPLED:
        return *mean_of(differences).interval(1 - alpha), "t interval"
    return *bca_interval(reference, candidate, level=1 - alpha, seed=seed), "BCa bootstrap interval"


def parity_p(
    differences: Sequence[float],
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    *,
    alpha: float = ALPHA,
    scale: float = 1.0,
) -> float:
    """Return the one-sided p-value of "the candidate's mean is lower by `margin` or more"."""
    plain = mean_of(differences, clusters)
    cautious = cautious_mean(differences, clusters, alpha=alpha, scale=scale)
    return max(plain.p_above(-margin), cautious.p_above(-margin))
