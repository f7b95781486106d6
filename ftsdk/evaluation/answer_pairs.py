"""Pairs of answers that a judge compares: read from where they are kept, one pair at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.evaluation.asked_rows import AskedRows
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.metrics.metric import answer_text, reference_of, text_of
from ftsdk.types.chat import ChatOutcome


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one row: the reference's and the candidate's."""

    case: Case
    row: Row
    reference: str
    candidate: str


Outcomes = Callable[[Case], Sequence[ChatOutcome]]
"""Returns what became of each repeat of a case."""


class AnswerPairs(Sequence[AnswerPair | None]):
    """The first answers of both models to each row, read when they are wanted; None where one has none."""

    def __init__(self, asked: AskedRows, reference: Outcomes, candidate: Outcomes) -> None:
        self._asked, self._both = asked, (reference, candidate)

    def __len__(self) -> int:
        return len(self._asked)

    def __getitem__(self, place: Any) -> Any:
        case = self._asked.cases[place]
        first, second = (said(outcomes(case)[0]) for outcomes in self._both)
        if first is None or second is None:
            return None
        return AnswerPair(case, self._asked.rows[place], first, second)


class AssumedPairs(Sequence[AnswerPair | None]):
    """Pairs with texts in place of answers that are not there yet.

    They are the row's own, or so many words as the longest answer has tokens. Without `pairs` no answer
    is there.
    """

    def __init__(
        self, asked: AskedRows, pairs: Sequence[AnswerPair | None] | None, longest: int | None
    ) -> None:
        self._asked, self._pairs = asked, pairs
        self._longest = None if longest is None else " word" * longest

    def __len__(self) -> int:
        return len(self._asked)

    def __getitem__(self, place: Any) -> Any:
        pair = None if self._pairs is None else self._pairs[place]
        if pair is not None:
            return pair
        row = self._asked.rows[place]
        text = self._longest
        if text is None:
            text = text_of(reference_of(row) or {})
        return AnswerPair(self._asked.cases[place], row, text, f"{text} ")


class Joined(Sequence[AnswerPair | None]):
    """Several sequences of pairs as one."""

    def __init__(self, *parts: Sequence[AnswerPair | None]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __getitem__(self, place: Any) -> Any:
        for part in self._parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)


def said(outcome: ChatOutcome) -> str | None:
    """Return what a model answered, its refusal, or its tool calls as JSON; None for an error."""
    if outcome.answer is None:
        return None
    text = answer_text(outcome.answer) or outcome.answer.refusal or ""
    calls = outcome.answer.message.get("tool_calls")
    return text if not calls else f"{text}\n{json.dumps(calls, sort_keys=True)}".strip()
