"""Names: suggestions for one that does not exist, names of files, and nouns with their number."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def file_name(text: str) -> str:
    """Return a text, such as the name of a model, as the name of a file or folder."""
    return _UNSAFE.sub("-", text).strip("-.") or "unnamed"


def plural(number: int, noun: str) -> str:
    """Return `1 row` or `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(word: str, known: Iterable[object], *, most: int = 1) -> str:
    """Return `; did you mean X or Y?` with at most `most` known names that are close to `word`.

    The closest comes first. An empty string where none is close.
    """
    found = close_names(word, known, most=most)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def close_names(
    word: str, known: Iterable[object], *, most: int = 1, cutoff: float = 0.6
) -> list[str]:
    """Return the known names that are close to `word`, in any case of letters, the closest first."""
    names = {str(name).casefold(): str(name) for name in sorted(known, key=str)}
    found = difflib.get_close_matches(word.casefold(), names, n=most, cutoff=cutoff)
    return [names[name] for name in found]
