"""Labels: accuracy, confusion, macro-F1, and answers that are none."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("scipy", reason="intervals need the extra `eval`")

from ftsdk.evaluation.metrics.labels import NOT_A_LABEL, Labels

LABELS = ("card_lost", "refund", "top up")


def scores(metric: Labels, row: Any, answer: Any, pairs: list[tuple[str, str]]) -> list[Any]:
    rows = [row(label) for label, _ in pairs]
    return [
        metric.score(one["messages"][-1], answer(text), one)
        for one, (_, text) in zip(rows, pairs, strict=True)
    ]


def test_an_answer_must_be_the_label(row: Any, answer: Any) -> None:
    pairs = [("refund", "refund"), ("refund", " refund\n"), ("refund", "Refund"),
             ("refund", "card_lost"), ("refund", "It is a refund"), ("refund", "")]  # fmt: skip
    found = scores(Labels(LABELS), row, answer, pairs)
    assert [one.passed for one in found] == [True, True, False, False, False, False]
    given = ["refund", "refund", None, "card_lost", None, None]
    assert [one.detail["given"] for one in found] == given


def test_a_lenient_metric_reads_other_writings(row: Any, answer: Any) -> None:
    lenient = Labels(LABELS, lenient=True)
    pairs = [
        ("refund", "Refund."),
        ("card_lost", "CARD LOST"),
        ("top up", "top-up"),
        ("refund", "no"),
    ]
    assert [one.passed for one in scores(lenient, row, answer, pairs)] == [True, True, True, False]


def test_labels_that_differ_only_in_case_stay_apart(row: Any, answer: Any) -> None:
    found = scores(
        Labels(["A", "a"], lenient=True), row, answer, [("A", "a"), ("A", "A"), ("A", "a.")]
    )
    assert [one.detail["given"] for one in found] == ["a", "A", None]


def test_the_summary(row: Any, answer: Any) -> None:
    pairs = [("refund", "refund")] * 6 + [("refund", "card_lost")] * 2 + [("card_lost", "?")] * 2
    metric = Labels(LABELS)
    summary = metric.summary(scores(metric, row, answer, pairs))
    assert summary["mean"] == 0.6
    assert summary["not_a_label"] == 2
    assert summary["confusion"] == {
        "refund": {"refund": 6, "card_lost": 2},
        "card_lost": {NOT_A_LABEL: 2},
    }
    refund, lost = summary["classes"]["refund"], summary["classes"]["card_lost"]
    assert refund.pop("recall_interval") == pytest.approx([0.4093, 0.9285], abs=5e-5)
    assert refund == {"rows": 8, "right": 6, "recall": 0.75, "precision": 1.0,
                      "f1": pytest.approx(6 / 7)}  # fmt: skip
    assert lost["f1"] == lost["recall"] == 0
    assert lost["precision"] == 0
    assert summary["macro_f1"] == pytest.approx(3 / 7)
    assert summary["rare"] == ["card_lost", "refund"]
    assert metric.summary([])["macro_f1"] is None


def test_a_rare_class_counts_as_much_as_a_common_one(row: Any, answer: Any) -> None:
    """One per cent of the rows: always answering the common label looks right, and is not."""
    metric = Labels(["common", "rare"])
    pairs = [("common", "common")] * 990 + [("rare", "common")] * 9 + [("rare", "rare")]
    summary = metric.summary(scores(metric, row, answer, pairs))
    assert summary["mean"] > 0.99
    assert summary["macro_f1"] < 0.6
    assert summary["rare"] == []
    assert summary["classes"]["rare"]["rows"] == 10


def test_macro_f1_agrees_with_its_definition(row: Any, answer: Any) -> None:
    """Precision and recall of each class, by counting."""
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("b", "x"), ("c", "a"), ("c", "c")]
    metric = Labels(["a", "b", "c"])
    summary = metric.summary(scores(metric, row, answer, pairs))
    expected = []
    for label in "abc":
        right = sum(one == other == label for one, other in pairs)
        precision = right / sum(other == label for _, other in pairs)
        recall = right / sum(one == label for one, _ in pairs)
        expected.append(2 * precision * recall / (precision + recall))
    assert summary["macro_f1"] == pytest.approx(sum(expected) / 3)
