"""How far raters agree beyond chance: Cohen's kappa and Krippendorff's alpha."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

Label = Hashable


def cohens_kappa(first: Sequence[Label], second: Sequence[Label]) -> float | None:
    """Return Cohen's kappa of two raters of the same items; None where both give one label only."""
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        return None
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    left, right = Counter(first), Counter(second)
    by_chance = sum(left[label] * right[label] for label in left) / len(pairs) ** 2
    return None if by_chance >= 1 else (agreed - by_chance) / (1 - by_chance)


def krippendorffs_alpha(items: Iterable[Sequence[Label | None]]) -> float | None:
    """Return Krippendorff's nominal alpha of the ratings of each item; None marks a missing one.

    Items with fewer than two ratings do not count. None where fewer than two labels are given.
    """
    rated = [[label for label in item if label is not None] for item in items]
    rated = [item for item in rated if len(item) > 1]
    totals = Counter(label for item in rated for label in item)
    ratings = totals.total()
    expected = ratings**2 - sum(n**2 for n in totals.values())
    if expected == 0:
        return None
    observed = sum(_differing_pairs(item) / (len(item) - 1) for item in rated)
    return 1 - (ratings - 1) * observed / expected


def _differing_pairs(item: Sequence[Label]) -> int:
    return len(item) ** 2 - sum(n**2 for n in Counter(item).values())
