"""The expected shape of a reply, and how a real reply differs from it.

A difference names fields and kinds. It repeats no value, except a status or a similar word that is
written in letters alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ftsdk.backends.hosted.coerce import as_count, as_number, as_time

Kind = Literal["text", "count", "number", "time", "flag", "object", "list"]
What = Literal["missing", "renamed", "kind", "unknown value", "new"]

_FITS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "count": lambda value: as_count(value) is not None,
    "number": lambda value: as_number(value) is not None,
    "time": lambda value: as_time(value) is not None,
    "flag": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, Mapping),
    "list": lambda value: isinstance(value, list),
}
_JSON_NAMES: Mapping[type, str] = {
    bool: "true or false", int: "a number", float: "a number", str: "a text", dict: "an object",
    list: "a list", type(None): "null",
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}")
_NO_NAME = "(a name that is not shown)"


@dataclass(frozen=True)
class Field:
    """What ftsdk expects of one field.

    `optional`: it may be missing. `nullable`: it may be null. `words` are the values that ftsdk
    knows, in lower case. `inner` are the fields of an object.
    """

    kind: Kind
    optional: bool = False
    nullable: bool = False
    words: frozenset[str] | None = None
    inner: Mapping[str, Field] | None = None

    def fits(self, value: Any) -> bool:
        """Whether the value is of this kind, and one of the known words."""
        if value is None:
            return self.nullable
        return _FITS[self.kind](value) and (self.words is None or value.lower() in self.words)


@dataclass(frozen=True)
class Shape:
    """The fields that ftsdk reads, and the names of others that the provider documents."""

    fields: Mapping[str, Field]
    others: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Difference:
    """One difference: the field, what is wrong with it, and the detail that may be shown."""

    field: str
    what: What
    detail: str = ""

    @property
    def breaks(self) -> bool:
        """Whether ftsdk reads something wrong because of it; a new field is only news."""
        return self.what != "new"

    def __str__(self) -> str:
        if self.what == "missing":
            return f"{self.field} is missing"
        if self.what == "renamed":
            return f"{self.field} is missing, {self.detail} is new: renamed?"
        if self.what == "kind":
            return f"{self.field} is {self.detail}"
        if self.what == "unknown value":
            return f"{self.field} is {self.detail}, which ftsdk does not know"
        return f"{self.field} is new"


def differences(shape: Shape, reply: Any) -> list[Difference]:
    """Return how one object differs from its shape, in the order of the shape's fields."""
    if not isinstance(reply, Mapping):
        return [Difference("the reply", "kind", f"{_kind_of(reply)}, not an object")]
    return _compared(shape.fields, shape.others, reply, "")


def _compared(
    fields: Mapping[str, Field], others: frozenset[str], reply: Mapping[str, Any], prefix: str
) -> list[Difference]:
    unknown = [name for name in reply if name not in fields and name not in others]
    found: list[Difference] = []
    for name, field in fields.items():
        shown = prefix + name
        if name not in reply:
            if not field.optional:
                found.append(_absent(shown, field, reply, unknown))
        elif not field.fits(reply[name]):
            found.append(_wrong(shown, field, reply[name]))
        elif field.inner is not None and isinstance(reply[name], Mapping):
            found += _compared(field.inner, frozenset(reply[name]), reply[name], f"{shown}.")
    return found + [Difference(prefix + shown_name(name), "new") for name in unknown]


def _absent(shown: str, field: Field, reply: Mapping[str, Any], unknown: list[str]) -> Difference:
    """Return the difference for a missing field; a new one that would fit may be the same."""
    present = [name for name in unknown if reply[name] is not None]
    fitting = [name for name in present if field.fits(reply[name])]
    fitting = fitting or [name for name in present if _FITS[field.kind](reply[name])]
    if len(fitting) == 1:
        unknown.remove(fitting[0])
        return Difference(shown, "renamed", shown_name(fitting[0]))
    return Difference(shown, "missing")


def _wrong(shown: str, field: Field, value: Any) -> Difference:
    if isinstance(value, str) and field.words is not None:
        word = value if _WORD.fullmatch(value) else "(a value that is not shown)"
        return Difference(shown, "unknown value", word)
    expected = {"text": "a text", "count": "a whole number", "number": "a number", "time": "a time",
                "flag": "true or false", "object": "an object", "list": "a list"}  # fmt: skip
    return Difference(shown, "kind", f"{_kind_of(value)}, not {expected[field.kind]}")


def _kind_of(value: Any) -> str:
    return _JSON_NAMES.get(type(value), "something else")


def shown_name(name: str) -> str:
    """Return a field's name, unless it could be somebody's own text."""
    return name if _NAME.fullmatch(name) else _NO_NAME
