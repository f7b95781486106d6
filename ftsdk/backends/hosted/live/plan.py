"""What a provider is asked by `ftsdk doctor --live`, and what is concluded from its answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftsdk.backends.hosted.live.shape import Shape

Verdict = Literal["confirmed", "refuted", "not seen"]

TAG = re.compile(r"(?:^|[^0-9a-z])(ft[0-9a-hjkmnp-tv-z]{12})(?![0-9a-z])")
"""The tag of a job of ftsdk, inside a longer text."""


@dataclass(frozen=True)
class Read:
    """One GET: its name for people, its path, and the shape of each item of its answer.

    `items` is the field with the list; None where the reply is the one object, `*` where the reply
    itself is the list. A path with `{id}` is asked for some items of the read called `each`; where
    `ask` is given, it returns the query for each call from what was seen so far. `optional` reads
    may be missing at some addresses.
    """

    name: str
    path: str
    shape: Shape
    items: str | None = "data"
    query: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    ask: Callable[[Evidence], Iterator[Mapping[str, str]]] | None = None
    optional: bool = False


@dataclass
class Evidence:
    """The answers of a provider, by the name of the read. It stays in memory.

    `ours` are this machine's jobs at the provider: the provider's id, and the tag.
    """

    ours: Mapping[str, str] = field(default_factory=dict)
    answers: dict[str, list[Any]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def of(self, read: str) -> list[Mapping[str, Any]]:
        """Return the objects that a read gave, so far."""
        return [one for one in self.answers.get(read, []) if isinstance(one, Mapping)]

    def was_asked(self, read: str) -> bool:
        """Whether the read was answered."""
        return read in self.answers


Conclusion = tuple[Verdict, str]
"""A verdict, and what it rests on: counts, days, prices and names of base models alone."""
Check = Callable[[Evidence], Conclusion]

NOT_SEEN: Conclusion = ("not seen", "")


@dataclass(frozen=True)
class Plan:
    """The reads of a provider, and the checks of its facts, by the name of the fact.

    A fact of the capability record is called `capabilities.NAME`, one of the catalogue by its path.
    """

    reads: tuple[Read, ...]
    checks: Mapping[str, Check] = field(default_factory=dict)


def counted(number: int, noun: str) -> str:
    """Return `1 job`, `2 jobs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def tag_is_kept(read: str, text_of: Callable[[Mapping[str, Any]], str]) -> Check:
    """Return a check that jobs of a list still carry their tag, in the text that `text_of` gives."""

    def check(seen: Evidence) -> Conclusion:
        kept = lost = 0
        for job in seen.of(read):
            text = text_of(job).lower()
            expected = seen.ours.get(str(job.get("id")))
            if TAG.search(text):
                kept += 1
            elif expected is not None and expected not in text:
                lost += 1
        if lost:
            return "refuted", f"{counted(lost, 'job')} of this machine without a tag"
        return ("confirmed", f"{counted(kept, 'job')} with a tag") if kept else NOT_SEEN

    return check
