"""A model as judge: both orders, controls, agreement with people, and cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics.judge import Judge, Opinion, Preference, scores_of, summary_of
from ftsdk.types.answer import ChatAnswer


class Model:
    """Answers by a function of the two answers that it is shown."""

    def __init__(self, verdict: Callable[[str, str], str]) -> None:
        self.verdict = verdict
        self.asked: list[str] = []

    def chat(self, messages: Sequence[Mapping[str, Any]], /, **options: Any) -> ChatAnswer:
        self.options = options
        text = messages[-1]["content"]
        self.asked.append(text)
        first = text.split("<answer_A>\n")[1].split("\n</answer_A>")[0]
        second = text.split("<answer_B>\n")[1].split("\n</answer_B>")[0]
        reply = self.verdict(first, second)
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return ChatAnswer(text=reply, message={"role": "assistant", "content": reply}, usage=usage)


def by_length(first: str, second: str) -> str:
    if len(first) == len(second):
        return "Both are the same.\nVERDICT: TIE"
    return f"VERDICT: {'A' if len(first) > len(second) else 'B'}"


@pytest.mark.parametrize(
    ("reference", "candidate", "preference"),
    [
        ("long answer", "short", "reference"),
        ("short", "long answer", "candidate"),
        ("same", "name", "tie"),
    ],
)
def test_both_orders_agree(row: Any, reference: str, candidate: str, preference: str) -> None:
    model = Model(by_length)
    opinion = Judge(model).compare(row("x", question="Where?"), reference, candidate)
    assert opinion.preference == preference
    assert not opinion.flipped
    assert len(model.asked) == 2
    assert model.options == {"max_tokens": 512, "temperature": 0.0}
    assert "Where?" in model.asked[0]
    assert "<answer_A>\nx" not in model.asked[0], "the judge does not see the row's own answer"


def test_options_of_the_chat(row: Any) -> None:
    model = Model(by_length)
    Judge(model, options={"max_completion_tokens": 900}).compare(row("x"), "a", "b")
    assert model.options == {"max_completion_tokens": 900}


def test_a_verdict_that_changes_with_the_order_is_a_tie(row: Any) -> None:
    opinion = Judge(Model(lambda *_: "VERDICT: A")).compare(row("x"), "one", "two")
    assert opinion == Opinion(Preference.TIE, flipped=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VERDICT: B", {"A": "B"}),
        ("**Verdict**: B.", {"A": "B"}),
        ("First I thought VERDICT: A, but\nVERDICT: B", {"A": "B"}),
        ("<think>VERDICT: A</think>VERDICT: B", {"A": "B"}),
        ("Both are fine", None),
        ("", None),
    ],
)
def test_the_last_verdict_counts(row: Any, text: str, expected: Any) -> None:
    judge = Judge(Model(lambda *_: text))
    assert judge._ask(row("x"), "one", "two") == (None if expected is None else "B")
    if expected is None:
        assert judge.compare(row("x"), "one", "two").unreadable


def test_a_judge_that_sees_the_obvious_passes_its_controls(row: Any) -> None:
    rows = [row(f"The right answer, number {i}, is quite a long one.") for i in range(8)]
    model = Model(by_length)
    Judge(model).check(rows)
    assert len(model.asked) == 2 * 2 * 5


@pytest.mark.parametrize(
    ("verdict", "what"),
    [
        (
            lambda *_: "VERDICT: A",
            "missed 5 of 5 wrong answers and preferred one of two equal answers in 5",
        ),
        (
            lambda *_: "VERDICT: TIE",
            "missed 5 of 5 wrong answers and preferred one of two equal answers in 0",
        ),
        (
            lambda a, b: f"VERDICT: {'A' if len(a) >= len(b) else 'B'}",
            "missed 0 of 5 wrong answers and preferred one",
        ),
        (lambda a, b: by_length(b, a), "missed 5 of 5"),
        (lambda *_: "Hard to say", "missed 5 of 5"),
    ],
)
def test_a_judge_that_does_not_is_refused(row: Any, verdict: Any, what: str) -> None:
    rows = [row(f"The right answer, number {i}, is quite a long one.") for i in range(8)]
    with pytest.raises(UsageError, match="fails its controls") as caught:
        Judge(Model(verdict)).check(rows)
    assert what in caught.value.what


def test_few_controls_must_all_go_right(row: Any) -> None:
    rows = [row("The right answer is quite a long one, longer than the wrong one.")]
    Judge(Model(by_length)).check(rows)
    with pytest.raises(
        UsageError, match="missed 0 of 1 wrong answers and preferred one of two equal answers in 1"
    ):
        Judge(Model(lambda a, b: f"VERDICT: {'A' if len(a) >= len(b) else 'B'}")).check(rows)


def test_one_control_of_five_may_go_wrong(row: Any) -> None:
    rows = [row(f"The right answer, number {i}, is quite a long one.") for i in range(5)]

    def but_one(first: str, second: str) -> str:
        return "VERDICT: TIE" if "number 3" in first + second else by_length(first, second)

    Judge(Model(but_one)).check(rows)


def test_an_answer_without_counts_costs_nothing_known(row: Any) -> None:
    class Silent(Model):
        def chat(self, messages: Sequence[Mapping[str, Any]], /, **options: Any) -> ChatAnswer:
            return super().chat(messages, **options).model_copy(update={"usage": {}})

    judge = Judge(Silent(by_length))
    judge.compare(row("x"), "a", "b")
    assert (judge.usage.requests, judge.usage.prompt_tokens, judge.usage.completion_tokens) == (
        2,
        0,
        0,
    )


def test_a_judge_cannot_be_checked_without_references(row: Any) -> None:
    with pytest.raises(UsageError, match="no row has a reference"):
        Judge(Model(by_length)).check([{"messages": [{"role": "user", "content": "?"}]}])


def test_the_summary_has_flips_agreement_and_cost(row: Any) -> None:
    judge = Judge(Model(by_length), usd_per_mtok=(Decimal(1), Decimal(6)))
    pairs = [
        ("long answer", "short"),
        ("short", "long answer"),
        ("short", "a long answer"),
        ("same", "name"),
    ]
    opinions = [judge.compare(row("x"), *pair) for pair in pairs]
    opinions.append(Opinion(Preference.TIE, flipped=True))
    people = [
        Preference.REFERENCE,
        Preference.CANDIDATE,
        Preference.REFERENCE,
        Preference.TIE,
        None,
    ]
    found = summary_of(opinions, judge.usage, people)
    assert (found["reference"], found["candidate"], found["tie"]) == (1, 2, 2)
    assert found["flip_rate"] == 0.2
    assert found["kappa"] == pytest.approx((0.75 - 0.3125) / (1 - 0.3125))
    assert found["rows_with_people"] == 4
    assert (found["requests"], found["prompt_tokens"], found["completion_tokens"]) == (8, 800, 80)
    assert Decimal(found["usd"]) == Decimal("0.00128")
    assert json.dumps(found)
    without = summary_of(opinions, Judge(Model(by_length)).usage)
    assert without["kappa"] is None
    assert without["usd"] is None


def test_opinions_are_compared_like_pass_and_fail() -> None:
    opinions = [
        Opinion(Preference.CANDIDATE),
        Opinion(Preference.REFERENCE),
        Opinion(Preference.TIE),
    ]
    assert scores_of(opinions) == ([0.0, 1.0, 1.0], [1.0, 0.0, 1.0])
