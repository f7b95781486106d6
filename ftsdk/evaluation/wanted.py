"""What is to be asked of one model: each case with each repeat, and the key of its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ftsdk.evaluation.answers import Source, key_of
from ftsdk.evaluation.cases import Case
from ftsdk.types.chat import ChatRequest


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


def wanted_of(
    source: Source, cases: Iterable[Case], decoding: Mapping[str, Any], repeats: int
) -> list[Wanted]:
    """Return what is to be asked: all cases once, then all of them again, `repeats` times.

    `decoding` are chat options for every case. The repeat is in the key only: each is asked with the
    same request.
    """
    found = []
    for repeat in range(repeats):
        for case in cases:
            plain = ChatRequest("", case.messages, {**case.options, **decoding})
            key = key_of(source, plain, repeat)
            found.append(Wanted(case, repeat, ChatRequest(key, plain.messages, plain.options)))
    return found
