"""Slices: parts of the rows that are compared by themselves, by label, length, language or a key."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.row import Row, messages_of
from ftsdk.dataset.rules.language import language_of
from ftsdk.dataset.rules.outliers import script_of
from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics.metric import reference_of, text_of
from ftsdk.evaluation.statistics.compare import MIN_ROWS

MOST_VALUES = 100
"""More values of one key are not slices: most would have a handful of rows."""
Slicer = str | Callable[[Row], Any]


@dataclass(frozen=True)
class Slice:
    """Some rows of the data, as places; `name` is `by=value`, such as `language=German`."""

    name: str
    rows: tuple[int, ...]


def slices_of(rows: Sequence[Row], by: Sequence[Slicer]) -> list[Slice]:
    """Return the slices of the rows, the largest of each kind first.

    `label` slices by the reference answer, `length` by thirds of the length of what is asked,
    `language` by its most common words (or its script); any other name is a key of the row or of its
    `metadata`, whose value may be a list of tags; a function returns the value of a row. Rows without
    a value are in no slice, and so are values with fewer than ten rows. Raises `UsageError` for a key
    that no row has, or with more than `MOST_VALUES` values.
    """
    return [part for one in by for part in _slices(rows, one)]


def _slices(rows: Sequence[Row], by: Slicer) -> list[Slice]:
    name, value_of = _named(rows, by)
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for value in _values(value_of(row)):
            places[value].append(place)
    if not places:
        raise UsageError(
            f"No row has a value for the slices by {name!r}",
            where="the argument slices=",
            hint="give label, length, language, a key of the rows or of their metadata, or a function",
        )
    large = {value: found for value, found in places.items() if len(found) >= MIN_ROWS}
    if len(places) > MOST_VALUES and len(large) < len(places):
        raise UsageError(
            f"{name!r} has {len(places)} values, of which {len(large)} have {MIN_ROWS} rows or more",
            where="the argument slices=",
            hint="slice by something with fewer values, or by a function that groups them",
        )
    order = sorted(large, key=lambda value: (-len(large[value]), value))
    return [Slice(f"{name}={value}", tuple(large[value])) for value in order]


def _named(rows: Sequence[Row], by: Slicer) -> tuple[str, Callable[[Row], Any]]:
    if not isinstance(by, str):
        return getattr(by, "__name__", "function"), by
    known: Mapping[str, Callable[[Row], Any]] = {
        "label": _label,
        "language": language_or_script,
        "length": _length_in(rows),
    }
    return by, known.get(by, lambda row: _key(row, by))


def _values(value: Any) -> list[str]:
    """The slices that a value belongs to: each tag of a list, else the value itself."""
    given = value if isinstance(value, list | tuple | set) else [value]
    return sorted({str(one) for one in given if one is not None and str(one).strip()})


def _key(row: Row, key: str) -> Any:
    if key in row:
        return row[key]
    metadata = row.get("metadata")
    return metadata.get(key) if isinstance(metadata, Mapping) else None


def _label(row: Row) -> str | None:
    reference = reference_of(row)
    return None if reference is None else text_of(reference).strip()


def language_or_script(row: Row) -> str | None:
    """Return the language of what is asked; its script where the words do not decide."""
    text = _asked(row)
    return language_of(text) or script_of(text) or None


def _length_in(rows: Sequence[Row]) -> Callable[[Row], str]:
    """A function that says in which third of the lengths a row is."""
    lengths = [len(_asked(row)) for row in rows]
    if len(set(lengths)) < 3:
        return lambda row: f"{len(_asked(row))} characters"
    low, high = (int(cut) for cut in statistics.quantiles(lengths, n=3))

    def third(row: Row) -> str:
        length = len(_asked(row))
        if length <= low:
            return f"up to {low:,} characters"
        return (
            f"{low + 1:,} to {high:,} characters" if length <= high else f"over {high:,} characters"
        )

    return third


def _asked(row: Row) -> str:
    """The text of what is asked, without the system message and the answer."""
    messages = [message for _, message in messages_of(row)]
    if reference_of(row) is not None:
        messages = messages[:-1]
    asked = [text_of(one) for one in messages if one.get("role") not in ("system", "developer")]
    return "\n".join(text for text in asked if text)


def value_of(row: Row, key: str) -> str | None:
    """Return what a row has under a key, of its own or of its `metadata`; None where it has nothing."""
    value = _key(row, key)
    return None if value is None else str(value)
