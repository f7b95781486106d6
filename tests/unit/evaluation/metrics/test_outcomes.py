"""What becomes of a request counts as what it is: errors, refusals and cut-off answers."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("scipy", reason="intervals need the extra `eval`")

from ftsdk.errors import Unavailable
from ftsdk.evaluation.metrics.chrf import ChrF
from ftsdk.evaluation.metrics.function import Function
from ftsdk.evaluation.metrics.labels import Labels
from ftsdk.evaluation.metrics.metric import outcome_counts, score_outcome
from ftsdk.evaluation.metrics.numbers import Number
from ftsdk.evaluation.metrics.text import Exact
from ftsdk.types.chat import ChatOutcome


def outcome(answer: Any) -> ChatOutcome:
    return ChatOutcome("1", answer=answer)


def test_an_error_has_no_score(row: Any) -> None:
    failed = ChatOutcome("1", error=Unavailable("down"))
    score = score_outcome(Exact(), row("Paris"), failed)
    assert (score.value, score.passed) == (None, None)
    assert score.detail["outcome"] == "error"


@pytest.mark.parametrize("how", [{"refusal": "I cannot"}, {"finish_reason": "content_filter"}])
def test_a_refusal_is_wrong_unless_it_is_right(row: Any, answer: Any, how: dict[str, str]) -> None:
    refused = outcome(answer("Paris", **how))
    score = score_outcome(Exact(), row("Paris"), refused)
    assert (score.value, score.passed, score.detail["outcome"]) == (0.0, False, "refused")
    refusing = {"role": "assistant", "content": None, "refusal": "I cannot"}
    assert score_outcome(Exact(), row(refusing), refused).passed is True
    assert score_outcome(Exact(), row(refusing), outcome(answer("Sure"))).passed is False


def test_refusals_count_for_graded_metrics_too(row: Any, answer: Any) -> None:
    refused = score_outcome(ChrF(), row("Paris"), outcome(answer("Paris", refusal="I cannot")))
    assert (refused.value, refused.detail) == (0.0, {"outcome": "refused"})
    refusing = {"role": "assistant", "content": "", "refusal": "I cannot"}
    for metric in (ChrF(), Exact()):
        answered = score_outcome(metric, row(refusing), outcome(answer("")))
        assert (answered.value, answered.detail["outcome"]) == (0.0, "answered")


def test_a_cut_off_answer_is_wrong_and_a_graded_one_has_what_there_is(
    row: Any, answer: Any
) -> None:
    cut = outcome(answer("Paris", finish_reason="length"))
    score = score_outcome(Exact(), row("Paris"), cut)
    assert (score.value, score.passed, score.detail["outcome"]) == (0.0, False, "cut_off")
    graded = score_outcome(ChrF(), row("Paris is a city"), cut)
    assert graded.value is not None
    assert 0 < graded.value < 1
    assert graded.detail["outcome"] == "cut_off"
    own = score_outcome(Function(lambda reference, text: reference == text), row("Paris"), cut)
    assert (own.value, own.passed) == (0.0, False)


def test_what_is_no_answer_counts_in_the_summaries(row: Any, answer: Any) -> None:
    """A refused row is a row of its class without the right label: macro-F1 must see it."""
    labels = Labels(["a", "b"])
    texts = [
        answer("a"),
        answer("a", refusal="no"),
        answer("a", finish_reason="length"),
        answer("b"),
    ]
    scores = [
        score_outcome(labels, row(label), outcome(one))
        for label, one in zip("aaab", texts, strict=True)
    ]
    summary = labels.summary(scores)
    assert summary["confusion"] == {"a": {"a": 1, "not a label": 2}, "b": {"b": 1}}
    assert summary["macro_f1"] == pytest.approx((2 / 4 + 1) / 2)
    number = score_outcome(
        Number(), row("#### 5"), outcome(answer("#### 5", finish_reason="length"))
    )
    assert number.passed is False
    assert Number().summary([number])["no_number_given"] == 0, "it is counted as cut off"


def test_a_row_without_a_reference_has_no_score(answer: Any) -> None:
    asked = {"messages": [{"role": "user", "content": "?"}]}
    score = score_outcome(Exact(), asked, outcome(answer("Paris")))
    assert (score.value, score.detail["outcome"]) == (None, "no reference")


def test_each_outcome_is_counted(answer: Any) -> None:
    found = [
        ChatOutcome("1", error=Unavailable("down")),
        outcome(answer("a")),
        outcome(answer("a", finish_reason="length")),
        outcome(answer("a", refusal="no")),
        outcome(answer("b", finish_reason="stop")),
    ]
    assert outcome_counts(found) == {"answered": 2, "cut_off": 1, "refused": 1, "error": 1}


def test_parts_of_a_message_are_one_text(row: Any, answer: Any) -> None:
    parts = [{"type": "text", "text": "Par"}, {"type": "text", "text": "is"}, {"type": "image_url"}]
    one = row({"role": "assistant", "content": parts})
    assert score_outcome(Exact(), one, outcome(answer("Paris"))).passed
