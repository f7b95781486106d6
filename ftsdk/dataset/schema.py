"""A small, bounded reader of JSON schemas: does a value fit, and if not, where and why.

Tool parameters use a narrow part of JSON Schema. What is not known here is ignored, never guessed:
a complaint is always right, silence is no proof. Regular expressions (`pattern`) are not run: they
come from outside and may take for ever.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

__all__ = ["complaints"]

MAX_DEPTH = 32
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}

Complaint = tuple[str, str]


def complaints(
    value: Any, schema: Any, root: Any = None, where: str = "", depth: int = 0
) -> Iterator[Complaint]:
    """Yield `(place, why)` for each way in which `value` breaks `schema`."""
    root = schema if root is None else root
    if depth > MAX_DEPTH or not isinstance(schema, dict):
        if schema is False:
            yield where, "nothing is allowed here"
        return
    if isinstance(schema.get("$ref"), str):
        schema = _resolve(schema["$ref"], root)
        if schema is None:
            return
        yield from complaints(value, schema, root, where, depth + 1)
        return
    wrong = _type_complaint(value, schema.get("type"))
    if wrong is not None:
        yield where, wrong
        return
    yield from _of_value(value, schema, where)
    yield from _of_choice(value, schema, root, where, depth)
    if isinstance(value, dict):
        yield from _of_object(value, schema, root, where, depth)
    elif isinstance(value, list):
        yield from _of_array(value, schema, root, where, depth)


def _resolve(reference: str, root: Any) -> Any:
    if not reference.startswith("#/"):
        return root if reference == "#" else None
    found = root
    for step in reference[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


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
    if wanted is None or any(_is(value, name) for name in names):
        return None
    got = next((n for n in _TYPES if _is(value, n)), "value")
    return f"{got} where {' or '.join(map(str, names))} is asked"


def _of_value(value: Any, schema: dict[str, Any], where: str) -> Iterator[Complaint]:
    choices = schema.get("enum")
    if isinstance(choices, list) and not any(_same(value, c) for c in choices):
        yield where, f"{value!r} is none of {', '.join(repr(c) for c in choices[:6])}"
    if "const" in schema and not _same(value, schema["const"]):
        yield where, f"{value!r} is not {schema['const']!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_number(value, schema, where)
    for key, kinds, short in (("minLength", str, True), ("maxLength", str, False),
                              ("minItems", list, True), ("maxItems", list, False)):  # fmt: skip
        limit = schema.get(key)
        if (
            isinstance(value, kinds)
            and type(limit) is int
            and (len(value) < limit if short else len(value) > limit)
        ):
            yield where, f"length {len(value)}, {key} is {limit}"


def _of_number(value: float, schema: dict[str, Any], where: str) -> Iterator[Complaint]:
    tests = (
        ("minimum", operator.lt),
        ("maximum", operator.gt),
        ("exclusiveMinimum", operator.le),
        ("exclusiveMaximum", operator.ge),
    )
    for key, breaks in tests:
        bound = schema.get(key)
        if isinstance(bound, int | float) and not isinstance(bound, bool) and breaks(value, bound):
            yield where, f"{value} breaks {key} {bound}"


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _of_choice(
    value: Any, schema: dict[str, Any], root: Any, where: str, depth: int
) -> Iterator[Complaint]:
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if (
            isinstance(options, list)
            and options
            and all(
                any(True for _ in complaints(value, o, root, where, depth + 1)) for o in options
            )
        ):
            yield where, f"fits none of {key}"
    parts = schema.get("allOf")
    for part in parts if isinstance(parts, list) else []:
        yield from complaints(value, part, root, where, depth + 1)


def _of_object(
    value: dict[str, Any], schema: dict[str, Any], root: Any, where: str, depth: int
) -> Iterator[Complaint]:
    known = schema.get("properties")
    properties = known if isinstance(known, dict) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            yield where, f"{name!r} is missing"
    more = schema.get("additionalProperties")
    for name, item in value.items():
        place = f"{where}.{name}" if where else name
        if name in properties:
            yield from complaints(item, properties[name], root, place, depth + 1)
        elif more is False and "patternProperties" not in schema:
            yield where, f"{name!r} is not a parameter"
        elif isinstance(more, dict):
            yield from complaints(item, more, root, place, depth + 1)


def _of_array(
    value: list[Any], schema: dict[str, Any], root: Any, where: str, depth: int
) -> Iterator[Complaint]:
    items = schema.get("items")
    if isinstance(items, dict):
        for i, item in enumerate(value):
            yield from complaints(item, items, root, f"{where}[{i}]", depth + 1)
