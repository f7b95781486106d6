"""Graded scores: published values, agreement with statsmodels, and error rates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

import numpy as np
from scipy import stats

from ftsdk.evaluation.statistics import graded

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's 15 pairs of plants, crossed less self-fertilised, in eighths of an inch."""


def test_darwins_plants() -> None:
    mean = graded.mean_of(DARWIN)
    assert mean.value == pytest.approx(20.9333, abs=5e-5)
    assert 2 * mean.p_above(0) == pytest.approx(0.0497029, abs=5e-8)
    one_sided = graded.sign_flip_p(DARWIN, alternative="greater", resamples=2**15)
    assert one_sided == 863 / 32768
    assert graded.sign_flip_p(DARWIN, resamples=2**15) == 1726 / 32768
    drawn = graded.sign_flip_p(DARWIN, resamples=9_999)
    assert drawn == pytest.approx(1726 / 32768, abs=0.01)
    interval = graded.bca_interval([0] * 15, DARWIN, resamples=20_000)
    assert interval == pytest.approx((-2.2548, 36.1077), abs=5e-5)


def test_equivalence_agrees_with_statsmodels() -> None:
    weightstats = pytest.importorskip(
        "statsmodels.stats.weightstats", reason="statsmodels is the other implementation"
    )
    rng = np.random.default_rng(3)
    reference = rng.random(40)
    candidate = reference + rng.normal(0.01, 0.05, 40)
    expected = weightstats.ttost_paired(candidate, reference, -0.03, 0.03)[0]
    assert graded.tost_p(list(candidate - reference), -0.03, 0.03) == pytest.approx(expected)


def test_clustered_error_agrees_with_statsmodels() -> None:
    regression = pytest.importorskip(
        "statsmodels.regression.linear_model", reason="statsmodels is the other implementation"
    )
    rng = np.random.default_rng(5)
    clusters = rng.integers(0, 12, 60)
    differences = rng.normal(0.02, 0.1, 60) + rng.normal(0, 0.1, 12)[clusters]
    fit = regression.OLS(differences, np.ones(60)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
    )
    mean = graded.mean_of(list(differences), list(clusters))
    assert mean.error == pytest.approx(fit.bse[0])
    assert 2 * graded.Mean(-abs(mean.value), mean.error, 12).p_above(0) > 1
    assert mean.interval() == pytest.approx(tuple(fit.conf_int()[0]))


def test_one_row_a_cluster_is_the_plain_test() -> None:
    assert graded.mean_of(DARWIN, range(15)) == graded.mean_of(DARWIN)
    assert graded.sign_flip_p(DARWIN, range(15)) == graded.sign_flip_p(DARWIN)


def test_clusters_keep_the_level_that_a_plain_test_breaks() -> None:
    """Clusters of 5 with a correlation of 0.5, 40 of them, without a true difference."""
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(40), 5)
    alarms = {"plain": 0, "clustered": 0, "sign-flip": 0}
    for _ in range(400):
        rows = list(rng.normal(size=200) + rng.normal(size=40)[clusters])
        for name, mean in (("plain", graded.mean_of(rows)),
                           ("clustered", graded.mean_of(rows, clusters))):  # fmt: skip
            low, high = mean.interval()
            alarms[name] += not low <= 0 <= high
        alarms["sign-flip"] += graded.sign_flip_p(rows, clusters, resamples=399) <= 0.05
    assert alarms["plain"] / 400 > 0.18
    assert 0.02 < alarms["clustered"] / 400 < 0.08
    assert 0.02 < alarms["sign-flip"] / 400 < 0.08


def test_whole_clusters_flip_together() -> None:
    """Four clusters of ten equal rows are four observations: 16 patterns of signs."""
    differences = [0.1] * 40
    assert graded.sign_flip_p(differences, [i // 10 for i in range(40)]) == 2 / 16
    assert graded.sign_flip_p(differences) < 0.001
    assert graded.sign_flip_p(differences, ["one"] * 40) == 1.0


# --- parity ----------------------------------------------------------------------------------


def false_passes(rows: int, flip_rate: float, margin: float) -> tuple[float, float]:
    """Return how often a plain t-test and ours pass a model worse by the margin.

    The scores are 0 and 1, where rare losses are hardest; summed over all tables.
    """
    loss_rate, win_rate = (flip_rate + margin) / 2, (flip_rate - margin) / 2
    plain = ours = 0.0
    for losses, wins in itertools.product(range(rows + 1), repeat=2):
        if losses + wins > rows:
            continue
        chance = stats.binom.pmf(losses, rows, loss_rate) * stats.binom.pmf(
            wins, rows - losses, win_rate / (1 - loss_rate)
        )
        if chance < 1e-7:
            continue
        differences = [1.0] * wins + [-1.0] * losses + [0.0] * (rows - wins - losses)
        plain += chance * (graded.mean_of(differences).p_above(-margin) <= 0.025)
        ours += chance * (graded.parity_p(differences, margin) <= 0.025)
    return plain, ours


@pytest.mark.parametrize(
    ("rows", "flip_rate", "margin"),
    [(30, 0.05, 0.05), (100, 0.05, 0.05), (80, 0.1, 0.1), (60, 0.2, 0.1)],
)
def test_rare_losses_do_not_pass_for_parity(rows: int, flip_rate: float, margin: float) -> None:
    plain, ours = false_passes(rows, flip_rate, margin)
    assert plain > 0.025
    assert ours <= 0.026


def test_halls_transformation() -> None:
    """t = 5, skewness / √n = -0.447: t + a t² / 3 + a² t³ / 27 + a / 6, in three parts by hand."""
    mean = graded.SkewedMean(value=0.05, error=0.02, units=20, skew=-2.0)
    bent = 5 - 3.7267800 + 0.9259259 - 0.0745356
    assert mean.p_above(-0.05) == pytest.approx(stats.t.sf(bent, 19), rel=1e-6)
    straight = graded.SkewedMean(value=0.05, error=0.02, units=20)
    assert straight.p_above(-0.05) == graded.Mean(0.05, 0.02, 20).p_above(-0.05)


def test_a_mean_of_one_unit_says_nothing() -> None:
    alone = graded.mean_of([0.3])
    assert alone.interval() == (-math.inf, math.inf)
    assert alone.p_above(0) == 1.0
    assert graded.cautious_mean([0.3]).p_above(0) == 1.0


def test_equal_differences_are_above_what_is_below_them() -> None:
    equal = graded.mean_of([0.25] * 20)
    assert [equal.p_above(bound) for bound in (0.0, 0.25, 0.5)] == [0.0, 0.5, 1.0]


def test_many_rows_without_a_difference_are_needed_for_parity() -> None:
    def fewest(margin: float, size: int = 1) -> int:
        return next(
            n
            for n in range(2, 500)
            if graded.parity_p(
                [0.0] * n * size,
                margin,
                None if size == 1 else [i // size for i in range(n * size)],
            )
            <= 0.025
        )

    assert [fewest(m) for m in (0.01, 0.03, 0.05, 0.1)] == [383, 126, 75, 37]
    assert fewest(0.05, size=4) == 75, "as many clusters as there would have to be rows"


def test_graded_parity_passes_what_is_as_good() -> None:
    rng = np.random.default_rng(2)
    passed = [
        graded.parity_p(list(rng.normal(0, 0.1, 150)), 0.03) <= 0.025 for _ in range(100)
    ]  # the noncentral t gives a power of 95.6 %
    assert sum(passed) > 85


# --- differences that are all equal ----------------------------------------------------------


@pytest.mark.parametrize("difference", [0.0, 0.25])
def test_equal_differences_have_an_interval(difference: float) -> None:
    rows = 40
    assert all(math.isnan(end) for end in graded.bca_interval([0] * rows, [difference] * rows))
    low, high, method = graded.difference_interval([0.5] * rows, [0.5 + difference] * rows)
    assert low < difference < high + 1e-9 or low < difference
    assert low < high
    assert "added rows" in method
    assert graded.sign_flip_p([difference] * rows) == (1.0 if difference == 0 else 1e-4 * 2)


def test_large_sets_use_the_t_interval() -> None:
    rng = np.random.default_rng(1)
    reference, candidate = rng.random(3_500), rng.random(3_500)
    low, high, method = graded.difference_interval(reference, candidate)
    assert method == "t interval"
    bca = graded.bca_interval(reference, candidate, resamples=2_000)
    assert (low, high) == pytest.approx(bca, abs=1.5e-3)
    p, test = graded.difference_p(list(candidate - reference))
    assert test == "t-test"
    assert p == pytest.approx(
        graded.sign_flip_p(list(candidate - reference), resamples=2_000), abs=0.03
    )


# --- size, summed over what can be observed --------------------------------------------------


def patterns(units: int, values: int) -> Iterator[tuple[int, ...]]:
    """Yield how many units can have each of so many values, in every way."""
    for cuts in itertools.combinations(range(units + values - 1), values - 1):
        edges = (-1, *cuts, units + values - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def false_alarms(
    chances: dict[float, float], units: int, decides: Callable[[list[float]], bool]
) -> float:
    """Return how often a decision is made, where each unit has one of these differences."""
    values = list(chances)
    law = stats.multinomial(units, list(chances.values()))
    total = 0.0
    for counts in patterns(units, len(values)):
        sample = [value for value, n in zip(values, counts, strict=True) for _ in range(n)]
        total += law.pmf(counts) * decides(sample)
    return float(total)


def test_the_size_for_means_of_repeats() -> None:
    """Two answers a row: the difference of the means is -1, -1/2, 0, 1/2 or 1."""
    chances = {-1.0: 0.1, -0.5: 0.2, 0.0: 0.4, 0.5: 0.2, 1.0: 0.1}
    found = false_alarms(chances, 9, lambda rows: graded.sign_flip_p(rows) <= 0.05)
    assert 0.005 < found <= 0.055


def test_the_size_for_clusters() -> None:
    """Five equal rows a cluster: the verdict is that of so many clusters, not of so many rows."""

    def differs(sums: list[float], clustered: bool) -> bool:
        rows = [value for value in sums for _ in range(5)]
        clusters = [i // 5 for i in range(len(rows))] if clustered else None
        p = graded.difference_p(rows, clusters)[0]
        low, high = graded.mean_of(rows, clusters).interval()
        return p <= 0.05 and not low <= 0 <= high

    chances = {-1.0: 0.25, 0.0: 0.5, 1.0: 0.25}
    assert 0.01 < false_alarms(chances, 12, lambda sums: differs(sums, True)) <= 0.055
    assert false_alarms(chances, 12, lambda sums: differs(sums, False)) > 0.3
