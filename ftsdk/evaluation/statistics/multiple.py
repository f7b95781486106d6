"""p-values of several comparisons at once, adjusted."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm: below 5 %, each claim holds, and all of them together."""
    count = len(p_values)
    adjusted, largest = [1.0] * count, 0.0
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for false discoveries: a list to look at, of which 5 % may be wrong."""
    count = len(p_values)
    adjusted, smallest = [1.0] * count, 1.0
    order = sorted(range(count), key=p_values.__getitem__, reverse=True)
    for above, place in enumerate(order):
        smallest = min(smallest, count / (count - above) * p_values[place])
        adjusted[place] = smallest
    return adjusted
