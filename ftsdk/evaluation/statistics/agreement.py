"""How far raters agree beyond chance: Cohen's kappa and Krippendorff's alpha."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal, get_args

from ftsdk.errors import UsageError

Label = Hashable
Distance = Callable[[Any, Any], float]


def cohens_kappa(first: Sequence[Label], second: Sequence[Label]) -> float | None:
    """Return Cohen's kappa of two raters of the same items; None where both give one label only."""
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        return None
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    left, right = Counter(first), Counter(second)
    by_chance = sum(left[label] * right[label] for label in left) / len(pairs) ** 2
    return None if by_chance >= 1 else (agreed - by_chance) / (1 - by_chance)


Level = Literal["nominal", "ordinal", "interval", "ratio"]
_LEVELS = get_args(Level)


def krippendorffs_alpha(
    items: Iterable[Sequence[Any | None]], level: Level = "nominal"
) -> float | None:
    """Return Krippendorff's alpha of the ratings of each item; None marks a missing one.

    `level` says what a disagreement counts: `nominal` all alike, `ordinal` by the ratings between the
    two, `interval` by their squared difference, `ratio` by the square of difference over sum. All but the
    first need ratings that are numbers, `ratio` none below 0. Items with fewer than two ratings do not
    count. None where fewer than two different ratings are given. Raises `UsageError` for an unknown
    level, and for ratings that have no such distance.
    """
    rated = [[label for label in item if label is not None] for item in items]
    rated = [item for item in rated if len(item) > 1]
    totals = Counter(label for item in rated for label in item)
    distance = _distance(level, totals)
    expected = _disagreement(totals, distance)
    if expected == 0:
        return None
    observed = sum(_disagreement(Counter(item), distance) / (len(item) - 1) for item in rated)
    return 1 - (totals.total() - 1) * observed / expected


def _disagreement(counts: Counter[Any], distance: Distance) -> float:
    """The sum of the distances of all ordered pairs of ratings."""
    given = list(counts.items())
    return sum(
        2 * n * m * distance(a, b) for i, (a, n) in enumerate(given) for b, m in given[i + 1 :]
    )


def _distance(level: Level, totals: Counter[Any]) -> Distance:
    if level not in _LEVELS:
        raise UsageError(
            f"There is no level {level!r} of ratings",
            where="krippendorffs_alpha",
            hint=f"give one of {', '.join(_LEVELS)}",
        )
    if level == "nominal":
        return lambda a, b: float(a != b)
    wrong = [one for one in totals if not _is_number(one) or (level == "ratio" and one < 0)]
    if wrong:
        raise UsageError(
            f"The rating {wrong[0]!r} has no distance at the level {level}",
            where="krippendorffs_alpha",
            hint="give numbers" + (", none below 0" if level == "ratio" else ""),
        )
    if level == "interval":
        return lambda a, b: float(a - b) ** 2
    if level == "ratio":
        return lambda a, b: (float(a - b) / float(a + b)) ** 2
    return _ordinal(totals)


def _ordinal(totals: Counter[Any]) -> Distance:
    """The square of the ratings from one value to the other, the two themselves by half."""
    before, below = 0, {}
    for value in sorted(totals):
        below[value] = before + totals[value] / 2
        before += totals[value]
    return lambda a, b: float(below[a] - below[b]) ** 2


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
