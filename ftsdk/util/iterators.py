"""End an iteration early, and take its values a few at a time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def close(iterator: Iterator[Any]) -> None:
    """Close an iterator that can be closed, as a generator can; others have nothing to end."""
    end = getattr(iterator, "close", None)
    if end is not None:
        end()


def in_chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of at most `size`."""
    rest = iter(values)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


@contextlib.contextmanager
def closed_after(iterator: Iterator[Any]) -> Iterator[None]:
    """Close an iterator when the block ends, however it ends."""
    try:
        yield
    finally:
        close(iterator)
