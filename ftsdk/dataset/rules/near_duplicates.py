"""Rows that are nearly the same: MinHash over word triples (the `rensa` library, extra `data`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.row import images_of, shape_of, texts_of
from ftsdk.dataset.rules.duplicates import keys_of
from ftsdk.errors import MissingExtra

note("FT303", "notice", "Nearly duplicate rows", "keep one of them, unless the difference matters",
     "Four of five word triples are shared (MinHash, 128 permutations; the threshold is approximate). Case, "
     "space and the punctuation around words do not count, nor does a system message: it is often "
     "long and the same in all rows. Rows with images are not compared, as words describe too little of "
     "them. A file above 16 MiB is checked only with `near_duplicates=True` "
     "(or `--near-duplicates`); the report says when it was not.")  # fmt: skip
note("FT305", "notice", "Validation rows that are nearly in the training set", "remove them from one of the two",
     "As FT303, across the two sets: such rows leak as equal ones (FT304) do. The line is of the "
     "training set; the message names the line of the validation set.")  # fmt: skip

THRESHOLD = 0.8
_PERMUTATIONS = 128
_BANDS = 16  # of 8: half of the pairs at similarity 0.71, nearly all at 0.8
_AUTO_BYTES = 16 << 20
_SYSTEM = ("system", "developer")
_MEMBERS = 8  # validation rows of one band that a row is compared with


_AROUND_WORDS = ".,;:!?…\"'“”‘’()[]{}*_`"


def shingles(row: dict[str, Any]) -> list[str]:
    """The word triples of a row without its system message.

    Case, white space and the punctuation around words are folded.
    """
    said = [text for _, text in texts_of(_without_system(row))] or [t for _, t in texts_of(row)]
    bare = (word.strip(_AROUND_WORDS) for word in " ".join(said).casefold().split())
    words = [word for word in bare if word]
    if len(words) < 3:
        return [" ".join(words)]
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


def _without_system(row: dict[str, Any]) -> dict[str, Any]:
    """The row without system messages; a preference row without those of its prompt."""
    messages = row.get("messages")
    if isinstance(messages, list):
        kept = [m for m in messages if not isinstance(m, dict) or m.get("role") not in _SYSTEM]
        return {**row, "messages": kept}
    prompt = row.get("input")
    return {**row, "input": _without_system(prompt)} if isinstance(prompt, dict) else row


def why_not_near(asked: bool | None, size_bytes: int | None) -> list[str]:
    """Why near-duplicates are not searched by default; empty where they are, or were asked about."""
    if asked is not None:
        return []
    if importlib.util.find_spec("rensa") is None:
        return ["near-duplicates: they need the package rensa (pip install 'ftsdk[data]')"]
    if size_bytes is not None and size_bytes > _AUTO_BYTES:
        return ["near-duplicates: the file is large; pass --near-duplicates (near_duplicates=True)"]
    return []


class _Alike:
    """The rows of one set: each is paired with the first earlier one that it nearly equals."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, Any]] = []
        self._exact: list[tuple[int, int]] = []
        self._bands: list[dict[int, int]] = [{} for _ in range(_BANDS)]
        self._pairs: dict[int, list[int]] = {}

    def add(self, line: int, row: dict[str, Any], minhash: Any, keys: list[int]) -> None:
        """Remember a row by its signature."""
        me = len(self.kept)
        self.kept.append((line, minhash))
        self._exact.append(keys_of(row, shape_of(row)))
        near: int | None = None
        for band, key in zip(self._bands, keys, strict=True):
            other = band.setdefault(key, me)
            if other != me and near is None and self.kept[other][1].jaccard(minhash) >= THRESHOLD:
                near = other
        if near is not None:
            self._pairs.setdefault(near, []).append(me)

    def faults(self) -> Iterator[Fault]:
        """One notice a group, with the lines of its members (equal rows are FT302)."""
        rule = RULES["FT303"]
        for first, others in self._pairs.items():
            unequal = [o for o in others if self._exact[o] != self._exact[first]]
            if not unequal:
                continue
            lines = tuple(self.kept[i][0] for i in (first, *unequal[:19]))
            yield Fault(
                code="FT303", severity=rule.severity, line=lines[0],
                message=f"{len(unequal) + 1} rows are nearly the same", hint=rule.hint,
                rows=len(unequal) + 1, lines=lines,
            )  # fmt: skip


class NearDuplicates:
    """Signatures of all rows in bands; rows that share a band are compared."""

    def __init__(self) -> None:
        from rensa import RMinHash

        self._make = RMinHash
        self._train, self._validation = _Alike(), _Alike()
        self._validation_bands: list[dict[int, list[int]]] = [{} for _ in range(_BANDS)]
        self._leaks: list[Fault] = []

    @classmethod
    def when_asked(cls, asked: bool | None, size_bytes: int | None) -> NearDuplicates | None:
        """A collector when asked for, or, with None, when it is cheap and possible."""
        if asked is False:
            return None
        there = importlib.util.find_spec("rensa") is not None
        if asked and not there:
            raise MissingExtra(
                "Finding near-duplicates needs the package rensa.",
                hint="pip install 'ftsdk[data]'",
            )
        if asked is None and (not there or size_bytes is None or size_bytes > _AUTO_BYTES):
            return None
        return cls()

    def add_validation(self, line: int, row: dict[str, Any]) -> None:
        """Remember a validation row, with which rows added later are compared."""
        signature = self._signature(row)
        if signature is None:
            return
        me = len(self._validation.kept)
        self._validation.add(line, row, *signature)
        for band, key in zip(self._validation_bands, signature[1], strict=True):
            members = band.setdefault(key, [])
            if len(members) < _MEMBERS:
                members.append(me)

    def add(self, line: int, row: dict[str, Any], *, leaks: bool = False) -> None:
        """Remember a row of the training set.

        With `leaks` it is not compared with the validation rows: it is known to be one of them.
        """
        signature = self._signature(row)
        if signature is None:
            return
        if self._validation.kept and not leaks:
            self._find_leak(line, *signature)
        self._train.add(line, row, *signature)

    def _signature(self, row: dict[str, Any]) -> tuple[Any, list[int]] | None:
        """The MinHash of a row, and the key of each of its bands; None where words are not enough."""
        if not any(True for _ in texts_of(row)) or any(True for _ in images_of(row)):
            return None  # tokenized rows; rows that may differ in their images alone
        minhash = self._make(num_perm=_PERMUTATIONS, seed=42)
        minhash.update(shingles(row))
        digest = minhash.digest()
        size = _PERMUTATIONS // _BANDS
        return minhash, [hash(tuple(digest[b : b + size])) for b in range(0, _PERMUTATIONS, size)]

    def _find_leak(self, line: int, minhash: Any, keys: list[int]) -> None:
        near = {i for band, key in zip(self._validation_bands, keys, strict=True)
                for i in band.get(key, ())}  # fmt: skip
        kept = self._validation.kept
        alike = [(kept[i][1].jaccard(minhash), -kept[i][0]) for i in near]
        likeness, other = max(alike, default=(0.0, 0))
        if likeness < THRESHOLD:
            return
        rule = RULES["FT305"]
        self._leaks.append(
            Fault("FT305", rule.severity, line,
                  f"nearly line {-other} of the validation set ({likeness:.0%} alike)", rule.hint)
        )  # fmt: skip

    def validation_faults(self) -> Iterator[Fault]:
        """Rows of the validation set that are nearly the same."""
        yield from self._validation.faults()

    def faults(self) -> Iterator[Fault]:
        """Rows of the training set that are nearly the same, and those that leak."""
        yield from self._leaks
        yield from self._train.faults()
