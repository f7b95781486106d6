"""What a metric is, and the texts that metrics compare."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.row import Row, messages_of
from ftsdk.evaluation.metrics.reasoning import has_tags, without_reasoning
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatOutcome, OutcomeKind
from ftsdk.types.evaluation import Score

Message = Mapping[str, Any]


class Metric(abc.ABC):
    """Scores answers, one at a time.

    `name` is its column in a report. `is_pass_or_fail` says whether its values are only 0 and 1: an
    answer that was cut off then fails, and a graded metric scores what there is of it. `scale` is the
    range of its values: the largest less the smallest that is possible.
    """

    name: str
    is_pass_or_fail: bool = True
    scale: float = 1.0

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Return the metric for these rows and why it fits them; None where it does not."""
        return None

    @abc.abstractmethod
    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return the score of an answer. `reference` is the row's own last message."""

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return what a report shows beside the mean, by name, as plain JSON values."""
        return {"mean": mean_score(scores), "scored": len(scored(scores))}


@dataclass(frozen=True)
class Chosen:
    """A metric, and in one line why it was chosen."""

    metric: Metric
    reason: str


def score_outcome(metric: Metric, row: Row, outcome: ChatOutcome) -> Score:
    """Return the score of what became of a request; its `detail` names an outcome that is no answer.

    An error has no score: the pair of rows is left out. A refusal is wrong, unless the reference
    refuses too; so is an answer that was cut off, where the metric is pass or fail.
    """
    reference = reference_of(row)
    if outcome.answer is None:
        return Score(None, detail={"outcome": str(OutcomeKind.ERROR)})
    if reference is None:
        return Score(None, detail={"outcome": "no reference"})
    kind, is_to_refuse = outcome.kind, bool(reference.get("refusal"))
    if is_to_refuse or kind is OutcomeKind.REFUSED:
        if is_to_refuse and kind is OutcomeKind.REFUSED:
            return Score(1.0, passed=True, detail={"outcome": str(kind)})
        return _wrong(metric, reference, row, str(kind))
    if kind is OutcomeKind.ANSWERED:
        return metric.score(reference, outcome.answer, row)
    if metric.is_pass_or_fail:
        return _wrong(metric, reference, row, str(kind))
    score = metric.score(reference, outcome.answer, row)
    value = 0.0 if score.passed else score.value
    passed = None if score.passed is None else False
    return Score(value, passed, {**score.detail, "outcome": str(kind)})


def _wrong(metric: Metric, reference: Message, row: Row, outcome: str) -> Score:
    """A wrong answer; its detail is that of an empty one, so that it counts in every summary."""
    detail: Mapping[str, Any] = {}
    if metric.is_pass_or_fail:
        empty = ChatAnswer(text="", message={"role": "assistant", "content": ""})
        detail = metric.score(reference, empty, row).detail
    return Score(0.0, passed=False, detail={**detail, "outcome": outcome})


def outcome_counts(outcomes: Sequence[ChatOutcome]) -> dict[str, int]:
    """Return how many requests ended in each way, all four counted."""
    counts = dict.fromkeys(map(str, OutcomeKind), 0)
    for outcome in outcomes:
        counts[str(outcome.kind)] += 1
    return counts


def reference_of(row: Row) -> Message | None:
    """Return the answer that a chat row has: its last message, if that is the assistant's."""
    messages = messages_of(row)
    if not messages or messages[-1][1].get("role") != "assistant":
        return None
    return messages[-1][1]


def text_of(message: Message) -> str:
    """Return the text of a message without its reasoning; empty where it has none."""
    content = message.get("content")
    if not isinstance(content, str):
        parts = content if isinstance(content, list | tuple) else []
        texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
        content = "".join(text for text in texts if isinstance(text, str))
    return without_reasoning(content, may_be_unopened=False)


def answer_text(answer: ChatAnswer, reference: Message | None = None) -> str:
    """Return the text of an answer without the reasoning before it.

    Where the reference's own text has the tags, it is about them: then a lone end of reasoning stays.
    """
    about_tags = reference is not None and has_tags(text_of(reference))
    return without_reasoning(answer.text, may_be_unopened=not about_tags)


def references_of(rows: Iterable[Row]) -> Iterator[Message]:
    """Yield the answers of the rows that have one."""
    return (found for row in rows if (found := reference_of(row)) is not None)


def scored(scores: Sequence[Score]) -> list[float]:
    """Return the values of the scores that have one."""
    return [score.value for score in scores if score.value is not None]


def mean_score(scores: Sequence[Score]) -> float | None:
    """Return the mean of the scores that have a value."""
    values = scored(scores)
    return sum(values) / len(values) if values else None
