"""Rows that are nearly the same: MinHash over word triples (the `rensa` library, extra `data`)."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.row import OUTPUTS, images_of, shape_of, texts_of
from ftsdk.dataset.rules.duplicates import keys_of
from ftsdk.errors import MissingExtra

note("FT303", "notice", "Nearly duplicate rows", "keep one of them, unless the difference matters",
     "Four of five word triples are shared, and seven of ten in their answers alone (MinHash; the threshold is "
     "approximate). In Chinese, Japanese, Thai and other scripts without spaces they are triples of characters. Case, "
     "space and the punctuation around words do not count, nor does a system message: it is often "
     "long and the same in all rows. Rows with images are not compared, as words describe too little of "
     "them. A file above 16 MiB is checked only with `near_duplicates=True` "
     "(or `--near-duplicates`); the report says when it was not.")  # fmt: skip
note("FT305", "notice", "Validation rows that are nearly in the training set", "remove them from one of the two",
     "As FT303, across the two sets: such rows leak as equal ones (FT304) do. The line is of the "
     "training set; the message names the line of the validation set.")  # fmt: skip

THRESHOLD = 0.8
ANSWER_THRESHOLD = 0.7
"""For the answers alone, of which 64 permutations are kept: prompts of one template differ in theirs."""
_PERMUTATIONS = 128
BANDS = 16  # of 8: half of the pairs at similarity 0.71, nearly all at 0.8
_AUTO_BYTES = 16 << 20
_SYSTEM = ("system", "developer")
_MEMBERS = 8  # validation rows of one band that a row is compared with


_AROUND_WORDS = ".,;:!?…\"'“”‘’()[]{}*_`"


def shingles(row: dict[str, Any]) -> list[str]:
    """The word triples of a row without its system message.

    Case, white space and the punctuation around words are folded. Where a script puts no space
    between words, they are triples of characters.
    """
    said = [text for _, text in texts_of(without_system(row))] or [t for _, t in texts_of(row)]
    return _triples(" ".join(said))


def _answer_shingles(row: dict[str, Any]) -> list[str]:
    """The triples of what a row answers: the end of a chat, both answers of a pair, a whole text."""
    shape = shape_of(row)
    messages = row.get("messages")
    if shape == "chat" and isinstance(messages, list):
        row = {"messages": messages[-1:]}
    elif shape == "preference":
        row = {name: row.get(name) for name in OUTPUTS}
    return _triples(" ".join(text for _, text in texts_of(row)))


_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts that put no space between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def _triples(text: str) -> list[str]:
    """Three words after each other, or three characters where the script has no spaces."""
    bare = (word.strip(_AROUND_WORDS) for word in text.casefold().split())
    words = [word for word in bare if word]
    if not text.isascii() and _UNSPACED.search(text):
        words = [part for word in words for part in _parts(word)]
    if len(words) < 3:
        return [" ".join(words)]
    return [" ".join(words[i : i + 3]) for i in range(len(words) - 2)]


def _parts(word: str) -> list[str]:
    """The letters of a word in a script without spaces; any other word whole."""
    return [ch for ch in word if ch.isalnum()] if _UNSPACED.search(word) else [word]


def without_system(row: dict[str, Any]) -> dict[str, Any]:
    """The row without system messages; a preference row without those of its prompt."""
    messages = row.get("messages")
    if isinstance(messages, list):
        kept = [m for m in messages if not isinstance(m, dict) or m.get("role") not in _SYSTEM]
        return {**row, "messages": kept}
    prompt = row.get("input")
    return {**row, "input": without_system(prompt)} if isinstance(prompt, dict) else row


def why_not_near(asked: bool | None, size_bytes: int | None) -> list[str]:
    """Why near-duplicates are not searched by default; empty where they are, or were asked about."""
    if asked is not None:
        return []
    if importlib.util.find_spec("rensa") is None:
        return ["near-duplicates: they need the package rensa (pip install 'ftsdk[data]')"]
    if size_bytes is not None and size_bytes > _AUTO_BYTES:
        return ["near-duplicates: the file is large; pass --near-duplicates (near_duplicates=True)"]
    return []


def minhash_of(triples: list[str], permutations: int = _PERMUTATIONS) -> Any:
    """The MinHash of triples. Needs the package rensa."""
    from rensa import RMinHash

    minhash = RMinHash(num_perm=permutations, seed=42)
    minhash.update(triples)
    return minhash


def band_keys(minhash: Any) -> list[int]:
    """The key of each of its `BANDS` bands: rows that share one are worth comparing."""
    digest, size = minhash.digest(), _PERMUTATIONS // BANDS
    return [hash(tuple(digest[b : b + size])) for b in range(0, _PERMUTATIONS, size)]


class _Signature(NamedTuple):
    """The MinHash of a row and of its answer, and the key of each band of the first."""

    row: Any
    answer: Any
    keys: list[int]

    def likeness(self, other: _Signature) -> float:
        """The share of the triples that two rows have in common."""
        return float(self.row.jaccard(other.row))

    def is_near(self, other: _Signature) -> bool:
        """Whether two rows are nearly the same, and what they answer, too."""
        return (
            self.likeness(other) >= THRESHOLD
            and float(self.answer.jaccard(other.answer)) >= ANSWER_THRESHOLD
        )


class _Alike:
    """The rows of one set: each is paired with the first earlier one that it nearly equals."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, _Signature]] = []
        self._exact: list[tuple[int, int]] = []
        self._bands: list[dict[int, int]] = [{} for _ in range(BANDS)]
        self._pairs: dict[int, list[int]] = {}

    def add(self, line: int, row: dict[str, Any], signature: _Signature) -> None:
        """Remember a row by its signature."""
        me = len(self.kept)
        self.kept.append((line, signature))
        self._exact.append(keys_of(row, shape_of(row)))
        near: int | None = None
        for band, key in zip(self._bands, signature.keys, strict=True):
            other = band.setdefault(key, me)
            if other != me and near is None and self.kept[other][1].is_near(signature):
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
                message=f"{len(unequal) + 1} rows are nearly the same, their answers too",
                hint=rule.hint,
                rows=len(unequal) + 1, lines=lines,
            )  # fmt: skip


class NearDuplicates:
    """Signatures of all rows in bands; rows that share a band are compared."""

    def __init__(self) -> None:
        self._train, self._validation = _Alike(), _Alike()
        self._validation_bands: list[dict[int, list[int]]] = [{} for _ in range(BANDS)]
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
        self._validation.add(line, row, signature)
        for band, key in zip(self._validation_bands, signature.keys, strict=True):
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
            self._find_leak(line, signature)
        self._train.add(line, row, signature)

    def _signature(self, row: dict[str, Any]) -> _Signature | None:
        """The signature of a row; None where words are not enough."""
        if not any(True for _ in texts_of(row)) or any(True for _ in images_of(row)):
            return None  # tokenized rows; rows that may differ in their images alone
        minhash = minhash_of(shingles(row))
        answer = minhash_of(_answer_shingles(row), _PERMUTATIONS // 2)
        return _Signature(minhash, answer, band_keys(minhash))

    def _find_leak(self, line: int, signature: _Signature) -> None:
        near = {i for band, key in zip(self._validation_bands, signature.keys, strict=True)
                for i in band.get(key, ())}  # fmt: skip
        kept = self._validation.kept
        alike = [(kept[i][1].likeness(signature), -kept[i][0]) for i in near
                 if kept[i][1].is_near(signature)]  # fmt: skip
        if not alike:
            return
        likeness, other = max(alike)
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
