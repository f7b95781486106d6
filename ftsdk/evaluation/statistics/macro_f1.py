"""The difference of the macro-F1 of two models on the same rows, with a paired bootstrap interval.

Macro-F1 is a figure of a whole set, not a mean over rows, so neither Tango nor a sign-flip test fits. The
interval describes the difference. It is no test for parity: on small sets a bootstrap passes models that
are worse by the margin far too often.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.evaluation.statistics.libraries import numpy, stats
from ftsdk.evaluation.statistics.paired import ALPHA

RESAMPLES = 1_999
_NOTHING = 1e-12
MOST_FOR_BCA = 2_000
"""Rows or clusters; beyond it the percentile interval is the same to the digits shown, and faster."""
Given = Sequence[str | None]


@dataclass(frozen=True)
class MacroF1Difference:
    """The macro-F1 of both models on the rows that both answered, and the difference with its interval.

    `low` and `high` are None where a bootstrap shows nothing: one unit, or no difference anywhere.
    `units` rows or clusters were resampled. `method` says how; it is never a test for parity.
    """

    reference: float
    candidate: float
    low: float | None
    high: float | None
    units: int
    method: str

    @property
    def delta(self) -> float:
        """The candidate's macro-F1 less the reference's."""
        return self.candidate - self.reference


def macro_f1_difference(
    labels: Sequence[str],
    reference: Given,
    candidate: Given,
    clusters: Sequence[Hashable] | None = None,
    *,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MacroF1Difference | None:
    """Return the difference in macro-F1 of two models from what each answered; None without rows.

    `labels` are the right ones; None in an answer is no label. Rows of one cluster are resampled
    together. BCa where the units are few enough, else the percentiles.
    """
    if not labels:
        return None
    counts = _Counts(labels, reference, candidate)
    units = _Units(len(labels), clusters)
    first, second = counts.macro_f1(numpy().arange(len(labels)))
    method = "BCa" if units.count <= MOST_FOR_BCA else "percentile"
    low, high = _interval(counts, units, method, alpha, resamples, seed)
    what = "rows" if clusters is None else "clusters"
    return MacroF1Difference(
        first,
        second,
        low,
        high,
        units.count,
        f"paired bootstrap of {what} ({method}, {resamples:,} resamples); no test for parity",
    )


class _Counts:
    """The labels of the rows as numbers; the macro-F1 of both models on any rows."""

    def __init__(self, labels: Sequence[str], reference: Given, candidate: Given) -> None:
        np = numpy()
        number = {name: place for place, name in enumerate(sorted(set(labels)))}
        self._classes = len(number)
        self._labels = np.array([number[one] for one in labels])
        # A label that no row has, and none at all, are wrong for every class: they count for none.
        other = self._classes
        self._given = [
            np.array([number.get(one, other) if one is not None else other for one in given])
            for given in (reference, candidate)
        ]

    @property
    def same(self) -> bool:
        """Whether both models answered the same everywhere."""
        return bool((self._given[0] == self._given[1]).all())

    def macro_f1(self, rows: Any) -> tuple[float, float]:
        """Return the macro-F1 of both models over the classes that these rows have."""
        np = numpy()
        labels = self._labels[rows]
        present = np.bincount(labels, minlength=self._classes)
        has = present > 0
        found = []
        for given in self._given:
            said = given[rows]
            right = np.bincount(labels[said == labels], minlength=self._classes)
            made = np.bincount(said, minlength=self._classes + 1)[: self._classes]
            found.append(float((2 * right[has] / (present[has] + made[has])).mean()))
        return found[0], found[1]


class _Units:
    """The rows, or the clusters of them, that are resampled."""

    def __init__(self, rows: int, clusters: Sequence[Hashable] | None) -> None:
        np = numpy()
        places: dict[Hashable, list[int]] = {}
        for place, name in enumerate(clusters or ()):
            places.setdefault(name, []).append(place)
        self._groups = [np.array(one) for one in places.values()] if clusters is not None else None
        self.count = rows if self._groups is None else len(self._groups)

    def rows_of(self, units: Any) -> Any:
        """Return the rows of these units, each as often as it is named."""
        if self._groups is None:
            return units
        return numpy().concatenate([self._groups[int(one)] for one in units])


def _interval(
    counts: _Counts, units: _Units, method: str, alpha: float, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    np, count = numpy(), units.count
    if count < 2 or counts.same:
        return None, None

    def difference(chosen: Any) -> float:
        first, second = counts.macro_f1(units.rows_of(chosen))
        return second - first

    rng = np.random.default_rng(seed)
    drawn = np.array([difference(rng.integers(0, count, count)) for _ in range(resamples)])
    if np.ptp(drawn) < _NOTHING:
        return None, None
    ends = np.array([alpha / 2, 1 - alpha / 2])
    if method == "BCa":
        everything = np.arange(count)
        left_out = np.array([difference(np.delete(everything, one)) for one in range(count)])
        ends = _corrected(ends, drawn, difference(everything), left_out)
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)


def _corrected(ends: Any, drawn: Any, seen: float, left_out: Any) -> Any:
    """Return the quantiles of BCa: corrected for bias and for skewness (Efron, 1987)."""
    np, normal = numpy(), stats().norm
    below = (np.sum(drawn < seen - _NOTHING) + np.sum(np.abs(drawn - seen) <= _NOTHING) / 2) / len(drawn)  # fmt: skip
    bias = normal.ppf(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    apart = left_out.mean() - left_out
    spread = float(np.sum(apart**2))
    skew = float(np.sum(apart**3)) / (6 * spread**1.5) if spread > _NOTHING**2 else 0.0
    moved = bias + normal.ppf(ends)
    return normal.cdf(bias + moved / (1 - skew * moved))
