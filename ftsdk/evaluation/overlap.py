"""Cases that are in a training file: the same row, the same prompt, or nearly the same prompt.

An answer to such a case shows what the model remembers, not what it can do.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ftsdk.dataset import Dataset
from ftsdk.dataset.row import Row, prompt_of
from ftsdk.dataset.rules.duplicates import folded_texts
from ftsdk.dataset.rules.near_duplicates import (
    BANDS,
    THRESHOLD,
    band_keys,
    minhash_of,
    shingles,
    without_system,
)
from ftsdk.evaluation.cases import Case

Likeness = Literal["same row", "same prompt", "nearly the same prompt"]


@dataclass(frozen=True)
class Overlap:
    """A case that is in a training file: its line, the row's line there, and how alike they are."""

    line: int
    training_file: str
    training_line: int
    likeness: Likeness
    case: str


def can_compare_nearly() -> bool:
    """Whether the package that finds nearly equal prompts is installed (extra `data`)."""
    return importlib.util.find_spec("rensa") is not None


class OverlapFinder:
    """Compares training files with the cases. Memory grows with the cases alone."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._answers = [_folded(_answer_of(case)) for case in cases]
        self._by_prompt: dict[bytes, list[int]] = defaultdict(list)
        for number, case in enumerate(cases):
            self._by_prompt[_folded(_bare(_row_of(case)))].append(number)
        self._near = _Near(map(_row_of, cases)) if can_compare_nearly() else None

    def find(self, training: Dataset, name: str) -> list[Overlap]:
        """Return the cases that are in the training file, each once, by its strongest likeness."""
        found: dict[int, Overlap] = {}
        for line, row in enumerate(training, 1):
            for number, likeness in self._alike(row):
                before = found.get(number)
                if before is None or _STRENGTH[likeness] > _STRENGTH[before.likeness]:
                    case = self._cases[number]
                    found[number] = Overlap(case.line, name, line, likeness, case.id)
        return [found[number] for number in sorted(found)]

    def _alike(self, row: Row) -> Iterator[tuple[int, Likeness]]:
        prompt = prompt_of(row)
        if prompt is None:
            return
        bare = _bare(prompt)
        equal = self._by_prompt.get(_folded(bare), ())
        for number in equal:
            same = self._answers[number] == _folded(_answer_in(row))
            yield number, "same row" if same else "same prompt"
        if not equal and self._near is not None:
            for number in self._near.like(bare):
                yield number, "nearly the same prompt"


_STRENGTH: dict[Likeness, int] = {"same row": 3, "same prompt": 2, "nearly the same prompt": 1}


class _Near:
    """MinHash signatures of rows, in bands; rows of one band are compared."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._kept: list[Any] = []
        self._bands: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
        for row in rows:
            minhash = minhash_of(shingles(row))
            for band, key in zip(self._bands, band_keys(minhash), strict=True):
                band[key].append(len(self._kept))
            self._kept.append(minhash)

    def like(self, row: Row) -> Iterator[int]:
        """Yield the numbers of the rows that are nearly the same."""
        minhash = minhash_of(shingles(row))
        keys = band_keys(minhash)
        near = {n for band, key in zip(self._bands, keys, strict=True) for n in band.get(key, ())}
        yield from (n for n in sorted(near) if self._kept[n].jaccard(minhash) >= THRESHOLD)


def _row_of(case: Case) -> Row:
    return {"messages": [dict(one) for one in case.messages]}


def _bare(prompt: Row) -> Row:
    """Return the messages of a prompt without the system's: one for all rows makes no two of them alike."""
    messages = prompt.get("messages")
    return without_system({"messages": messages}) if isinstance(messages, list) else prompt


def _answer_of(case: Case) -> Row:
    return {} if case.reference is None else dict(case.reference)


def _answer_in(row: Row) -> Row:
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return {k: v for k, v in last.items() if k != "weight"} if isinstance(last, dict) else {}


def _folded(value: Row) -> bytes:
    """Return a hash of the texts of a row, folded."""
    texts = "\x00".join(folded_texts(value))
    return hashlib.sha256(texts.encode("utf-8", "surrogatepass")).digest()
