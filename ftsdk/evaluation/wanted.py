"""What is to be asked of one model: each case with each repeat, and the key of its answer."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ftsdk.evaluation.answers import Source, key_of
from ftsdk.evaluation.cases import Case
from ftsdk.types.chat import ChatRequest

_SIZE = 32
"""Bytes of a key, which is a SHA-256."""


@dataclass(frozen=True)
class Wanted:
    """One answer that is wanted: its key, which is the id of its request, and what it is for."""

    case: Case
    repeat: int
    request: ChatRequest

    @property
    def key(self) -> str:
        """The key of the answer in the store."""
        return self.request.id


class WantedAnswers(Sequence[Wanted]):
    """Answers that are wanted. Memory holds their keys; `make` returns one by its place.

    `keys` are theirs, in order, each once.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        make: Callable[[int], Wanted] = lambda _: NotImplemented,
    ) -> None:
        self._keys = bytearray()
        for key in keys:
            self._keys += bytes.fromhex(key)
        self._make = make

    def __len__(self) -> int:
        return len(self._keys) // _SIZE

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._make(one) for one in range(*place.indices(len(self)))]
        return self._make(range(len(self))[place])

    def key(self, place: int) -> str:
        """Return the key of the answer at a place."""
        return self._keys[place * _SIZE : (place + 1) * _SIZE].hex()

    def keys(self) -> Iterator[str]:
        """Yield the keys in order."""
        return map(self.key, range(len(self)))

    def without(self, known: Container[str]) -> Iterator[Wanted]:
        """Yield those whose key is not among `known`, such as a store."""
        return (self._make(place) for place in range(len(self)) if self.key(place) not in known)

    @cached_property
    def _places(self) -> dict[bytes, int]:
        places = range(len(self))
        return {bytes(self._keys[one * _SIZE : (one + 1) * _SIZE]): one for one in places}

    def find(self, key: str) -> Wanted | None:
        """Return the answer with a key; None where it is not wanted."""
        try:
            place = self._places.get(bytes.fromhex(key))
        except ValueError:  # the name of somebody else's request
            return None
        return None if place is None else self._make(place)


def wanted_of(
    source: Source,
    cases: Sequence[Case],
    decoding: Mapping[str, Any],
    repeats: int,
    messages_for: Callable[[int], Sequence[Mapping[str, Any]]] | None = None,
) -> WantedAnswers:
    """Return what is to be asked: all cases once, then all of them again, `repeats` times.

    `decoding` are chat options for every case. `messages_for` returns what is asked in place of the
    messages of a case, by its place. The repeat is in the key only: each is asked with the same
    request.
    """

    def plain(case: Case, place: int) -> ChatRequest:
        messages = case.messages if messages_for is None else tuple(messages_for(place))
        return ChatRequest("", messages, {**case.options, **decoding})

    def make(number: int) -> Wanted:
        repeat, place = divmod(number, len(cases))
        case = cases[place]
        asked = plain(case, place)
        return Wanted(case, repeat, ChatRequest(wanted.key(number), asked.messages, asked.options))

    def keys() -> Iterator[str]:
        for repeat in range(repeats):
            for place, case in enumerate(cases):
                yield key_of(source, plain(case, place), repeat)

    wanted = WantedAnswers(keys(), make)
    return wanted
