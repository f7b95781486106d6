"""JSON Schema and Google's Schema: the subset of OpenAPI in `functionDeclarations`.

Google's names its types in capitals and says `nullable` where JSON Schema lists two types; it has no
`$ref`, `oneOf`, `const` and the like. The keys are those of the Schema in google-genai 3.6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.shared import Row, left_over

_TYPE_NAMES = ("string", "number", "integer", "boolean", "array", "object", "null")
_NUMBERS = frozenset(
    ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
)
_SCHEMA_KEYS = _NUMBERS | frozenset(
    ("type", "format", "title", "description", "nullable", "default", "items", "enum", "properties",
     "required", "minimum", "maximum", "pattern", "example", "anyOf", "additionalProperties",
     "propertyOrdering")
)  # fmt: skip


def json_schema(schema: Any) -> Any:
    """Google's Schema as JSON Schema: type names in small letters, `nullable` as a type."""
    if not isinstance(schema, dict):
        return schema
    read = dict(schema)
    kind = read.get("type")
    if isinstance(kind, str) and kind.lower() in _TYPE_NAMES:
        read["type"] = kind.lower()
        if read.get("nullable") is True:
            read["type"] = [kind.lower(), "null"]
        if type(read.get("nullable")) is bool:
            del read["nullable"]
    for key in _NUMBERS & read.keys():  # int64 travels as text in Google's JSON
        if isinstance(read[key], str) and read[key].isdecimal():
            read[key] = int(read[key])
    return _inside(read, lambda inner, _: json_schema(inner))


def openapi_schema(schema: Any, place: str, title: str, hits: list[Hit]) -> Any:
    """JSON Schema as Google's Schema; a hit for each keyword that it does not have."""
    if not isinstance(schema, dict):
        hits.append(Hit(place, f"{title} wants an object as schema", schema))
        return schema
    hits += left_over(schema, _SCHEMA_KEYS, f"the schema of {title}", f"{place}.")
    written = dict(schema)
    kind = written.get("type")
    if isinstance(kind, list) and len(kind) == 2 and kind[1] == "null" and kind[0] != "null":
        kind, written["nullable"] = kind[0], True
    if kind is not None:
        if kind not in _TYPE_NAMES:
            hits.append(Hit(f"{place}.type", f"{title} has no type {kind!r}", kind))
        written["type"] = kind.upper() if isinstance(kind, str) else kind
    values = written.get("enum", [])
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        hits.append(Hit(f"{place}.enum", f"an enum of {title} has strings only", values))
    return _inside(written, lambda inner, at: openapi_schema(inner, f"{place}.{at}", title, hits))


def _inside(schema: Row, change: Callable[[Any, str], Any]) -> Row:
    """A schema with the schemas inside it changed."""
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {
            k: change(v, f"properties.{k}") for k, v in schema["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = change(schema[key], key)
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [change(v, f"anyOf[{i}]") for i, v in enumerate(schema["anyOf"])]
    return schema
