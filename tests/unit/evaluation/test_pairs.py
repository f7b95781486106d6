"""Scores of two models are paired by row; errors are left out, and stop the verdict when too many."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.errors import UsageError
from ftsdk.evaluation.flips import Flip, flips_of
from ftsdk.evaluation.pairs import compare_pairs, noise_of, paired
from ftsdk.types.evaluation import Score, Verdict

RIGHT, WRONG = Score(1.0, passed=True), Score(0.0, passed=False)
ERROR = Score(None, detail={"outcome": "error"})
NONE = Score(None)


def once(scores: str) -> list[list[Score]]:
    """Return the scores of a model: `+` right, `-` wrong, `!` error, `?` cannot be scored."""
    return [[{"+": RIGHT, "-": WRONG, "!": ERROR, "?": NONE}[one]] for one in scores]


def test_rows_are_paired_by_their_place() -> None:
    pairs = paired(once("+-!+?+"), once("++--?!"))
    assert pairs.rows == (0, 1, 3)
    assert pairs.reference == (1.0, 0.0, 1.0)
    assert pairs.candidate == (1.0, 1.0, 0.0)
    assert (pairs.reference_missing, pairs.candidate_missing, pairs.unscored) == ((2,), (5,), (4,))


def test_repeats_are_averaged_over_those_that_were_answered() -> None:
    pairs = paired([[RIGHT, WRONG, ERROR], [ERROR, ERROR], []], [[RIGHT], [RIGHT], [RIGHT]])
    assert pairs.rows == (0,)
    assert pairs.reference == (0.5,)
    assert pairs.reference_missing == (1, 2)


def test_errors_beyond_one_percent_stop_the_verdict() -> None:
    good, few = once("+" * 200), once("+" * 198 + "!!")
    assert compare_pairs(paired(good, few), margin=0.05).verdict is Verdict.PARITY
    many = compare_pairs(paired(good, once("+" * 197 + "!!!")), margin=0.05)
    assert many.verdict is Verdict.NOT_COMPARABLE
    assert many.reason.startswith("3 of 200 answers of the candidate are errors or have no score")
    other = compare_pairs(paired(once("!!!" + "+" * 197), good), margin=0.05)
    assert "of the reference" in other.reason


def test_an_error_is_not_a_wrong_answer() -> None:
    """As a wrong answer it would make the candidate worse."""
    pairs = paired(once("+" * 1000), once("+" * 990 + "!" * 10))
    found = compare_pairs(pairs)
    assert (found.losses, found.n) == (0, 990)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_rows_that_only_one_model_is_scored_on_count_as_missing() -> None:
    found = compare_pairs(paired(once("+" * 100), once("?" * 2 + "+" * 98)))
    assert found.verdict is Verdict.NOT_COMPARABLE
    both = compare_pairs(paired(once("??" + "+" * 98), once("??" + "+" * 98)), margin=0.1)
    assert (both.verdict, both.n) == (Verdict.PARITY, 98), "the metric does not fit those rows"


def test_clusters_are_those_of_the_rows_that_are_left() -> None:
    reference, candidate = once("+" * 100), once("!" + "-" * 9 + "+" * 90)
    clusters = ["of the error", *(f"talk {i // 11}" for i in range(99))]
    found = compare_pairs(paired(reference, candidate), clusters=clusters)
    assert (found.clusters, found.n) == (9, 99)


def test_models_that_were_scored_on_different_rows_cannot_be_paired() -> None:
    with pytest.raises(UsageError, match="different rows: 2 and 1"):
        paired(once("++"), once("+"))


def test_a_part_has_its_own_pairs_and_errors() -> None:
    pairs = paired(once("+-!+?+"), once("++--?!"))
    part = pairs.within([1, 2, 4])
    assert (part.rows, part.reference, part.candidate) == ((1,), (0.0,), (1.0,))
    assert (part.reference_missing, part.candidate_missing, part.unscored) == ((2,), (), (4,))


def test_flips_are_listed_with_losses_first() -> None:
    pairs = paired(once("+-++-"), once("-+-+-"))
    flips = flips_of(pairs)
    assert flips == [Flip(0, 1.0, 0.0), Flip(2, 1.0, 0.0), Flip(1, 0.0, 1.0)]
    assert [flip.is_loss for flip in flips] == [True, True, False]
    assert flips_of(pairs, rows=[1, 3]) == [Flip(1, 0.0, 1.0)]
    graded = paired([[Score(0.9)], [Score(0.5)]], [[Score(0.8)], [Score(0.1)]])
    assert [flip.row for flip in flips_of(graded)] == [1, 0]


def test_the_noise_floor_of_a_model() -> None:
    floor = noise_of([[RIGHT, WRONG], [RIGHT, RIGHT], [RIGHT, ERROR]])
    assert floor is not None
    assert (floor.disagreement, floor.rows) == (0.5, 2)
    assert noise_of(once("++")) is None
