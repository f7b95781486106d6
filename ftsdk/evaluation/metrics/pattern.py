"""A regular expression that answers must match, with a limit on the time of each match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics.metric import Message, Metric, answer_text
from ftsdk.evaluation.statistics.libraries import load
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score

LIMIT_S = 0.5
"""Seconds for one match. Some expressions take years on some texts."""
MOST_TIMEOUTS = 10
"""After so many the expression is refused: the rest would take as long."""


class Pattern(Metric):
    """Passes an answer that matches a regular expression, as a whole unless `anywhere`.

    The syntax is that of the package `regex`, which includes Python's `re`. A match that takes longer
    than `LIMIT_S` has no score. Raises `UsageError` when the expression is not valid, and after
    `MOST_TIMEOUTS` matches that took too long.
    """

    name = "pattern"

    def __init__(self, expression: str, *, anywhere: bool = False, name: str = "pattern") -> None:
        engine = load("regex")
        try:
            compiled = engine.compile(expression)
        except engine.error as error:
            raise UsageError(
                f"The regular expression is not valid: {error}",
                where=f"the metric {name}",
                hint="correct the expression; try it with `python -c 'import re; re.compile(…)'`",
            ) from error
        self.name = name
        self._match = compiled.search if anywhere else compiled.fullmatch
        self._timeouts = 0

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the answer matches."""
        text = answer_text(answer, reference).strip()
        try:
            matches = self._match(text, timeout=LIMIT_S) is not None
        except TimeoutError:
            return self._timed_out()
        return Score(float(matches), passed=matches)

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the mean, and how many matches took too long."""
        timed_out = sum(bool(score.detail.get("timed_out")) for score in scores)
        return {**super().summary(scores), "timed_out": timed_out}

    def _timed_out(self) -> Score:
        self._timeouts += 1
        if self._timeouts >= MOST_TIMEOUTS:
            raise UsageError(
                f"{self._timeouts} answers took more than {LIMIT_S} s each to match",
                where=f"the metric {self.name}",
                hint="write the expression without repetitions inside repetitions, such as (a+)+",
            )
        return Score(None, detail={"timed_out": True})
