"""Metrics that a user gives: regular expressions and functions."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("regex", reason="regular expressions need the extra `eval`")

from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics import pattern
from ftsdk.evaluation.metrics.function import Function
from ftsdk.evaluation.metrics.pattern import Pattern
from ftsdk.types.evaluation import Score


def score(metric: Any, row: Any, answer: Any, text: str, reference: str = "x") -> Score:
    one = row(reference)
    found: Score = metric.score(one["messages"][-1], answer(text), one)
    return found


def test_a_pattern_must_match_the_whole_answer(row: Any, answer: Any) -> None:
    whole, anywhere = Pattern(r"\d{4}-\d{2}"), Pattern(r"\d{4}-\d{2}", anywhere=True)
    assert score(whole, row, answer, " 2026-11\n").passed is True
    assert score(whole, row, answer, "on 2026-11").passed is False
    assert score(anywhere, row, answer, "on 2026-11").passed is True
    assert score(whole, row, answer, "<think>x</think>2026-11").passed is True


def test_an_invalid_pattern_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="not valid") as caught:
        Pattern("(", name="date")
    assert caught.value.where == "the metric date"


def test_a_pattern_cannot_hang_the_run(
    row: Any, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pattern, "LIMIT_S", 0.05)
    metric, slow = Pattern("(.*?,){25}P", anywhere=True), "1," * 40
    start = time.perf_counter()
    scores = [score(metric, row, answer, slow) for _ in range(pattern.MOST_TIMEOUTS - 1)]
    assert [one.value for one in scores] == [None] * len(scores)
    assert metric.summary(scores)["timed_out"] == len(scores)
    with pytest.raises(UsageError, match="took more than"):
        score(metric, row, answer, slow)
    assert time.perf_counter() - start < 30


def test_a_function_gets_the_texts_and_the_row(row: Any, answer: Any) -> None:
    seen = []

    def longer(reference: str, text: str, whole: dict[str, Any]) -> float:
        seen.append((reference, text, whole["messages"][0]["content"]))
        return len(text) / 10

    assert score(Function(longer), row, answer, "<think>…</think>abcd", "ab").value == 0.4
    assert seen == [("ab", "abcd", "?")]
    assert (Function(longer).name, Function(longer).scale) == ("longer", 1.0)
    assert Function(longer, scale=10).scale == 10
    assert score(Function(lambda *texts: len(texts) == 3), row, answer, "").passed is True


def test_functions_of_any_signature(row: Any, answer: Any) -> None:
    class Same:
        def __call__(self, reference: str, text: str, /, *, strict: bool = True) -> bool:
            return (reference == text) is strict

    assert score(Function(Same(), "same"), row, answer, "x").passed is True
    assert Function(Same()).name == "function"
    with pytest.raises(UsageError, match="The metric max returned a str"):
        score(Function(max), row, answer, "a")  # its signature cannot be read


@pytest.mark.parametrize(
    ("returned", "value", "passed"),
    [(True, 1.0, True), (False, 0.0, False), (0.25, 0.25, None), (1, 1.0, None), (None, None, None),
     (Score(0.5, passed=True), 0.5, True)],
)  # fmt: skip
def test_what_a_function_may_return(
    row: Any, answer: Any, returned: Any, value: float | None, passed: bool | None
) -> None:
    found = score(Function(lambda _reference, _text: returned), row, answer, "a")
    assert (found.value, found.passed) == (value, passed)


@pytest.mark.parametrize("returned", [float("nan"), float("inf"), "good", [1], {"score": 1}])
def test_what_it_may_not(row: Any, answer: Any, returned: Any) -> None:
    with pytest.raises(UsageError, match="The metric mine returned"):
        score(Function(lambda _reference, _text: returned, "mine"), row, answer, "a")


def test_a_function_that_fails_is_named(row: Any, answer: Any) -> None:
    def broken(reference: str, text: str) -> bool:
        raise KeyError(text)

    with pytest.raises(UsageError, match="The metric broken failed: KeyError: 'a'") as caught:
        score(Function(broken), row, answer, "a")
    assert isinstance(caught.value.__cause__, KeyError)
