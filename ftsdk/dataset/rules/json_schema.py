"""A small, bounded JSON Schema validator: whether a value fits, and if not, where and why.

Tool parameters use a narrow part of JSON Schema. Unknown keywords are ignored, never guessed:
a complaint is always right, but no complaint is no proof. So whether a value fits has three answers (yes, no,
not known), and `oneOf`, `not` and `if` depend on the first two only. Regular expressions (`pattern`)
are not run: they come from the dataset and may not terminate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ftsdk.dataset.findings.finding import short

MAX_DEPTH = 32
"""The depth of nested schemas, references included."""
MAX_LEVELS = 64
"""The depth of nested containers in a value, as in a row."""
MAX_STEPS = 50_000
"""Steps per value: a schema of a few lines can otherwise need an exponential number."""
MAX_REPORTED = 50
"""Complaints per value."""

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
_CONTAINERS = (dict, list)
_LENGTHS: dict[str, tuple[type, Callable[[int, int], bool]]] = {
    "minLength": (str, operator.lt),
    "maxLength": (str, operator.gt),
    "minItems": (list, operator.lt),
    "maxItems": (list, operator.gt),
    "minProperties": (dict, operator.lt),
    "maxProperties": (dict, operator.gt),
}
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.lt,
    "maximum": operator.gt,
    "exclusiveMinimum": operator.le,
    "exclusiveMaximum": operator.ge,
}
_CHOICES = frozenset(("anyOf", "oneOf", "allOf", "not", "if"))
_ANNOTATIONS = frozenset(
    ("$comment", "$defs", "$schema", "default", "definitions", "deprecated", "description", "example",
     "examples", "readOnly", "title", "writeOnly")
)  # fmt: skip

Complaint = tuple[str, str]


def complaints(value: Any, schema: Any) -> Iterator[Complaint]:
    """Yield `(place, why)` for each place where `value` breaks `schema`, `MAX_REPORTED` at most.

    A value with more than `MAX_LEVELS` levels is not checked; the schema must have no more.
    """
    if _is_deep(value):
        return iter(())
    return islice(_Checker(schema).complaints(value, schema, "", 0), MAX_REPORTED)


class _Checker:
    """Checks one value against one schema; `doubted` is set when a part of the schema was not checked."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.steps = 0
        self.doubted = True  # at the top it does not matter whether the value fits for certain
        self.repeating: dict[int, bool] = {}

    def complaints(self, value: Any, schema: Any, where: str, depth: int) -> Iterator[Complaint]:
        if not isinstance(schema, dict):
            self.doubted = self.doubted or not isinstance(schema, bool)
            if schema is False:
                yield where, "nothing is allowed here"
            return
        self.steps += 1 + _weight(value, schema)
        if depth > MAX_DEPTH or self.steps > MAX_STEPS or self._is_foreign(schema):
            self.doubted = True
            return
        if value is None and schema.get("nullable") is True:  # OpenAPI's keyword
            self.doubted = True
            return
        reference = schema.get("$ref")
        if isinstance(reference, str):  # other keys beside it count in newer drafts only
            self.doubted = self.doubted or not schema.keys() <= _ANNOTATIONS | {"$ref"}
            yield from self.complaints(value, self._resolve(reference), where, depth + 1)
            return
        self.doubted = self.doubted or not _is_fully_checked(schema)
        wrong = _type_complaint(value, schema.get("type"))
        if wrong is not None:
            yield where, wrong
            return
        yield from _of_value(value, schema, where)
        if not _CHOICES.isdisjoint(schema):
            yield from self._of_choice(value, schema, where, depth)
        if isinstance(value, dict):
            yield from self._of_object(value, schema, where, depth)
        elif isinstance(value, list):
            yield from self._of_array(value, schema, where, depth)

    def _is_foreign(self, schema: dict[str, Any]) -> bool:
        """Whether references inside have another base than the root."""
        return "$id" in schema and schema is not self.root

    def _resolve(self, reference: str) -> Any:
        if reference == "#":
            return self.root
        if not reference.startswith("#/"):
            return None
        found = self.root
        for step in reference[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def _fits(self, value: Any, schema: Any, depth: int) -> bool | None:
        """Whether the value fits for certain; None where that is not known."""
        before, self.doubted = self.doubted, False
        breaks = any(True for _ in self.complaints(value, schema, "", depth + 1))
        unsure, self.doubted = self.doubted, before
        if breaks:
            return False
        return None if unsure else True

    def _of_choice(
        self, value: Any, schema: dict[str, Any], where: str, depth: int
    ) -> Iterator[Complaint]:
        for key in ("anyOf", "oneOf"):
            options = schema.get(key)
            if isinstance(options, list) and options:
                fits: list[bool | None] = []
                for option in options:
                    fits.append(self._fits(value, option, depth))
                    if key == "anyOf" and fits[-1] is True:
                        break
                if not any(fit is not False for fit in fits):
                    yield where, f"fits none of {key}"
                elif key == "oneOf" and fits.count(True) > 1:
                    yield where, "fits more than one of oneOf"
                elif None in fits and (key == "oneOf" or True not in fits):
                    self.doubted = True
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else []:
            yield from self.complaints(value, part, where, depth + 1)
        if "not" in schema:
            fit = self._fits(value, schema["not"], depth)
            self.doubted = self.doubted or fit is None
            if fit is True:
                yield where, "is what not forbids"
        if "if" in schema and ("then" in schema or "else" in schema):
            fit = self._fits(value, schema["if"], depth)
            self.doubted = self.doubted or fit is None
            branch = "then" if fit else "else"
            if fit is not None and branch in schema:
                yield from self.complaints(value, schema[branch], where, depth + 1)

    def _of_object(
        self, value: dict[str, Any], schema: dict[str, Any], where: str, depth: int
    ) -> Iterator[Complaint]:
        known = schema.get("properties")
        properties = known if isinstance(known, dict) else {}
        required = schema.get("required")
        for name in required if isinstance(required, list) else []:
            if isinstance(name, str) and name not in value:
                yield where, f"{name!r} is missing"
        more = schema.get("additionalProperties")
        if "patternProperties" in schema:  # which names they take, a regular expression says
            more = None
        for name, item in value.items():
            place = f"{where}.{name}" if where else name
            if name in properties:
                yield from self.complaints(item, properties[name], place, depth + 1)
            elif more is False:
                yield where, f"{name!r} is not a parameter"
            elif isinstance(more, dict):
                yield from self.complaints(item, more, place, depth + 1)

    def _of_array(
        self, value: list[Any], schema: dict[str, Any], where: str, depth: int
    ) -> Iterator[Complaint]:
        if schema.get("uniqueItems") is True and self._repeats(value):
            yield where, "two items are the same"
        first, rest = schema.get("prefixItems"), schema.get("items")
        if isinstance(rest, list):  # as drafts up to 2019-09 write prefixItems
            first, rest = rest, None
        heads = first if isinstance(first, list) else []
        for i, item in enumerate(value):
            wanted = heads[i] if i < len(heads) else rest
            if wanted is not None:
                yield from self.complaints(item, wanted, f"{where}[{i}]", depth + 1)

    def _repeats(self, value: list[Any]) -> bool:
        if id(value) not in self.repeating:
            self.repeating[id(value)] = len(set(map(_frozen, value))) < len(value)
        return self.repeating[id(value)]


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        level = [part for part in level if isinstance(part, _CONTAINERS)]
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return True


def _weight(value: Any, schema: dict[str, Any]) -> int:
    """Steps beyond the first that checking long lists is worth."""
    size = len(value) if isinstance(value, _CONTAINERS) else 0
    for key in ("enum", "required"):
        if key in schema and isinstance(schema[key], list):
            size += len(schema[key])
    return size // 100


def _is(value: Any, name: Any) -> bool:
    kinds = _TYPES.get(name) if isinstance(name, str) else None
    if kinds is None:
        return True
    if isinstance(value, bool):
        return bool(name == "boolean")
    if name == "integer" and isinstance(value, float):
        return bool(value.is_integer())
    return bool(isinstance(value, kinds))


def _type_complaint(value: Any, wanted: Any) -> str | None:
    names = wanted if isinstance(wanted, list) else [wanted]
    if wanted is None or not names or any(_is(value, name) for name in names):
        return None
    got = next((n for n in _TYPES if _is(value, n)), "value")
    return f"{got} where {' or '.join(map(str, names))} is asked"


def _of_value(value: Any, schema: dict[str, Any], where: str) -> Iterator[Complaint]:
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and not _is_among(value, choices):
        shown = ", ".join(_shown(c) for c in choices[:6])
        yield where, f"{_shown(value)} is not one of {shown}"
    if "const" in schema and not _same(value, schema["const"]):
        yield where, f"{_shown(value)} is not {_shown(schema['const'])}"
    if _is_number(value):
        for key, bound in schema.items():
            if key in _BOUNDS and _is_number(bound) and _BOUNDS[key](value, bound):
                yield where, f"{value} breaks {key} {bound}"
    elif isinstance(value, str | list | dict):
        yield from _of_length(value, schema, where)


def _of_length(
    value: str | list[Any] | dict[str, Any], schema: dict[str, Any], where: str
) -> Iterator[Complaint]:
    for key, limit in schema.items():
        if key in _LENGTHS and _is_count(limit):
            kind, breaks = _LENGTHS[key]
            if isinstance(value, kind) and breaks(len(value), limit):
                yield where, f"length {len(value)}, {key} is {limit}"


def _shown(value: Any) -> str:
    return short(repr(value))


def _is_among(value: Any, choices: list[Any]) -> bool:
    return value in choices and any(_same(value, choice) for choice in choices)


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and _frozen(left) == _frozen(right)


def _frozen(value: Any) -> Any:
    """A value that can be hashed and is equal where JSON's are: 1 is 1.0, and never true."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return isinstance(value, bool), value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _names_types(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)


_CHECKED: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_ANNOTATIONS, lambda _: True),
    **dict.fromkeys(_LENGTHS, _is_count),
    **dict.fromkeys(_BOUNDS, _is_number),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "enum", "prefixItems"), _is_list),
    **dict.fromkeys(("not", "if", "then", "else", "additionalProperties"), _is_schema),
    "$id": lambda _: True,
    "const": lambda _: True,
    "items": lambda value: _is_schema(value) or _is_list(value),
    "nullable": _is_flag,
    "properties": _is_object,
    "required": lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
    "type": _names_types,
    "uniqueItems": _is_flag,
}
"""The keywords that are checked, with the form they must have; any other leaves a doubt."""


def _is_fully_checked(schema: dict[str, Any]) -> bool:
    return all(key in _CHECKED and _CHECKED[key](part) for key, part in schema.items())
