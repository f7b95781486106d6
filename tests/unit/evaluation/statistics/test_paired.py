"""The tests and intervals of pass/fail rows have the published values."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.evaluation.statistics import paired


@pytest.mark.parametrize(
    ("table", "exact", "mid_p", "newcombe", "tango"),
    [
        # Bentur 2009 and Cavo 2012, as in Fagerland, Lydersen and Laake 2013
        ((1, 1, 7, 12), 0.0703125, 0.0390625, (-0.5069, -0.0256), (-0.5172, -0.0260)),
        ((59, 6, 16, 80), 0.0524788, 0.0346897, (-0.1186, -0.0046), (-0.1240, -0.0054)),
        # Tango 1998
        ((43, 0, 1, 0), 1.0, 0.5, None, (-0.1181, 0.0594)),
        # Newcombe 1998
        ((36, 12, 2, 0), 0.0129395, 0.0073853, (0.0569, 0.3404), (0.0611, 0.3447)),
    ],
)
def test_published_tables(
    table: tuple[int, int, int, int],
    exact: float,
    mid_p: float,
    newcombe: tuple[float, float] | None,
    tango: tuple[float, float],
) -> None:
    both, wins, losses, neither = table
    rows = sum(table)
    assert paired.mcnemar_exact(wins, losses) == pytest.approx(exact, abs=5e-8)
    assert paired.mcnemar_mid_p(wins, losses) == pytest.approx(mid_p, abs=5e-8)
    assert paired.tango_interval(wins, losses, rows) == pytest.approx(tango, abs=5e-5)
    if newcombe:
        found = paired.newcombe_interval(both, wins, losses, neither)
        assert found == pytest.approx(newcombe, abs=5e-5)


def test_where_nearly_all_rows_flip_the_exact_test_decides() -> None:
    assert paired.difference_p(13, 4, 18) == paired.mcnemar_exact(13, 4) > 0.049
    assert paired.difference_p(13, 4, 19) == paired.mcnemar_mid_p(13, 4) < 0.032
    both = paired.difference_p([13, 2], [4, 2], 18)
    assert list(both) == [paired.mcnemar_exact(13, 4), paired.mcnemar_mid_p(2, 2)]


def test_tangos_own_example_of_parity() -> None:
    assert paired.tango_z(0, 1, 44, -0.1) == pytest.approx(1.7086, abs=5e-5)
    ninety = paired.tango_interval(0, 1, 44, level=0.9)
    assert ninety == pytest.approx((-0.0957, 0.0365), abs=5e-5)


def test_exact_and_uncorrected_agree_with_statsmodels() -> None:
    tables = pytest.importorskip(
        "statsmodels.stats.contingency_tables", reason="statsmodels is the other implementation"
    )
    for wins, losses in [(0, 1), (3, 3), (7, 19), (120, 80)]:
        table = [[50, losses], [wins, 10]]
        exact = tables.mcnemar(table, exact=True).pvalue
        assert paired.mcnemar_exact(wins, losses) == pytest.approx(min(exact, 1.0))
        chi2 = tables.mcnemar(table, exact=False, correction=False).statistic
        assert paired.tango_z(wins, losses, 60 + wins + losses, 0.0) ** 2 == pytest.approx(chi2)


def test_the_statistic_is_zero_at_the_observed_difference_and_falls() -> None:
    z = [paired.tango_z(9, 4, 100, d) for d in (-0.2, 0.0, 0.05, 0.2)]
    assert z == sorted(z, reverse=True)
    assert z[2] == pytest.approx(0, abs=1e-9)
    assert paired.tango_z(0, 0, 10, 0.0) == 0


@pytest.mark.parametrize("rows", [3, 10, 500])
@pytest.mark.parametrize("margin", [0.01, 0.03, 0.5])
def test_the_statistic_without_flips_has_a_closed_form(rows: int, margin: float) -> None:
    """The likeliest loss rate is the margin itself: z = √(n m / (1 - m))."""
    expected = (rows * margin / (1 - margin)) ** 0.5
    assert paired.tango_z(0, 0, rows, -margin) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_intervals_at_the_edges(rows: int) -> None:
    low, high = paired.tango_interval(0, 0, rows)
    assert low == pytest.approx(-high)
    assert 0 < high < 1
    assert paired.tango_interval(rows, 0, rows)[1] == 1.0
    assert paired.tango_interval(0, rows, rows)[0] == -1.0
    assert paired.mcnemar_mid_p(0, 0) == paired.mcnemar_exact(0, 0) == 1.0


def test_parity_takes_the_stricter_of_two_tests() -> None:
    z = paired.tango_z(6, 9, 36, -0.25)
    p = paired.parity_p(6, 9, 36, 0.25)
    normal = paired.stats().norm.sf(z)
    assert p > normal
    large = paired.parity_p(300, 300, paired.MOST_ROWS_EXACT + 1, 0.02)
    assert large == paired.stats().norm.sf(
        paired.tango_z(300, 300, paired.MOST_ROWS_EXACT + 1, -0.02)
    )


def test_more_losses_never_help_parity() -> None:
    values = [paired.parity_p(3, losses, 120, 0.05) for losses in range(12)]
    assert values == sorted(values)
