"""Places in a text where a number with separators may be: patterns are tried there, not everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Region = tuple[int, int]

_REGION = re.compile(r"[+(0-9][0-9 ().\-/+]{6,}")
"""A longest run of the characters of card numbers, identity numbers and phone numbers."""


_CLASSES = bytes(
    0x30 if 0x30 <= b <= 0x39 else 0x41 if 0x41 <= b <= 0x5A else 0x20 for b in range(256)
)
_FEWEST = b"0" * 7
_ACCOUNT = re.compile(rb"AA00[A0]{11}")
_START = re.compile(r"(?<![A-Za-z0-9_.\-])[+(0-9]")


class Numbers:
    """The places of a text's numbers with separators, by the digits that they have."""

    def __init__(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass").translate(_CLASSES, b" -.()/+")
        self.may_be_account = _ACCOUNT.search(raw) is not None
        """Whether there may be an account number (IBAN), which has letters."""
        self.may_have_letters = b"AAAA" in raw and b"0" in raw
        """Whether there may be an identity number that begins with letters."""
        self._starts: list[tuple[int, int]] = []
        self._ends: list[tuple[Region, int]] = []
        for match in _REGION.finditer(text) if _FEWEST in raw else ():
            digits = sum(map(match.group().count, "0123456789"))
            if digits >= len(_FEWEST):
                self._ends.append((match.span(), digits))
                for start in _START.finditer(text, *match.span()):
                    self._starts.append((start.start(), digits))

    @property
    def may_match(self) -> bool:
        """Whether there may be any number at all."""
        return bool(self._ends) or self.may_be_account or self.may_have_letters

    def regions(self, least: int) -> list[Region]:
        """The runs that have at least so many digits, seven or more."""
        return [region for region, digits in self._ends if digits >= least]

    def starts(self, least: int) -> list[int]:
        """The places within such runs where a number may begin."""
        return [start for start, digits in self._starts if digits >= least]


def matches_at(
    starts: Iterable[int], pattern: re.Pattern[str], text: str
) -> Iterator[re.Match[str]]:
    """As `pattern.finditer(text)`, for a pattern whose matches begin at one of the places.

    It must not match behind a letter, a digit, a dot or a hyphen.
    """
    last = 0
    for start in starts:
        match = pattern.match(text, start) if start >= last else None  # it sees what is around
        if match is not None:
            yield match
            last = match.end()
