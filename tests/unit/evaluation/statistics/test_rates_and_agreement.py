"""Intervals of rates, corrections for many comparisons, agreement of raters and of repeats."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.errors import UsageError
from ftsdk.evaluation.statistics import agreement, multiple, rates, repeats


@pytest.mark.parametrize(
    ("passed", "rows", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0, 0.1611), (0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_of_a_rate(
    passed: int, rows: int, wilson: tuple[float, float], exact: tuple[float, float]
) -> None:
    assert rates.wilson(passed, rows) == pytest.approx(wilson, abs=5e-5)
    assert rates.clopper_pearson(passed, rows) == pytest.approx(exact, abs=5e-5)


def test_a_rate_of_no_rows_is_unknown() -> None:
    assert rates.wilson(0, 0) == rates.clopper_pearson(0, 0) == (0.0, 1.0)


BENJAMINI_HOCHBERG_1995 = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
    0.6528, 0.7590, 1.0000,
]  # fmt: skip


def test_the_example_of_benjamini_and_hochberg() -> None:
    shuffled = BENJAMINI_HOCHBERG_1995[::-1]
    assert sum(p * 15 <= 0.05 for p in shuffled) == 3
    assert sum(p <= 0.05 for p in multiple.holm(shuffled)) == 3
    assert sum(p <= 0.05 for p in multiple.benjamini_hochberg(shuffled)) == 4


@pytest.mark.parametrize(
    "p_values", [BENJAMINI_HOCHBERG_1995, [0.03, 0.02, 0.02, 0.9, 0.001], [0.2]]
)
def test_corrections_agree_with_statsmodels(p_values: list[float]) -> None:
    multitest = pytest.importorskip(
        "statsmodels.stats.multitest", reason="statsmodels is the other implementation"
    )
    for ours, name in ((multiple.holm, "holm"), (multiple.benjamini_hochberg, "fdr_bh")):
        expected = multitest.multipletests(p_values, method=name)[1]
        assert ours(p_values) == pytest.approx(list(expected))
    assert multiple.holm([]) == multiple.benjamini_hochberg([]) == []


def test_cohens_kappa() -> None:
    table = [[20, 5], [10, 15]]
    pairs = [(i, j) for i in (0, 1) for j in (0, 1) for _ in range(table[i][j])]
    first, second = zip(*pairs, strict=True)
    assert agreement.cohens_kappa(first, second) == pytest.approx(0.4)
    assert agreement.cohens_kappa("aab", "aab") == 1.0
    assert agreement.cohens_kappa("aaa", "aaa") is None, "one label only: chance explains it all"
    assert agreement.cohens_kappa("", "") is None


def test_krippendorffs_example() -> None:
    """His four raters of twelve units (Computing Krippendorff's Alpha-Reliability, 2011)."""
    raters = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units: list[Any] = list(zip(*raters, strict=True))
    assert agreement.krippendorffs_alpha(units) == pytest.approx(0.7434, abs=5e-5)
    for level, alpha in (("ordinal", 0.8154), ("interval", 0.8491), ("ratio", 0.7974)):
        assert agreement.krippendorffs_alpha(units, level) == pytest.approx(alpha, abs=5e-5)  # type: ignore[arg-type]  # the names are right
    assert agreement.krippendorffs_alpha([("a", "a"), ("b", "b")]) == 1.0
    assert agreement.krippendorffs_alpha([("a", "a"), ("a", None)]) is None
    assert agreement.krippendorffs_alpha([]) is None


def test_alpha_of_grades_counts_how_far_they_are_apart() -> None:
    near = [(1, 2), (4, 5), (2, 3), (5, 5), (1, 1)]
    far = [(1, 5), (4, 1), (2, 5), (5, 5), (1, 1)]
    for level in ("ordinal", "interval", "ratio"):
        first = agreement.krippendorffs_alpha(near, level)  # type: ignore[arg-type]  # the names are right
        second = agreement.krippendorffs_alpha(far, level)  # type: ignore[arg-type]  # the names are right
        assert first is not None
        assert second is not None
        assert first > 0.5 > second
    assert agreement.krippendorffs_alpha([(0, 0), (0, 4)], "ratio") == 0
    order = [("a", "b"), ("b", "a")]
    assert agreement.krippendorffs_alpha(order) == agreement.krippendorffs_alpha([(1, 2), (2, 1)])


@pytest.mark.parametrize(
    ("items", "level", "why"),
    [
        ([("a", "b")], "ordinal", "has no distance"),
        ([(2, True)], "interval", "has no distance"),
        ([(1, float("nan"))], "interval", "has no distance"),
        ([(-1, 2)], "ratio", "has no distance"),
        ([(1, 2)], "rational", "There is no level 'rational'"),
    ],
)
def test_ratings_without_a_distance_are_refused(items: Any, level: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        agreement.krippendorffs_alpha(items, level)


def test_repeats_are_averaged_before_rows_are_compared() -> None:
    scores = [[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]]
    assert repeats.row_means(scores) == pytest.approx([2 / 3, 0, 1, 1])
    wrong = statistics.variance([s for row in scores for s in row]) / 12
    assert repeats.variance_of_mean(scores) > 2 * wrong, "three answers to a row are not three rows"


def test_the_variance_of_the_mean_has_both_parts() -> None:
    np = pytest.importorskip("numpy", reason="statistics need the extra `eval`")
    rng = np.random.default_rng(4)
    between, within, rows, answers = 0.3, 0.5, 50, 4

    def sample() -> Any:
        levels = rng.normal(0, between, rows)
        return levels[:, None] + rng.normal(0, within, (rows, answers))

    drawn = [sample() for _ in range(1_500)]
    expected = (between**2 + within**2 / answers) / rows
    assert np.var([one.mean() for one in drawn]) == pytest.approx(expected, rel=0.12)
    estimates = [repeats.variance_of_mean(one.tolist()) for one in drawn[:200]]
    assert statistics.fmean(estimates) == pytest.approx(expected, rel=0.06)


def test_the_noise_floor_is_how_often_two_answers_differ() -> None:
    floor = repeats.noise_floor([["a", "a", "b"], ["c", "c", "c"], ["d"]])
    assert floor is not None
    assert (floor.rows, floor.answers) == (2, 6)
    assert floor.disagreement == pytest.approx((2 / 3) / 2)
    assert floor.agreement == pytest.approx(2 / 3)
    assert repeats.noise_floor([["a"], ["b"]]) is None
