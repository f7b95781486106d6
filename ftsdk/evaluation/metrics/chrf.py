"""chrF: the overlap of character n-grams, for texts that may be right in other words.

It works without words, so also for Chinese, Thai or Japanese, and for any direction of writing.
The same figures as sacrebleu's sentence chrF2 (n-grams of 1 to 6 characters, without white space),
divided by 100; but two empty texts are the same, where sacrebleu gives 0. Source: Popović 2015.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ftsdk.dataset.row import Row
from ftsdk.evaluation.metrics.metric import (
    Chosen,
    Message,
    Metric,
    answer_text,
    references_of,
    text_of,
)
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score

ORDER = 6
BETA = 2
"""Recall counts twice as much as precision."""


class ChrF(Metric):
    """Grades an answer from 0 to 1 by the character n-grams that it shares with the reference."""

    name = "chrf"
    is_pass_or_fail = False

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits any text."""
        written = sum(bool(text_of(message).strip()) for message in references_of(rows))
        return Chosen(cls(), f"{written} answers are free text") if written else None

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return the chrF score of an answer."""
        return Score(chrf(answer_text(answer, reference), text_of(reference)))


def chrf(text: str, reference: str) -> float:
    """Return the chrF score of a text, between 0 and 1."""
    found, wanted = "".join(text.split()), "".join(reference.split())
    if not found and not wanted:
        return 1.0
    shares = [_shares(found, wanted, order) for order in range(1, ORDER + 1)]
    known = [share for share in shares if share is not None]
    if not known:
        return 0.0
    precision = sum(one for one, _ in known) / len(known)
    recall = sum(one for _, one in known) / len(known)
    if precision + recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _shares(found: str, wanted: str, order: int) -> tuple[float, float] | None:
    """Precision and recall of the n-grams of one length; None where a text is too short for any."""
    here, there = _ngrams(found, order), _ngrams(wanted, order)
    if not here or not there:
        return None
    shared = (here & there).total()
    return shared / here.total(), shared / there.total()


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[i : i + order] for i in range(len(text) - order + 1))
