"""The scores of two models on the same rows, paired; a row counts only where both have one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ftsdk.errors import UsageError
from ftsdk.evaluation.statistics.compare import compare, not_comparable
from ftsdk.evaluation.statistics.paired import ALPHA
from ftsdk.evaluation.statistics.repeats import NoiseFloor, noise_floor
from ftsdk.types.chat import OutcomeKind
from ftsdk.types.evaluation import Comparison, Score

MOST_ERRORS = 0.01
"""The share of rows that one model may lack because of errors."""
RowScores = Sequence[Score]
"""The scores of one model for one row: one for each repeat."""


@dataclass(frozen=True)
class Pairs:
    """The rows on which both models are scored, and the others by the reason why they are left out.

    `rows` are places in the data; `reference` and `candidate` their scores, the mean of the repeats.
    `reference_missing` and `candidate_missing` are the rows on which a model has errors only, or no
    score where the other has one. `unscored` are those that the metric cannot score for either, such
    as rows without a reference answer.
    """

    rows: tuple[int, ...]
    reference: tuple[float, ...]
    candidate: tuple[float, ...]
    reference_missing: tuple[int, ...] = ()
    candidate_missing: tuple[int, ...] = ()
    unscored: tuple[int, ...] = ()

    def within(self, rows: Sequence[int]) -> Pairs:
        """Return the part of these rows, such as a slice."""
        wanted = frozenset(rows)
        kept = [place for place, row in enumerate(self.rows) if row in wanted]
        return Pairs(
            tuple(self.rows[place] for place in kept),
            tuple(self.reference[place] for place in kept),
            tuple(self.candidate[place] for place in kept),
            tuple(row for row in self.reference_missing if row in wanted),
            tuple(row for row in self.candidate_missing if row in wanted),
            tuple(row for row in self.unscored if row in wanted),
        )


def paired(reference: Sequence[RowScores], candidate: Sequence[RowScores]) -> Pairs:
    """Return the pairs of two models' scores, both in the order of the rows.

    Repeats are averaged over those that were answered. Raises `UsageError` when the rows differ in
    number.
    """
    if len(reference) != len(candidate):
        raise UsageError(
            f"The models were scored on different rows: {len(reference)} and {len(candidate)}",
            where="the scores of two models",
            hint="score both on all rows, with an error as a score without a value",
        )
    first, second = [_mean(row) for row in reference], [_mean(row) for row in candidate]
    rows = [i for i, pair in enumerate(zip(first, second, strict=True)) if None not in pair]
    missing = (
        _missing(reference, first, second),
        _missing(candidate, second, first),
    )
    known = {*missing[0], *missing[1], *rows}
    return Pairs(
        tuple(rows),
        tuple(value for i in rows if (value := first[i]) is not None),
        tuple(value for i in rows if (value := second[i]) is not None),
        *missing,
        unscored=tuple(i for i in range(len(reference)) if i not in known),
    )


def compare_pairs(
    pairs: Pairs,
    *,
    margin: float | None = None,
    clusters: Sequence[Hashable] | None = None,
    scale: float = 1.0,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Comparison:
    """Return the comparison of the pairs; `clusters` names the cluster of each row of the data.

    Not comparable where one model lacks more than `MOST_ERRORS` of the rows: which rows fail is seldom
    chance.
    """
    errors = _too_many_errors(pairs)
    if errors:
        return not_comparable(errors, rows=len(pairs.rows), margin=margin)
    return compare(
        pairs.reference,
        pairs.candidate,
        margin=margin,
        clusters=None if clusters is None else [clusters[row] for row in pairs.rows],
        scale=scale,
        alpha=alpha,
        seed=seed,
    )


def noise_of(scores: Sequence[RowScores]) -> NoiseFloor | None:
    """Return how often two answers of one model to one row are scored differently.

    None where no row has two answers that are scored.
    """
    return noise_floor([[one.value for one in row if one.value is not None] for row in scores])


def _too_many_errors(pairs: Pairs) -> str:
    """Why the pairs cannot be compared; empty where they can."""
    all_rows = len({*pairs.rows, *pairs.reference_missing, *pairs.candidate_missing})
    found = [
        f"{len(rows)} of {all_rows} answers of the {name} are errors or have no score"
        for name, rows in (
            ("reference", pairs.reference_missing),
            ("candidate", pairs.candidate_missing),
        )
        if len(rows) > MOST_ERRORS * all_rows
    ]
    return f"{' and '.join(found)}; ask them again first" if found else ""


def _mean(row: RowScores) -> float | None:
    values = [score.value for score in row if score.value is not None]
    return sum(values) / len(values) if values else None


def _missing(
    scores: Sequence[RowScores], own: Sequence[float | None], other: Sequence[float | None]
) -> tuple[int, ...]:
    """The rows that one model lacks: every repeat is an error, or only the other has a score."""
    return tuple(
        place
        for place, row in enumerate(scores)
        if own[place] is None
        and (
            other[place] is not None
            or all(score.detail.get("outcome") == OutcomeKind.ERROR for score in row)
        )
    )
