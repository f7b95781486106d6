"""Answers that are JSON: validity, schema, and fields."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from ftsdk.evaluation.metrics.json_answers import JsonFields, JsonValid
from ftsdk.evaluation.metrics.json_values import (
    UNREADABLE,
    is_same,
    json_of,
    schema_faults,
    unchecked,
)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "valid", "fits"),
    [
        ('{"city": "Oslo", "days": 2}', True, True),
        (' {"city": "Oslo"}\n', True, True),
        ('<think>which?</think>{"city": "Oslo"}', True, True),
        ('{"city": 1}', True, False),
        ('{"days": 0}', True, False),
        ('{"city": "Oslo", "more": 1}', True, False),
        ('[{"city": "Oslo"}]', True, False),
        ('Here it is: {"city": "Oslo"}', False, False),
        ('```json\n{"city": "Oslo"}\n```', False, False),
        ('{"city": "Oslo"', False, False),
        ('{"city": "Oslo", "city": "Rome"}', False, False),
        ('{"city": NaN}', False, False),
        ("", False, False),
        ("\ud800", False, False),
        ("[" * 5_000 + "]" * 5_000, False, False),
    ],
)
def test_validity(row: Any, answer: Any, text: str, valid: bool, fits: bool) -> None:
    one = row("{}")
    assert JsonValid().score(one["messages"][-1], answer(text), one).passed is valid
    score = JsonValid(SCHEMA).score(one["messages"][-1], answer(text), one)
    assert (score.passed, score.value) == (fits, float(fits))
    assert bool(score.detail["faults"]) is not fits


def test_a_code_fence_is_taken_off_only_when_asked() -> None:
    fenced = '```json\n{"a": 1}\n```'
    assert json_of(fenced) is UNREADABLE
    assert json_of(fenced, fenced=True) == {"a": 1}
    assert json_of("``````", fenced=True) is UNREADABLE


def test_no_schema_is_fetched_and_no_pattern_runs() -> None:
    remote = {"$ref": "https://192.0.2.1/schema.json"}
    start, used = time.perf_counter(), time.process_time()
    assert schema_faults({"a": 1}, {"properties": {"a": remote}}) == []
    evil = {"type": "string", "pattern": "^(a+)+$", "format": "email"}
    assert schema_faults("a" * 40 + "!", evil) == []
    assert time.process_time() - used < 5  # the pattern would take for ever
    assert time.perf_counter() - start < 20  # a connection would be tried for longer
    whole = {"properties": {"pattern": remote, "b": evil}, "enum": [{"pattern": 1}]}
    assert unchecked(whole) == ["$ref to another document", "format", "pattern"]
    assert unchecked({"properties": {"pattern": {"type": "string"}}}) == []
    assert unchecked({"$defs": {"format": {"contains": {}}}}) == ["contains"]
    assert unchecked({"items": {"anyOf": [{"pattern": "x"}]}}) == ["pattern"]


def test_at_most_ten_faults_are_named() -> None:
    assert schema_faults(["a"] * 30, {"items": {"type": "integer"}})[9].startswith("[9]: ")
    assert len(schema_faults(["a"] * 30, {"items": {"type": "integer"}})) == 10


def test_a_schema_that_is_too_deep_is_read_as_far_as_it_goes() -> None:
    deep: dict[str, Any] = {"pattern": "x"}
    for _ in range(5_000):
        deep = {"items": deep}
    assert unchecked(deep) == []
    assert unchecked({"format": "date", "items": deep}) == ["format"]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True), (1, True, False), (0, False, False), (True, True, True), (None, None, True),
        ("1", 1, False), ([1, 2], [2, 1], False), ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ({"a": None}, {}, False), ({"a": {"b": [True]}}, {"a": {"b": [1]}}, False), ([], {}, False),
    ],
)  # fmt: skip
def test_values_are_compared_as_json(left: Any, right: Any, same: bool) -> None:
    assert is_same(left, right) is is_same(right, left) is same


def test_loose_texts() -> None:
    assert is_same(["New-York, NY"], ["new york NY"], loose=True)
    assert not is_same(["New-York, NY"], ["new york NY"])
    assert not is_same("-5", 5, loose=True)


def test_fields_one_by_one(row: Any, answer: Any) -> None:
    one, metric = row('{"city": "Oslo", "days": 2}'), JsonFields()
    texts = ['{"days": 2.0, "city": "Oslo"}', '{"city": "Oslo", "days": 3}', '{"city": "Oslo"}',
             '{"city": "Oslo", "days": 2, "note": ""}', "Oslo", "[]"]  # fmt: skip
    scores = [metric.score(one["messages"][-1], answer(text), one) for text in texts]
    assert [score.passed for score in scores] == [True, False, False, False, False, False]
    assert scores[1].detail["fields"] == {"city": True, "days": False}
    assert scores[3].detail["extra"] == ["note"]
    assert scores[4].detail["json"] is False
    summary = metric.summary(scores)
    assert summary["fields"]["city"] == {"rows": 6, "right": 4 / 6}
    assert summary["fields"]["days"]["right"] == 2 / 6


def test_a_reference_that_is_not_json_gives_no_score(row: Any, answer: Any) -> None:
    one = row("Oslo")
    score = JsonFields().score(one["messages"][-1], answer("{}"), one)
    assert (score.value, score.passed) == (None, None)


def test_an_empty_object_is_matched_only_by_one(row: Any, answer: Any) -> None:
    one, metric = row("{}"), JsonFields()
    passed = [
        metric.score(one["messages"][-1], answer(t), one).passed
        for t in ("{}", "", "nothing", '{"a": 1}', "[]")
    ]
    assert passed == [True, False, False, False, False]
    assert json.dumps(metric.summary([])) is not None
