"""End an iteration early."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def close(iterator: Iterator[Any]) -> None:
    """Close an iterator that can be closed, as a generator can; others have nothing to end."""
    end = getattr(iterator, "close", None)
    if end is not None:
        end()


@contextlib.contextmanager
def closed_after(iterator: Iterator[Any]) -> Iterator[None]:
    """Close an iterator when the block ends, however it ends."""
    try:
        yield
    finally:
        close(iterator)
