"""The verdict of a comparison, its reason, and what would settle it."""

from __future__ import annotations

import builtins
import importlib
from typing import Any

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.errors import MissingExtra, UsageError
from ftsdk.evaluation.statistics.compare import compare, corrected, corrected_choice, not_comparable
from ftsdk.evaluation.statistics.paired import parity_p
from ftsdk.types.evaluation import Comparison, Verdict


def flips(wins: int, losses: int, rows: int, **options: Any) -> Comparison:
    ties = [1] * (rows - wins - losses)
    return compare([0] * wins + [1] * losses + ties, [1] * wins + [0] * losses + ties, **options)


@pytest.mark.parametrize(
    ("table", "margin", "verdict", "reason"),
    [
        ((97, 19, 612), None, "better", "better by 12.7 points (95 %: +9.5 to +16.2)"),
        ((2, 5, 612), 0.03, "parity", "a loss of 3 points or more is ruled out (95 %: -1.6 to +0.5)"),
        ((2, 5, 612), None, "inconclusive", "612 rows are too few to say"),
        ((3, 18, 156), None, "worse", "worse by 9.6 points (95 %: -15.9 to -4.3)"),
        ((3, 18, 156), 0.03, "worse", "worse by 9.6 points"),
        ((0, 0, 50), 0.03, "inconclusive", "50 rows are too few to say; about 125 are needed"),
        ((0, 0, 150), 0.03, "parity", "a loss of 3 points or more is ruled out"),
        ((5, 5, 100), None, "inconclusive", "100 rows show no difference (95 %: -7.0 to +7.0)"),
        ((9, 0, 9), 0.03, "inconclusive", "9 rows; at least 10 are needed for a verdict"),
        ((0, 0, 0), 0.03, "inconclusive", "no row was scored for both models"),
        # worse for certain, and for certain by less than the margin
        ((30, 70, 20_000), 0.03, "parity", "a loss of 3 points or more is ruled out"),
        # better, and therefore not only at parity
        ((30, 5, 400), 0.03, "better", "better by 6.2 points"),
    ],
)  # fmt: skip
def test_verdicts(
    table: tuple[int, int, int], margin: float | None, verdict: str, reason: str
) -> None:
    found = flips(*table, margin=margin)
    assert found.verdict == verdict
    assert found.reason.startswith(reason)
    assert (found.wins, found.losses, found.n) == table
    assert found.ties == found.n - found.wins - found.losses
    assert (found.p_parity is None) == (margin is None or found.n == 0)


def test_without_a_margin_the_word_parity_is_not_used() -> None:
    for wins, losses in [(0, 0), (5, 5), (1, 0), (40, 2)]:
        found = flips(wins, losses, 500)
        assert (
            "parity" not in found.model_dump_json(exclude={"p_parity", "p_parity_adjusted"}).lower()
        )
        assert found.verdict is not Verdict.PARITY


# p-values of parity at a margin of 5 points, by Tango's test on 400 rows
ALMOST, LESS, SURE = (16, 23, 400), (16, 22, 400), (8, 8, 400)


def test_of_several_candidates_the_best_by_chance_does_not_pass() -> None:
    """Holm by hand: the smallest p counts three times, the next twice, and none less than one before it."""
    first = [flips(*table, margin=0.05) for table in (SURE, LESS, ALMOST)]
    p = [one.p_parity or 0 for one in first]
    assert p == sorted(p)
    assert [one.verdict for one in first] == ["parity"] * 3
    after = corrected_choice(first)
    by_hand = [3 * p[0], max(3 * p[0], 2 * p[1]), max(3 * p[0], 2 * p[1], p[2])]
    assert [one.p_parity_adjusted for one in after] == pytest.approx(by_hand)
    assert [one.p_parity for one in after] == p
    expected = ["parity" if each <= 0.025 else "inconclusive" for each in by_hand]
    assert [one.verdict for one in after] == expected
    alone = corrected_choice(first[:1])[0]
    assert alone.p_parity_adjusted == p[0]


def test_a_choice_that_is_lost_says_why() -> None:
    three = [flips(16, 22, 400, margin=0.05) for _ in range(3)]
    assert 0.025 / 3 < (three[0].p_parity or 0) <= 0.025
    for one in corrected_choice(three):
        assert one.verdict is Verdict.INCONCLUSIVE
        assert one.reason.startswith("parity by itself, but not after Holm's correction for 3")
    assert corrected_choice(three[:1])[0].verdict is Verdict.PARITY


def test_one_of_three_candidates_at_the_margin_passes_no_more_often_than_one_alone() -> None:
    """By enumeration: each loses 10 % of its rows and wins 5 %, exactly the margin worse."""
    from scipy.stats import multinomial

    rows, margin = 120, 0.05
    tables = [(wins, losses) for wins in range(24) for losses in range(32)]
    p = {table: parity_p(*table, rows, margin) for table in tables}
    chance = {
        (b, c): float(multinomial.pmf([b, c, rows - b - c], rows, [0.05, 0.10, 0.85]))
        for b, c in tables
    }

    def passes(level: float) -> float:
        return sum(chance[table] for table in tables if p[table] <= level)

    uncorrected = 1 - (1 - passes(0.025)) ** 3
    corrected_by_holm = 1 - (1 - passes(0.025 / 3)) ** 3
    assert sum(chance.values()) > 0.999
    assert passes(0.025) <= 0.026
    assert uncorrected > 0.03
    assert 0 < corrected_by_holm <= 0.026


def test_what_would_settle_it() -> None:
    assert flips(0, 0, 50, margin=0.03).rows_needed == 125
    assert flips(5, 5, 100).rows_needed is None, "no number of rows shows that nothing differs"
    assert flips(97, 19, 612).rows_needed is None, "it is settled"
    short = flips(5, 9, 100)
    assert short.rows_needed is not None
    assert short.rows_needed > 400
    again = flips(5 * 7, 9 * 7, 700, margin=None)
    assert again.verdict is Verdict.WORSE
    ten = flips(10, 10, 100).smallest_visible
    assert ten is not None
    assert flips(40, 40, 400).smallest_visible == pytest.approx(ten / 2, rel=0.03)


def test_graded_scores() -> None:
    reference = [0.5 + 0.4 * (i % 7) / 7 for i in range(60)]
    better = compare(
        reference, [score + 0.02 + 0.001 * (i % 5) for i, score in enumerate(reference)]
    )
    assert better.verdict is Verdict.BETTER
    assert better.method == "sign-flip test, BCa bootstrap interval"
    assert better.delta == pytest.approx(0.022)
    same = compare(reference, reference)
    assert same.verdict is Verdict.INCONCLUSIVE
    assert same.p == 1.0
    assert same.low is not None
    assert same.low < 0
    assert compare(reference, reference, margin=0.03).verdict is Verdict.INCONCLUSIVE
    assert compare(reference * 3, reference * 3, margin=0.03).verdict is Verdict.PARITY


def test_a_graded_comparison_names_the_rows_it_needs() -> None:
    reference = [((i * 37) % 100) / 100 for i in range(40)]
    candidate = [((i * 53 + 7) % 100) / 100 for i in range(40)]
    found = compare(reference, candidate, margin=0.05)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows_needed is not None
    assert found.rows_needed > 40
    assert found.smallest_visible is not None
    assert 0.05 < found.smallest_visible < 0.5


def test_scores_of_another_range() -> None:
    """A score of 0 to 10: differences are in its own unit, and so is the margin."""
    reference = [float(i % 7) for i in range(60)]
    better = compare(
        reference, [score + 2 + (i % 3) for i, score in enumerate(reference)], margin=0.5
    )
    assert better.verdict is Verdict.BETTER
    assert better.reason.startswith("better by 3 (95 %: +2.")
    assert (better.low or 0) < 3 < (better.high or 0)
    same = compare(reference * 10, reference * 10, margin=0.5, scale=10)
    assert same.verdict is Verdict.PARITY
    assert compare(reference, reference, margin=0.5, scale=10).verdict is Verdict.INCONCLUSIVE
    with pytest.raises(UsageError, match="A margin of 3 is not between 0 and 1"):
        compare(reference, reference, margin=3)


def test_clusters() -> None:
    clusters = [i // 10 for i in range(200)]
    lost = [1] * 60 + [0] * 140  # six whole conversations fail
    plain, clustered = (
        compare([1] * 200, lost[::-1]),
        compare([1] * 200, lost[::-1], clusters=clusters),
    )
    assert plain.clusters is None
    assert clustered.clusters == 20
    assert clustered.p is not None
    assert plain.p is not None
    assert clustered.p > plain.p
    alone = compare([0] * 12 + [1] * 28, [1] * 40, clusters=list(range(40)))
    assert alone == flips(12, 0, 40), "one row a cluster is the plain test"
    one = compare([0] * 12 + [1] * 28, [1] * 40, clusters=["talk"] * 40)
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.reason == "all rows are of one cluster: nothing can be said about others"


def test_means_of_repeats_are_compared_row_by_row() -> None:
    reference, candidate = [2 / 3] * 20 + [1.0] * 10, [1.0] * 30
    found = compare(reference, candidate)
    assert (found.wins, found.losses, found.ties, found.n) == (20, 0, 10, 30)
    assert found.verdict is Verdict.BETTER


def test_a_slice_is_worse_only_after_holm() -> None:
    weak, strong = flips(3, 13, 100), flips(3, 30, 100)
    assert weak.verdict is strong.verdict is Verdict.WORSE
    alike = [flips(4, 5, 100) for _ in range(6)]
    found = corrected([weak, strong, *alike])
    assert [one.verdict for one in found[:2]] == [Verdict.INCONCLUSIVE, Verdict.WORSE]
    assert "not after Holm's correction" in found[0].reason
    assert found[0].p_adjusted == pytest.approx(7 * (weak.p or 0))
    assert corrected([weak])[0].verdict is Verdict.WORSE, "alone it needs no correction"


def test_what_cannot_be_compared_takes_no_part_in_the_correction() -> None:
    weak = flips(3, 13, 100)
    found = corrected([weak, not_comparable("3 % of the candidate's answers are errors")])
    assert found[1].verdict is Verdict.NOT_COMPARABLE
    assert found[1].p_adjusted is None


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        (([1, 0], [1]), "2 of the reference, 1 of the candidate", "same order"),
        (([1.0, float("nan")], [1, 1]), "not a finite number", "leave out"),
        (([1], [1], 3), "A margin of 3 is not between 0 and 1", "0.03 for 3 points"),
        (([1], [1], 0), "A margin of 0 is not", "0.03"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], what: str, hint: str) -> None:
    reference, candidate, *margin = arguments
    with pytest.raises(UsageError) as caught:
        compare(reference, candidate, margin=margin[0] if margin else None)
    assert what in caught.value.what
    assert hint in caught.value.hint


def test_one_answer_for_every_row_of_clusters() -> None:
    with pytest.raises(UsageError, match="3 clusters"):
        compare([1, 0], [1, 1], clusters=[1, 1, 2])


def test_a_comparison_round_trips() -> None:
    found = flips(97, 19, 612, margin=0.03)
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_without_scipy_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> Any:
        if name.startswith("scipy"):
            raise ModuleNotFoundError("No module named 'scipy'")
        return builtins.__import__(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtra) as caught:
        flips(1, 2, 20)
    assert caught.value.hint == "pip install 'ftsdk[eval]'"
    assert caught.value.what == "Comparing models needs scipy, which cannot be imported"
