"""Cases that are in a training file are found, by row, by prompt and by likeness; others are not."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import Dataset
from ftsdk.evaluation.cases import cases_of
from ftsdk.evaluation.overlap import OverlapFinder, can_compare_nearly

LONG = "where is the parcel that I have ordered on the second of May and paid by card"


def row(question: str, answer: str = "a", system: str = "") -> dict[str, Any]:
    start = [{"role": "system", "content": system}] if system else []
    return {
        "messages": [
            *start,
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def found(test: list[dict[str, Any]], train: list[dict[str, Any]]) -> list[tuple[int, str, int]]:
    finder = OverlapFinder(cases_of(Dataset.load(test)))
    overlaps = finder.find(Dataset.load(train), "file-1")
    return [(one.line, one.likeness, one.training_line) for one in overlaps]


def test_equal_rows_and_equal_prompts() -> None:
    test = [row("one?"), row("two?"), row("three?")]
    train = [row("zero?"), row("Two? ", "b"), row("ONE?", "A")]
    assert found(test, train) == [(1, "same row", 3), (2, "same prompt", 2)]


def test_the_strongest_likeness_is_named() -> None:
    assert found([row("one?")], [row("one?", "b"), row("one?", "a")]) == [(1, "same row", 2)]


def test_another_system_message_hides_nothing() -> None:
    assert found([row("one?", system="x")], [row("one?", system="y")]) == [(1, "same row", 1)]


@pytest.mark.skipif(not can_compare_nearly(), reason="needs the extra `data` (rensa)")
def test_nearly_equal_prompts() -> None:
    test = [row(LONG + " please"), row("what else is there to say about the weather of today")]
    assert found(test, [row("x"), row(LONG)]) == [(1, "nearly the same prompt", 2)]


def test_one_system_message_for_all_makes_no_two_alike() -> None:
    test = [row("is it blue?", system=LONG * 5)]
    assert found(test, [row("was it red?", system=LONG * 5)]) == []
