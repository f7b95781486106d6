"""The reader of tool schemas: a complaint is always right, and no schema takes for ever."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry

from ftsdk.dataset import validate
from ftsdk.dataset.rules.json_schema import complaints

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "value", "outcome"),
    [
        # oneOf
        ({"oneOf": [STRING, {"type": "null"}]}, "a", []),
        ({"oneOf": [STRING, {"type": "null"}]}, 1, [("", "fits none of oneOf")]),
        ({"oneOf": [{"type": "number"}, INTEGER]}, 3, [("", "fits more than one of oneOf")]),
        ({"oneOf": [{"type": "number"}, INTEGER]}, 3.5, []),
        ({"properties": {"a": {"oneOf": [STRING, {"maxLength": 3}]}}}, {"a": "ab"},
         [("a", "fits more than one of oneOf")]),
        # uniqueItems, where 1 is 1.0 and never true
        ({"uniqueItems": True}, [1, 2, 1], [("", "two items are the same")]),
        ({"uniqueItems": True}, [1, 1.0], [("", "two items are the same")]),
        ({"uniqueItems": True}, [{"a": [1], "b": 2}, {"b": 2, "a": [1]}], [("", "two items are the same")]),
        ({"uniqueItems": True}, [1, True, "1", None, 0, False, [1], [True], {"a": 1}, {"a": True}], []),
        ({"uniqueItems": False}, [1, 1], []),
        # not, if
        ({"not": {"required": ["a"]}}, {"a": 1}, [("", "is what not forbids")]),
        ({"not": {"required": ["a"]}}, {"b": 1}, []),
        ({"if": {"properties": {"kind": {"const": "x"}}}, "then": {"required": ["y"]}}, {"kind": "x"},
         [("", "'y' is missing")]),
        ({"if": {"properties": {"kind": {"const": "x"}}}, "then": {"required": ["y"]}}, {"kind": "z"}, []),
        ({"if": {"type": "object"}, "else": {"minimum": 3}}, 2, [("", "2 breaks minimum 3")]),
        # places, and several at once
        ({"properties": {"items": {"items": {"properties": {"name": STRING}}}}, "required": ["b", "c"]},
         {"items": [{"name": "a"}, {"name": 1}, {"name": None}]},
         [("", "'b' is missing"), ("", "'c' is missing"),
          ("items[1].name", "integer where string is asked"), ("items[2].name", "null where string is asked")]),
        ({"minProperties": 2}, {"a": 1}, [("", "length 1, minProperties is 2")]),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, [("", "length 2, maxProperties is 1")]),
        ({"enum": [[1], {"a": True}]}, [True], [("", "[True] is not one of [1], {'a': True}")]),
        ({"const": {"a": 1}}, {"a": True}, [("", "{'a': True} is not {'a': 1}")]),
        # a list of schemas, by position: prefixItems, and items up to 2019-09
        ({"prefixItems": [STRING], "items": INTEGER}, ["a", 1], []),
        ({"prefixItems": [STRING], "items": INTEGER}, [1, "a"],
         [("[0]", "integer where string is asked"), ("[1]", "string where integer is asked")]),
        ({"prefixItems": [STRING], "items": False}, ["a", 1], [("[1]", "nothing is allowed here")]),
        ({"items": [STRING, INTEGER]}, ["a", "b", None], [("[1]", "string where integer is asked")]),
        ({"type": "integer", "maximum": 10}, 1e300, [("", "1e+300 breaks maximum 10")]),
        ({"maximum": 2**53}, 2**53 + 1, [("", f"{2**53 + 1} breaks maximum {2**53}")]),
        # references inside the schema
        ({"$defs": {"a/b": INTEGER}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}}, {"x": "1"},
         [("x", "string where integer is asked")]),
        ({"properties": {"next": {"$ref": "#"}}, "additionalProperties": False}, {"next": {"next": {"last": 1}}},
         [("next.next", "'last' is not a parameter")]),
    ],
)  # fmt: skip
def test_what_is_reported(schema: Any, value: Any, outcome: list[tuple[str, str]]) -> None:
    assert list(complaints(value, schema)) == outcome


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        # What is not checked may fit or not: it decides no oneOf, not or if.
        ({"oneOf": [{"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^b"}]}, "ab"),
        ({"oneOf": [{"type": "string", "format": "date"}, STRING]}, "today"),
        ({"not": {"pattern": "^a"}}, "a"),
        ({"not": {"type": "text"}}, 1),
        ({"not": {"minLength": "3"}}, "a"),
        ({"not": {"$ref": "https://schemas.example/a"}}, 1),
        ({"not": {"$ref": "#/$defs/lost"}}, 1),
        ({"not": {"anyOf": [{"pattern": "^a"}, {"type": "null"}]}}, "a"),
        ({"not": {"not": {"pattern": "^a"}}}, "b"),
        ({"not": {"$ref": "#/$defs/a", "minimum": 3}, "$defs": {"a": INTEGER}}, 2),
        ({"if": {"pattern": "^a"}, "then": False, "else": False}, "a"),
        # patternProperties may take any name
        ({"patternProperties": {"^x-": {}}, "additionalProperties": INTEGER}, {"x-a": "b"}),
        ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"x-a": "b"}),
        # words of OpenAPI, of Google and of nobody
        ({"properties": {"a": {"type": "string", "nullable": True, "enum": ["b"], "example": 3}}}, {"a": None}),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": 1}),
        ({"type": "dict", "properties": {"a": {"type": "any", "required": True}}}, {"a": 1}),
        ({"type": []}, 1),
        ({"enum": []}, 1),
        # references inside another schema have its base
        ({"$defs": {"a": STRING}, "properties": {"x": {"$id": "https://schemas.example/x", "$defs": {"a": INTEGER}, "$ref": "#/$defs/a"}}},
         {"x": 1}),
        # references in a circle
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#"}]}, {}),
        ({"not": {"$ref": "#"}}, {}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_not_reported(schema: Any, value: Any) -> None:
    assert list(complaints(value, schema)) == []


def test_the_rest_of_a_schema_counts_beside_a_word_that_is_not_known() -> None:
    schema = {"type": "dict", "properties": {"a": {"type": "any"}, "b": INTEGER}, "required": ["a"]}
    assert list(complaints({"b": "1"}, schema)) == [
        ("", "'a' is missing"),
        ("b", "string where integer is asked"),
    ]


def multiplying(keyword: str, levels: int = 40) -> dict[str, Any]:
    """A schema of a few lines that asks for 9 to the power of `levels` looks at a value."""
    inner = {f"d{i}": {keyword: [{"$ref": f"#/$defs/d{i + 1}"}] * 9} for i in range(levels)}
    return {"$defs": {**inner, f"d{levels}": INTEGER}, "$ref": "#/$defs/d0"}


def levels_of(schema: dict[str, Any], levels: int) -> dict[str, Any]:
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return schema


WIDE = {f"p{i}": INTEGER for i in range(10_000)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (multiplying("anyOf"), "x"),
        (multiplying("oneOf"), 1),
        (multiplying("allOf"), 1),
        (multiplying("anyOf", 12), "x"),
        ({"pattern": "(a+)+$"}, "a" * 100_000 + "!"),
        ({"items": {"enum": [f"v{i}" for i in range(20_000)]}}, ["v19999"] * 20_000),
        ({"anyOf": [{"uniqueItems": True, "maxItems": 1}] * 5000}, list(range(5000))),
        ({"properties": WIDE, "required": list(WIDE), "additionalProperties": False},
         {f"q{i}": "x" for i in range(10_000)}),
        ({"properties": WIDE}, dict.fromkeys(WIDE, "x")),
        (levels_of(INTEGER, 60), json.loads('{"a":' * 60 + "1" + "}" * 60)),
    ],
    ids=["anyOf", "oneOf", "allOf", "anyOf12", "pattern", "enum", "unique", "wide", "types", "levels"],
)  # fmt: skip
def test_no_schema_takes_long(schema: Any, value: Any) -> None:
    began = time.process_time()
    assert len(list(complaints(value, schema))) <= 50
    assert time.process_time() - began < 2  # mostly far below; the machine may be busy


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_a_reference_to_elsewhere_is_not_followed(listener: socket.socket, tmp_path: Any) -> None:
    held = tmp_path / "held.json"
    held.write_text('{"type": "integer"}')
    port = listener.getsockname()[1]
    for reference in (f"http://127.0.0.1:{port}/a", held.as_uri(), str(held)):
        assert list(complaints("x", {"$ref": reference})) == []
        assert list(complaints("x", {"$id": f"http://127.0.0.1:{port}/", "$ref": "a"})) == []
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"properties": {"a": {"enum": [1]}}}, '{"a":' + "[" * 1000 + "]" * 1000 + "}"),
        ({"required": ["b"]}, '{"a":' + "[" * 1000 + "]" * 1000 + "}"),
        ({"uniqueItems": True}, '{"a":[' + ("[" * 900 + "]" * 900 + ",") + "1]}"),
    ],
)
def test_arguments_of_a_thousand_levels_are_no_crash(schema: Any, arguments: str) -> None:
    function = {"name": "f", "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    row = {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
    }
    report = validate([row], near_duplicates=False, tokens=False)
    assert {f.code for f in report.faults} <= {"FT113"}


def test_a_long_value_makes_no_long_message() -> None:
    ((_, why),) = complaints({"a": "x" * 10_000}, {"properties": {"a": {"enum": ["y" * 10_000]}}})
    assert len(why) < 200


SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "ab", 1.0, 0.5])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "boolean", "null", "integer", "number"])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(0, 3)
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=2, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES,
            "minimum": small, "exclusiveMaximum": small,
            "minLength": small, "maxItems": small, "minProperties": small,
            "uniqueItems": st.booleans(), "pattern": st.just("^a"),
            "anyOf": several, "oneOf": several, "allOf": several, "not": inner,
            "if": inner, "then": inner, "else": inner,
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "patternProperties": st.dictionaries(st.sampled_from("abc"), inner, max_size=1),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": inner, "items": inner, "prefixItems": several,
            "contains": inner, "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
        },
    )  # fmt: skip


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS, SCHEMAS, SCHEMAS, VALUES)
def test_every_complaint_is_right(schema: Any, a: Any, b: Any, value: Any) -> None:
    """Whatever is reported, the reference implementation refuses as well."""
    whole = {"$defs": {"a": a, "b": b}, "allOf": [schema]}
    if list(complaints(value, whole)):
        try:
            valid = jsonschema.Draft202012Validator(whole, registry=Registry()).is_valid(value)
        except RecursionError:  # references in a circle, which it does not end
            return
        assert not valid
