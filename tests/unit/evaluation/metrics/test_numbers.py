"""The number that an answer ends in."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.evaluation.metrics.numbers import Number, is_number, number_in


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # what other extractors get wrong
        ("$18.00", "18"), ("18...", "18"), ("It weighs 5 kg, ...", "5"), ("1e3", "1000"),
        # signs, points, separators, currencies
        ("-5", "-5"), ("The answer is -5.", "-5"), ("−7", "-7"), ("+5", "5"), ("-$5", "-5"),
        ("$-5", "-5"), ("7-5", "5"), ("1,234", "1234"), ("1,234,567.89", "1234567.89"),
        ("1\u202f234", "1234"), ("1'234", "1234"), (".5", "0.5"), ("2.", "2"), ("1e-3.", "0.001"),
        ("50%", "50"), ("€ 20", "20"), ("(5)", "5"), ("3, 4 and 5.", "5"), ("2024-11-30", "30"),
        # other scripts
        ("共18個", "18"), ("١٢٣", "123"), ("٣٫٥", "3.5"), ("１２", "12"),
        # marks
        ("3 + 4\n#### 7", "7"), ("#### $1,000 dollars\n#### 4", "1000"), ("####-1", "-1"),
        (r"\boxed{18} as 2 + 16", "18"), (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", "0.5"), (r"\boxed{-\frac{1}{4}}", "-0.25"), (r"\boxed{3/4}", "0.75"),
        (r"\boxed{\$18.00}", "18"), (r"\boxed{1{,}234}", "1234"), (r"\boxed{12\text{ cm}}", "12"),
        (r"\boxed{50\%}", "50"), (r"\boxed{\boxed{4}}", "4"), (r"\boxed{3", "3"),
    ],
)  # fmt: skip
def test_numbers_that_are_found(text: str, number: str) -> None:
    assert number_in(text) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    ["", "no number", "H2O", "v1.2", "5.1.2", "m²", "#### none", "1e999999", "12e99999", "٫",
     r"4 \boxed{x}", r"4 \boxed{10^3}", r"4 \boxed{1 + 2}", r"4 \boxed{}", r"\boxed{\frac{1}{0}}"],
)  # fmt: skip
def test_texts_without_a_number(text: str) -> None:
    assert number_in(text) is None


def test_units_are_not_digits() -> None:
    assert number_in("It is 5 m²") == 5


@pytest.mark.parametrize(
    ("text", "yes"),
    [("18", True), ("$18.00.", True), ("-1,234", True), ("50 %", True), ("18 apples", False),
     ("", False), ("$", False), ("3 4", False)],
)  # fmt: skip
def test_a_text_that_is_only_a_number(text: str, yes: bool) -> None:
    assert is_number(text) is yes


def test_answers_without_a_number_are_counted_apart(row: Any, answer: Any) -> None:
    metric, one = Number(), row("so\n#### 18")
    texts = ["It is $18.00", "19", "I do not know", "<think>18</think>", ""]
    scores = [metric.score(one["messages"][-1], answer(text), one) for text in texts]
    assert [score.passed for score in scores] == [True, False, False, False, False]
    none = row("eighteen")
    scores.append(metric.score(none["messages"][-1], answer("18"), none))
    assert scores[-1].value is None
    summary = metric.summary(scores)
    assert summary["no_number_given"] == 3
    assert summary["no_number_in_reference"] == 1
    assert (summary["mean"], summary["scored"]) == (0.2, 5)


def test_a_tolerance(row: Any, answer: Any) -> None:
    one = row("3.14")
    metric = Number(tolerance=Decimal("0.01"))
    passed = [
        metric.score(one["messages"][-1], answer(t), one).passed for t in ("3.15", "3.16", "1e9999")
    ]
    assert passed == [True, False, False]


@pytest.mark.parametrize(
    ("piece", "times"),
    [(",111", 4_000), ("1,", 8_000), ("9", 20_000), ("-", 20_000), ("\\boxed{", 3_000)],
)
def test_a_model_that_repeats_itself_does_not_hang_the_extraction(piece: str, times: int) -> None:
    start = time.process_time()
    number_in(f"1{piece * times}x")
    assert time.process_time() - start < 5
