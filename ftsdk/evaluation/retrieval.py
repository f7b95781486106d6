"""Few-shot examples by retrieval: the training rows that are nearest to a question, by BM25.

A row that is equal or near to the question is never an example, nor one that goes on with the same
conversation, nor one of its group: any of them may hold the answer. The ranking depends on the rows
alone, so the same rows give the same prompts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftsdk.dataset.row import Row, prompt_of, texts_of
from ftsdk.dataset.rules.duplicates import folded_texts
from ftsdk.dataset.rules.near_duplicates import THRESHOLD, shingles, without_system
from ftsdk.errors import UsageError
from ftsdk.evaluation.cases import Case
from ftsdk.evaluation.metrics.metric import reference_of
from ftsdk.evaluation.statistics.libraries import load, numpy

EXAMPLE_TOKENS = 4_000
"""The tokens that the examples of one question may have."""
_DIGITS = 4
"""Scores that are equal to so many digits are a tie, which the order of the rows decides."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORDS = re.compile(f"[{_UNSPACED}]+|[^\\W{_UNSPACED}]+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_NOTHING = "\x00"
"""A term that no text has; it is the only term of a question without words."""


@dataclass(frozen=True)
class Example:
    """A training row that may be shown: its place, its messages without the system's, its group."""

    place: int
    messages: tuple[Mapping[str, Any], ...]
    group: Hashable | None
    asked: tuple[str, ...]
    said: tuple[tuple[str, ...], ...]
    shingles: frozenset[str]


@dataclass
class Passed:
    """How many rows were passed over for some question, and why."""

    near: int = 0
    same_group: int = 0
    too_long: int = 0
    shown: list[int] = field(default_factory=list)
    """How many examples each question got."""

    def note(self, wanted: int, rows: int) -> str:
        """Return it as a line for a report."""
        mean = sum(self.shown) / len(self.shown) if self.shown else 0
        parts = [f"{mean:.1f} of {wanted} examples a row, the nearest of {rows:,} training rows"]
        for count, why in (
            (self.near, "equal or near to the row"),
            (self.same_group, "of its group"),
            (self.too_long, "too long"),
        ):
            if count:
                parts.append(f"{count} times a row was passed over: {why}")
        return "; ".join(parts)


class ExampleIndex:
    """An index of training rows, of which the nearest to a question are shown.

    Rows without a question or without an answer are left out. `group_of` names the group of a row, such
    as its conversation; None for none. `count` counts the tokens of messages. Needs the extra `eval`;
    raises `UsageError` where no row can be shown.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        *,
        group_of: Callable[[Row], Hashable | None] = lambda _: None,
        count: Callable[[Sequence[Mapping[str, Any]]], int] | None = None,
        most_tokens: int = EXAMPLE_TOKENS,
    ) -> None:
        self._rows = list(_examples(rows, group_of))
        if not self._rows:
            raise UsageError(
                "No training row can be shown as an example",
                where="the examples of a prompt",
                hint="give rows with a question and an answer: Prompt(…, training='train.jsonl')",
            )
        self._count, self._most = count or _length, most_tokens
        self._bm25 = load("bm25s").BM25()
        texts = [terms(" ".join(one.asked)) or [_NOTHING] for one in self._rows]
        self._bm25.index(texts, show_progress=False)
        self.passed = Passed()

    def __len__(self) -> int:
        return len(self._rows)

    def nearest(self, case: Case, k: int, group: Hashable | None = None) -> list[Example]:
        """Return at most `k` rows, the nearest last. `group` is that of the question's row."""
        query = _Query(case)
        found: list[Example] = []
        tokens = 0
        for one in self._ranked(query):
            if len(found) == k:
                break
            if group is not None and one.group == group:
                self.passed.same_group += 1
            elif query.may_answer(one):
                self.passed.near += 1
            elif tokens + (size := self._count(one.messages)) > self._most:
                self.passed.too_long += 1
            else:
                tokens += size
                found.append(one)
        self.passed.shown.append(len(found))
        return found[::-1]

    def _ranked(self, query: _Query) -> Iterator[Example]:
        """Yield the rows that share a word with the question, best first."""
        np = numpy()
        words = [word for word in query.words if word in self._bm25.vocab_dict]
        if not words:
            return
        scores = np.round(self._bm25.get_scores(words), _DIGITS)
        for place in np.lexsort((np.arange(len(scores)), -scores)):
            if scores[place] <= 0:
                return
            yield self._rows[int(place)]


class _Query:
    """A question, and whether a training row may hold its answer."""

    def __init__(self, case: Case) -> None:
        bare = _bare(case.messages)
        self.words = terms(" ".join(_texts(bare)))
        self._asked = tuple(_folded(one) for one in bare)
        self._shingles = frozenset(shingles({"messages": bare}))

    def may_answer(self, one: Example) -> bool:
        """Whether a row asks the same or nearly the same, or has the question in its conversation."""
        if one.said[: len(self._asked)] == self._asked:
            return True
        both = len(self._shingles & one.shingles)
        either = len(self._shingles | one.shingles)
        return both >= THRESHOLD * either


def _examples(rows: Iterable[Row], group_of: Callable[[Row], Hashable | None]) -> Iterator[Example]:
    for place, row in enumerate(rows):
        prompt, answer = prompt_of(row), reference_of(row)
        messages = row.get("messages")
        if prompt is None or answer is None or not isinstance(messages, list):
            continue
        shown = [_without_weight(one) for one in _bare(messages)]
        asked = _bare(prompt["messages"])
        yield Example(
            place,
            tuple(shown),
            group_of(row),
            tuple(_texts(asked)),
            tuple(_folded(one) for one in shown),
            frozenset(shingles({"messages": asked})),
        )


def terms(text: str) -> list[str]:
    """Return the words of a text, case and width folded; pairs of characters where no space parts words."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    found: list[str] = []
    for run in _WORDS.findall(plain):
        pairs = len(run) > 1 and _IS_UNSPACED.match(run)
        found += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return found


def _bare(messages: Iterable[Any]) -> list[Any]:
    """Return messages without the system's, which is the same in many rows."""
    found = without_system({"messages": list(messages)})["messages"]
    return [dict(one) for one in found if isinstance(one, Mapping)]


def _texts(messages: Sequence[Row]) -> list[str]:
    return [text for _, text in texts_of({"messages": list(messages)})]


def _folded(message: Row) -> tuple[str, ...]:
    return folded_texts({k: v for k, v in message.items() if k != "weight"})


def _without_weight(message: Row) -> Row:
    return {name: value for name, value in message.items() if name != "weight"}


def _length(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return a guess at the tokens of messages: four characters a token."""
    return sum(len(text) // 4 + 4 for text in _texts([dict(one) for one in messages]))
