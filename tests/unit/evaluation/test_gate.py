"""The gate and its table: the primary metric carries it, everything else can stop it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.evaluation.gate import GateResult, gate
from ftsdk.evaluation.statistics.compare import about, compare, not_comparable
from ftsdk.evaluation.table import Means, comparison_table
from ftsdk.types.evaluation import Comparison, Verdict


def flips(wins: int, losses: int, rows: int, **options: Any) -> Comparison:
    ties = [1] * (rows - wins - losses)
    return compare([0] * wins + [1] * losses + ties, [1] * wins + [0] * losses + ties, **options)


BETTER, EQUAL = flips(97, 19, 612), flips(2, 5, 612, margin=0.03)
UNSURE, WORSE = flips(9, 12, 200), flips(3, 18, 156)
BROKEN = not_comparable("9 of 100 answers of the candidate are errors or have no score")


@pytest.mark.parametrize(
    ("metrics", "slices", "result", "code", "reason"),
    [
        ({"exact": BETTER}, {}, "passed", 0, "exact: better by 12.7 points"),
        ({"exact": EQUAL}, {}, "passed", 0, "exact: a loss of 3 points or more is ruled out"),
        ({"exact": UNSURE}, {}, "inconclusive", 7, "exact: 200 rows are too few to say"),
        ({"exact": WORSE}, {}, "failed", 8, "exact is worse"),
        ({"exact": BROKEN}, {}, "not comparable", 4, "9 of 100 answers"),
        ({"exact": BETTER}, {"lang=de": WORSE}, "failed", 8, "one slice is worse: lang=de"),
        (
            {"exact": BETTER},
            {"a": WORSE, "b": WORSE, "c": UNSURE},
            "failed",
            8,
            "2 slices are worse: a, b",
        ),
        ({"exact": BETTER}, {"a": UNSURE, "b": BROKEN}, "passed", 0, "exact: better"),
        ({"exact": BETTER, "json": WORSE}, {}, "failed", 8, "json is worse"),
        ({"exact": BETTER, "json": UNSURE}, {}, "passed", 0, "exact: better"),
        ({"exact": BETTER, "json": BROKEN}, {}, "not comparable", 4, "json: 9 of 100"),
        ({"exact": UNSURE, "json": BETTER}, {"a": BETTER}, "inconclusive", 7, "exact: 200 rows"),
    ],
)
def test_the_result(
    metrics: dict[str, Comparison],
    slices: dict[str, Comparison],
    result: str,
    code: int,
    reason: str,
) -> None:
    found = gate(metrics, slices)
    assert found.result == result
    assert found.result.exit_code == code
    assert found.reason.startswith(reason)
    assert found.primary == "exact"


def test_exit_codes_differ() -> None:
    assert len({one.exit_code for one in GateResult}) == len(GateResult)


def test_slices_are_corrected_together_and_the_primary_metric_is_not() -> None:
    weak = flips(3, 13, 100)
    assert weak.verdict is Verdict.WORSE
    alone = gate({"exact": BETTER}, {"a": weak})
    assert alone.result is GateResult.FAILED
    among = gate(
        {"exact": BETTER, "json": UNSURE}, {"a": weak, **{f"s{i}": UNSURE for i in range(5)}}
    )
    assert among.result is GateResult.PASSED
    assert among.slices["a"].verdict is Verdict.INCONCLUSIVE
    assert among.slices["a"].p_adjusted == pytest.approx(7 * (weak.p or 0))
    assert among.metrics["exact"].p_adjusted is None
    primary = gate({"exact": weak}, {f"s{i}": UNSURE for i in range(5)})
    assert primary.result is GateResult.FAILED, "it was named before, and stays as it is"


def test_a_metric_and_a_slice_may_have_one_name() -> None:
    found = gate({"exact": BETTER, "label": EQUAL}, {"label": WORSE})
    assert found.metrics["label"].verdict is Verdict.PARITY
    assert found.slices["label"].verdict is Verdict.WORSE


def test_the_table() -> None:
    found = gate({"exact": BETTER, "json_schema": EQUAL}, {"lang=de": WORSE, "lang=fr": UNSURE})
    means = {
        "exact": Means(0.7124, 0.8392), "json_schema": Means(0.989, 0.984),
        "lang=de": Means(0.801, 0.705), "lang=fr": Means(0.9, 0.885),
    }  # fmt: skip
    table = comparison_table(found, means, reference="base", candidate="tuned")
    needed = about(UNSURE.rows_needed or 0)
    assert table == [
        "               base    tuned   difference, 95 %      flips",
        "exact          71.2 %  83.9 %  +12.7  (+9.5, +16.2)  +97 −19  better",
        "json_schema    98.9 %  98.4 %  −0.5  (−1.6, +0.5)    +2 −5    parity (margin 3)",
        "slice lang=de  80.1 %  70.5 %  −9.6  (−15.9, −4.3)   +3 −18   worse after Holm, n 156",
        f"slice lang=fr  90.0 %  88.5 %  −1.5  (−6.4, +3.2)    +9 −12   inconclusive, about {needed:,} rows needed, n 200",
        "Gate: failed, one slice is worse: lang=de.",
    ]


def test_the_table_of_what_cannot_be_compared() -> None:
    table = comparison_table(gate({"exact": BROKEN}), {}, reference="base", candidate="tuned")
    assert table[1].split() == ["exact", "–", "–", "–", "+0", "−0", "not", "comparable"]
    assert (
        table[-1]
        == "Gate: not comparable, 9 of 100 answers of the candidate are errors or have no score."
    )


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    found = gate({"exact": flips(3, 4, 5_000)})
    table = comparison_table(found, {}, reference="base", candidate="tuned")
    assert "  0.0  (−0.2, +0.1)  " in table[1]
    assert table[1].endswith("about 281,000 rows needed")
