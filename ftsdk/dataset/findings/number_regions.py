"""Places in a text where a number with separators may be: patterns are tried there, not everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

Region = tuple[int, int]

_REGION = re.compile(r"[+(0-9][0-9 ().\-/+]{6,}")
"""A longest run of the characters of card numbers, identity numbers and phone numbers."""


def regions_of(text: str, least: int) -> Iterator[Region]:
    """The places of the runs that have at least so many digits, seven characters or more."""
    for match in _REGION.finditer(text):
        if sum(map(match.group().count, "0123456789")) >= least:
            yield match.span()


def within(
    regions: Iterable[Region], pattern: re.Pattern[str], text: str
) -> Iterator[re.Match[str]]:
    """As `pattern.finditer(text)`, for a pattern whose matches begin in regions."""
    for start, end in regions:
        at = start
        while at < end:
            match = pattern.match(text, at)  # it sees what is before and behind
            if match is None:
                at += 1
            else:
                yield match
                at = match.end()
