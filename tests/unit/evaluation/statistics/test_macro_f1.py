"""The difference of macro-F1: the figure itself, its interval by a paired bootstrap, and what it is not."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.evaluation.metrics.labels import classes_of, macro_f1
from ftsdk.evaluation.statistics.macro_f1 import macro_f1_difference


def drawn(
    rows: int, right: Sequence[float], seed: int = 0
) -> tuple[list[str], list[list[str | None]]]:
    """Labels of 4 classes, one of them rare, and models that are right that often."""
    chance = random.Random(seed)
    classes = ["a", "b", "c", "rare"]
    labels = [chance.choices(classes, [10, 10, 10, 2])[0] for _ in range(rows)]
    models: list[list[str | None]] = [
        [label if chance.random() < share else chance.choice([*classes, None, "none of them"]) for label in labels]
        for share in right
    ]  # fmt: skip
    return labels, models


def plain(labels: Sequence[str], given: Sequence[str | None]) -> float:
    known = set(labels)
    pairs = [(a, b if b in known else None) for a, b in zip(labels, given, strict=True)]
    found = macro_f1(classes_of(pairs))
    assert found is not None
    return found


def test_the_figures_are_those_of_the_report() -> None:
    labels, (first, second) = drawn(200, (0.8, 0.6))
    found = macro_f1_difference(labels, first, second)
    assert found is not None
    assert found.reference == pytest.approx(plain(labels, first))
    assert found.candidate == pytest.approx(plain(labels, second))
    assert found.delta == found.candidate - found.reference
    assert found.units == 200
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.delta < found.high < 0


def test_it_agrees_with_scikit_learns_definition_by_hand() -> None:
    # a: 2 rows, 1 right, given once; b: 1 row, right, given twice.
    found = macro_f1_difference(["a", "a", "b"], ["a", "b", "b"], ["a", "a", "b"])
    assert found is not None
    assert found.reference == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert found.candidate == 1


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Two models that are equally good: the 95 % interval has 0 in it, but for about 5 %."""
    missed = 0
    for seed in range(120):
        labels, (first, second) = drawn(120, (0.75, 0.75), seed)
        found = macro_f1_difference(labels, first, second, resamples=399)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        missed += not found.low <= 0 <= found.high
    assert 0 <= missed <= 14  # 6 are expected; above 14 has a chance of 0.2 %


def test_rows_are_resampled_together_for_both_models() -> None:
    """Two models that fail on the same rows differ by nothing, however many rows are drawn."""
    labels, (first, _) = drawn(100, (0.5, 0.5))
    same = macro_f1_difference(labels, first, list(first))
    assert same is not None
    assert (same.delta, same.low, same.high) == (0, None, None)
    changed = list(first)
    place = next(i for i, label in enumerate(labels) if label == first[i])
    changed[place] = None
    one = macro_f1_difference(labels, first, changed)
    assert one is not None
    assert one.low is not None
    assert one.low > -0.1  # unpaired, it would be about −0.25


def test_clusters_are_resampled_whole() -> None:
    labels, (first, second) = drawn(60, (0.8, 0.6))
    fivefold = [label for label in labels for _ in range(5)]
    many = [one for one in first for _ in range(5)], [one for one in second for _ in range(5)]
    clusters = [place for place in range(60) for _ in range(5)]
    alone = macro_f1_difference(labels, first, second)
    inside = macro_f1_difference(fivefold, *many, clusters)
    blind = macro_f1_difference(fivefold, *many)
    widths = [
        one.high - one.low
        for one in (alone, inside, blind)
        if one is not None and one.low is not None and one.high is not None
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] < 0.6 * widths[0]
    assert inside is not None
    assert inside.units == 60
    assert "clusters" in inside.method


def test_it_is_the_interval_that_scipy_computes(request: pytest.FixtureRequest) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    np = pytest.importorskip("numpy")
    resamples, allowed = (1_999, 0.02) if request.config.getoption("--long") else (499, 0.03)
    labels, (first, second) = drawn(60, (0.8, 0.6))
    found = macro_f1_difference(labels, first, second, resamples=4_999)
    assert found is not None

    def difference(rows: Sequence[int]) -> float:
        chosen = [labels[i] for i in rows]
        return plain(chosen, [second[i] for i in rows]) - plain(chosen, [first[i] for i in rows])

    theirs = scipy_stats.bootstrap(
        (np.arange(60),), difference, vectorized=False, method="BCa", n_resamples=resamples,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.low == pytest.approx(theirs.low, abs=allowed)
    assert found.high == pytest.approx(theirs.high, abs=allowed)


def test_it_says_that_it_is_no_test_for_parity() -> None:
    labels, (first, second) = drawn(30, (0.8, 0.8))
    found = macro_f1_difference(labels, first, second)
    assert found is not None
    assert "no test for parity" in found.method
    assert not hasattr(found, "verdict")


def test_the_same_rows_have_the_same_interval() -> None:
    labels, (first, second) = drawn(80, (0.8, 0.7))
    assert macro_f1_difference(labels, first, second) == macro_f1_difference(labels, first, second)


def test_without_rows_or_with_one_nothing_is_said() -> None:
    assert macro_f1_difference([], [], []) is None
    one = macro_f1_difference(["a"], ["a"], ["b"])
    assert one is not None
    assert (one.low, one.high, one.delta) == (None, None, -1)
