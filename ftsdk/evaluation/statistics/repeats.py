"""Several answers of one model to one row: averaged first, and how far the model agrees with itself."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NoiseFloor:
    """How often a model differs from itself: two of its answers to one row, drawn at random.

    A replacement that flips no more rows than this is as close as the model is to itself. `rows` are
    those with at least two answers.
    """

    disagreement: float
    rows: int
    answers: int

    @property
    def agreement(self) -> float:
        """The share of pairs of answers that agree."""
        return 1 - self.disagreement


def row_means(scores: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean score of each row. Rows are compared, never single answers: those of one row
    are not independent.
    """
    return [statistics.fmean(row) for row in scores]


def variance_of_mean(scores: Sequence[Sequence[float]]) -> float:
    """Return the variance of the mean over rows, of which each has its own answers.

    It has both parts, (between rows + within rows / answers) / rows: the means of the rows vary by both.
    """
    means = row_means(scores)
    return statistics.variance(means) / len(means)


def noise_floor(answers: Sequence[Sequence[Hashable]]) -> NoiseFloor | None:
    """Return how often pairs of answers to one row differ; None where no row has two answers.

    `answers` are what is compared: texts, labels, or whether each passed.
    """
    repeated = [row for row in answers if len(row) > 1]
    if not repeated:
        return None
    differing = [1 - _agreeing(row) for row in repeated]
    return NoiseFloor(statistics.fmean(differing), len(repeated), sum(map(len, repeated)))


def _agreeing(row: Sequence[Hashable]) -> float:
    """The share of pairs of answers that are equal."""
    pairs = len(row) * (len(row) - 1)
    return sum(n * (n - 1) for n in Counter(row).values()) / pairs
