"""Rows that are nearly the same: MinHash over word triples (the `rensa` library, extra `data`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.report import Fault
from ftsdk.dataset.rules import RULES, note
from ftsdk.dataset.rules_content import texts_of
from ftsdk.errors import MissingExtra

__all__ = ["NearRepeats", "shingles"]

note("FT303", "notice", "Rows that are nearly the same", "keep one of them, unless the difference matters",
     "Four word triples of five are shared (MinHash, 128 permutations; borders are fuzzy). Between "
     "training and validation they leak as equal rows do.")  # fmt: skip

THRESHOLD = 0.8
_PERMUTATIONS = 128
_BANDS = 16  # of 8: half of the pairs at similarity 0.71, nearly all at 0.8
_AUTO_BYTES = 16 << 20


def shingles(row: dict[str, Any]) -> list[str]:
    """The word triples of everything a row says, case and white space folded."""
    words = " ".join(text for _, text in texts_of(row)).casefold().split()
    if len(words) < 3:
        return [" ".join(words)]
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


class NearRepeats:
    """Signatures of all rows in bands; rows that share a band are compared."""

    def __init__(self) -> None:
        from rensa import RMinHash

        self._make = RMinHash
        self._bands: list[dict[int, int]] = [{} for _ in range(_BANDS)]
        self._kept: list[tuple[int, Any]] = []
        self._pairs: dict[int, list[int]] = {}

    @classmethod
    def when_asked(cls, asked: bool | None, size_bytes: int | None) -> NearRepeats | None:
        """A collector when asked for, or (asked is None) when it is cheap and possible."""
        if asked is False:
            return None
        there = importlib.util.find_spec("rensa") is not None
        if asked and not there:
            raise MissingExtra(
                "Looking for near-duplicates needs the package rensa.",
                mend="pip install 'ftsdk[data]'",
            )
        if asked is None and (not there or size_bytes is None or size_bytes > _AUTO_BYTES):
            return None
        return cls()

    def add(self, line: int, row: dict[str, Any]) -> None:
        """Remember a row, and pair it with the first earlier one that it nearly equals."""
        minhash = self._make(num_perm=_PERMUTATIONS, seed=42)
        minhash.update(shingles(row))
        digest = minhash.digest()
        me = len(self._kept)
        self._kept.append((line, minhash))
        rows = _PERMUTATIONS // _BANDS
        near: int | None = None
        for b, band in enumerate(self._bands):
            key = hash(tuple(digest[b * rows : (b + 1) * rows]))
            other = band.setdefault(key, me)
            if other != me and near is None and self._kept[other][1].jaccard(minhash) >= THRESHOLD:
                near = other
        if near is not None:
            self._pairs.setdefault(near, []).append(me)

    def faults(self) -> Iterator[Fault]:
        """One notice a group, with the lines of its members (equal rows are FT302's affair)."""
        rule = RULES["FT303"]
        for first, others in self._pairs.items():
            unequal = [o for o in others if self._kept[o][1].jaccard(self._kept[first][1]) < 1.0]
            if not unequal:
                continue
            lines = tuple(self._kept[i][0] for i in (first, *unequal[:19]))
            yield Fault(
                code="FT303", severity=rule.severity, line=lines[0],
                message=f"{len(unequal) + 1} rows are nearly the same", mend=rule.mend,
                rows=len(unequal) + 1, lines=lines,
            )  # fmt: skip
