"""JSON in answers: read strictly, compared as JSON (1 is 1.0, and never true), checked by a schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.dataset.readers.strict_json import Flaw, parse
from ftsdk.dataset.rules.json_schema import complaints

UNREADABLE = object()
"""In place of the value of a text that is not JSON."""
_UNCHECKED = frozenset(
    ("pattern", "patternProperties", "format", "contains", "propertyNames", "dependentRequired",
     "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "multipleOf")
)  # fmt: skip
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions"))
"""Keywords whose keys are names, not keywords."""
_FENCE = "```"


def json_of(text: str, *, fenced: bool = False) -> Any:
    """Return the value of a text that is strict JSON, or `UNREADABLE`.

    Strict means: no NaN, no duplicate keys, nothing around it. With `fenced`, a Markdown code fence
    around it is taken off.
    """
    text = text.strip()
    if fenced and text.startswith(_FENCE) and text.endswith(_FENCE) and "\n" in text:
        text = text.partition("\n")[2].removesuffix(_FENCE)
    try:
        found = parse(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return UNREADABLE
    return UNREADABLE if isinstance(found, Flaw) else found


def is_same(left: Any, right: Any, *, loose: bool = False) -> bool:
    """Return whether two JSON values are equal; with `loose`, strings by their letters and digits."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            is_same(left[key], right[key], loose=loose) for key in left
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            is_same(a, b, loose=loose) for a, b in zip(left, right, strict=True)
        )
    if loose and isinstance(left, str) and isinstance(right, str):
        return _letters(left) == _letters(right)
    return (type(left) is type(right) and left == right) or _numbers_same(left, right)


def schema_faults(value: Any, schema: Any) -> list[str]:
    """Return where a value breaks a schema, as `place: why`; at most ten.

    The schema is read by our own reader: nothing is fetched, and regular expressions are not run
    (see `unchecked`).
    """
    found = []
    for place, why in complaints(value, schema):
        found.append(f"{place}: {why}" if place else why)
        if len(found) == 10:
            break
    return found


def unchecked(schema: Any) -> list[str]:
    """Return the keywords of a schema that are not checked, remote references included."""
    return sorted(set(_keywords(schema, 0)))


def _keywords(schema: Any, depth: int) -> Iterator[str]:
    if depth > 64:
        return
    if isinstance(schema, list):
        for part in schema:
            yield from _keywords(part, depth + 1)
    if not isinstance(schema, Mapping):
        return
    for key, part in schema.items():
        if key in _UNCHECKED:
            yield key
        elif key == "$ref" and not str(part).startswith("#"):
            yield "$ref to another document"
        if key in _NAMED and isinstance(part, Mapping):
            for one in part.values():
                yield from _keywords(one, depth + 1)
        elif key not in ("enum", "const", "default", "examples"):
            yield from _keywords(part, depth + 1)


def _numbers_same(left: Any, right: Any) -> bool:
    return isinstance(left, int | float) and isinstance(right, int | float) and left == right


def _letters(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
