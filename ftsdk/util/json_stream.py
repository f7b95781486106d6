"""JSON that is written piece by piece, so that a long list in it is never in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_BLOCK = 1 << 16


class Streamed(list[Any]):
    """A list of a JSON document whose values are made when they are written."""

    def __init__(self, values: Callable[[], Iterable[Any]]) -> None:
        super().__init__()
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values())

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None


def json_blocks(document: Any) -> Iterator[bytes]:
    """Yield a document as indented JSON with an end of line; a `Streamed` in it is read as it is written."""
    encoder = json.JSONEncoder(indent=2, ensure_ascii=False, allow_nan=False, default=str)
    parts: list[str] = []
    size = 0
    for part in encoder.iterencode(document):  # in Python, not in C, where it is not for one string
        parts.append(part)
        size += len(part)
        if size >= _BLOCK:
            yield "".join(parts).encode("utf-8", "replace")
            parts, size = [], 0
    yield "".join([*parts, "\n"]).encode("utf-8", "replace")
