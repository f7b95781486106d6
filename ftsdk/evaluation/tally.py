"""What one model did in an evaluation, counted answer by answer: outcomes, scores, cost, time."""

from __future__ import annotations

import bisect
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.evaluation.metrics.metric import Metric, answer_text, outcome_counts
from ftsdk.evaluation.pairs import RowScores, noise_of
from ftsdk.evaluation.report_parts import ModelResult
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.chat import ChatOutcome
from ftsdk.types.cost import sum_known
from ftsdk.types.evaluation import Score
from ftsdk.util.spilled import Spilled

_TOKENS: Mapping[str, str] = {
    "prompt": "prompt_tokens",
    "cached": "prompt_tokens_details.cached_tokens",
    "completion": "completion_tokens",
}


class Tally:
    """Counts the answers of one model. The scores are in a file; memory holds a few bytes for each."""

    def __init__(self, name: str, metrics: Sequence[Metric], folder: Path) -> None:
        self.name = name
        self.scores: dict[str, Spilled[list[Score]]] = {
            one.name: Spilled(folder=folder) for one in metrics
        }
        self._metrics = metrics
        self._kinds = Counter[str]()
        self._latencies = array("d")
        self._answered_by: set[str] = set()
        self._tokens = Counter[str]()
        self._with_usage = 0

    def add(self, outcomes: Sequence[ChatOutcome], scores: Mapping[str, list[Score]]) -> None:
        """Count what became of one row, with its scores by metric."""
        self._kinds.update(outcome_counts(outcomes))
        for outcome in outcomes:
            if outcome.answer is not None:
                self._add_answer(outcome.answer)
        for name, found in scores.items():
            self.scores[name].append(found)

    def _add_answer(self, answer: ChatAnswer) -> None:
        if answer.latency_s:
            self._latencies.append(answer.latency_s)
        if answer.model:
            self._answered_by.add(str(answer.model))
        if "prompt_tokens" in answer.usage:
            self._with_usage += 1
            for ours, theirs in _TOKENS.items():
                self._tokens[ours] += answer.usage.get(theirs, 0)

    def result(self, usd: Decimal | None) -> ModelResult:
        """Return what a report shows of the model; `usd` is what its answers cost."""
        ordered = sorted(self._latencies)
        noise = {name: noise_of(rows) for name, rows in self.scores.items()}
        return ModelResult(
            name=self.name,
            outcomes=dict(self._kinds),
            summaries={
                one.name: one.summary(EachScore(self.scores[one.name])) for one in self._metrics
            },
            usd=usd,
            latency_p50_s=_quantile(ordered, 0.5),
            latency_p95_s=_quantile(ordered, 0.95),
            noise={name: found.disagreement for name, found in noise.items() if found is not None},
            answered_by=tuple(sorted(self._answered_by)),
            tokens={name: self._tokens[name] / self._with_usage for name in _TOKENS}
            if self._with_usage
            else {},
        )


class Costs:
    """The sum of what answers cost; unknown as soon as one of them is."""

    def __init__(self) -> None:
        self.usd: Decimal | None = Decimal(0)

    def add(self, usd: Decimal | None) -> None:
        """Add the cost of one answer."""
        self.usd = sum_known((self.usd, usd))


class EachScore(Sequence[Score]):
    """The scores of all rows, one after the other."""

    def __init__(self, rows: Sequence[RowScores]) -> None:
        self._rows = rows
        self._ends = array("Q")
        for row in rows:
            self._ends.append((self._ends[-1] if self._ends else 0) + len(row))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Score]:
        return (score for row in self._rows for score in row)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        row = bisect.bisect_right(self._ends, place)
        return self._rows[row][place - (self._ends[row - 1] if row else 0)]


def said(answers: Sequence[ChatOutcome]) -> str:
    """Return what a report shows of a row's answers: the text of the first, or its error."""
    first = answers[0]
    if first.answer is None:
        return "" if first.error is None else f"(error: {first.error.what})"
    return answer_text(first.answer) or first.answer.refusal or ""


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
