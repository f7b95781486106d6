"""Suggestions for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[object]) -> str:
    """Return `; did you mean X?` when a known name is close to `word`, else an empty string."""
    names = sorted(str(name) for name in known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""
