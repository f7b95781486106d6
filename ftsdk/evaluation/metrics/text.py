"""Whole texts that must be the same: exactly, or after normalization."""

from __future__ import annotations

import re
import unicodedata
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

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# Marks of direction and order, which do not show. Joiners stay: they spell words in Persian and Hindi.
_UNSEEN = dict.fromkeys(
    [0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
)


SHORT = 60
"""Characters; longer answers can be right in other words."""
MOST = 0.9
"""The share of rows that must be alike for a metric to be chosen."""


class Exact(Metric):
    """Passes an answer that is the reference, but for white space around it."""

    name = "exact"

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits short answers of one line."""
        is_short = [_is_short(text_of(message)) for message in references_of(rows)]
        short, count = sum(is_short), len(is_short)
        if not count or short < count * MOST:
            return None
        return Chosen(
            cls(), f"{short} of {count} answers are one line of at most {SHORT} characters"
        )

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the texts are the same."""
        same = answer_text(answer, reference).strip() == text_of(reference).strip()
        return Score(float(same), passed=same)


def _is_short(text: str) -> bool:
    return len(text) <= SHORT and "\n" not in text.strip()


class Normalized(Metric):
    """Passes an answer that is the reference in another writing: see `normalized`."""

    name = "normalized"

    def __init__(self, *, articles: bool = False, punctuation: bool = False) -> None:
        self._options = {"articles": articles, "punctuation": punctuation}

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the texts are the same after normalization."""
        wanted = normalized(text_of(reference), **self._options)
        found = normalized(answer_text(answer, reference), **self._options)
        return Score(float(found == wanted), passed=found == wanted, detail={"normalized": found})


def normalized(text: str, *, articles: bool = False, punctuation: bool = False) -> str:
    """Return a text without differences of case, width, composition and white space.

    `articles` drops a, an and the (English prose only), `punctuation` drops punctuation, but not the
    signs and points of numbers. Neither leaves a text empty that was not: the label "A" stays.
    """
    plain = unicodedata.normalize("NFKC", text.translate(_UNSEEN))
    plain = unicodedata.normalize("NFKC", plain.casefold())
    if punctuation:
        plain = _or_before("".join(_spoken(plain)), plain)
    if articles:
        plain = _or_before(_ARTICLES.sub(" ", plain), plain)
    return " ".join(plain.split())


def _or_before(changed: str, before: str) -> str:
    return changed if changed.strip() else before


def _spoken(text: str) -> list[str]:
    """The characters of a text; for punctuation a space, but in numbers."""
    return [
        " " if unicodedata.category(char)[0] == "P" and not _in_number(text, place) else char
        for place, char in enumerate(text)
    ]


def _in_number(text: str, place: int) -> bool:
    """Whether a character is the sign or a point of a number: -5, 1.5, 1,000, but not 5."""
    after = text[place + 1 : place + 2].isdigit()
    before = text[:place][-1:]
    if text[place] == "-":
        return after and not before.isalnum()
    return text[place] in ".,:" and after and before.isdigit()
