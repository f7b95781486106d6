"""Scores of answers, and the comparison of two models on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ftsdk.types.record import Record

__all__ = ["Comparison", "Score", "Verdict"]


@dataclass(frozen=True)
class Score:
    """The score of one answer by one metric.

    `value` is between 0 and 1, higher is better (a user's own metric may use another range). `passed`
    is set where the metric is pass or fail. Both are None where the row cannot be scored by this
    metric. `detail` says what the metric saw, such as the extracted number.
    """

    value: float | None
    passed: bool | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Verdict(StrEnum):
    """What a comparison shows about the candidate."""

    BETTER = "better"
    PARITY = "parity"
    """Not worse by the margin or more. Only where a margin was stated."""
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"
    """The rows are too few to say; `Comparison.rows_needed` says how many would do."""
    NOT_COMPARABLE = "not comparable"
    """The answers of the two models cannot be set against each other; `reason` says why."""


class Comparison(Record):
    """A candidate against a reference on the same rows.

    `delta` is the candidate's mean score less the reference's, from -1 to 1 for scores of 0 to 1;
    `low` and `high` are its 95 % interval, `p` the p-value of "no difference", and `p_adjusted` the same
    after Holm's correction where it is one of several claims. `wins` and `losses`
    are the rows on which the candidate scores higher and lower, `ties` the others, `n` all rows and
    `clusters` how many of them vary independently. `margin` is the loss that is accepted, as `delta`;
    `p_parity` belongs to it, and `p_parity_adjusted` is the same after Holm's correction where the candidate
    is one of several of which one is chosen. `smallest_visible` is the smallest difference that so many rows show
    four times in five. `rows_needed` would settle the question as often, if the models differ as they
    seem to; None where it is settled or no number would. `method` names the tests and the interval,
    `reason` is one sentence for the verdict.
    """

    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    wins: int
    losses: int
    ties: int
    n: int
    verdict: Verdict
    reason: str
    method: str = ""
    clusters: int | None = None
    p_adjusted: float | None = None
    margin: float | None = None
    p_parity: float | None = None
    p_parity_adjusted: float | None = None
    smallest_visible: float | None = None
    rows_needed: int | None = None
