"""Tool calls: decision, name, valid JSON, schema, arguments, and parallel calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("scipy", reason="parallel calls are paired by the extra `eval`")

from ftsdk.evaluation.metrics.tool_calls import Call, ToolCalls, calls_in, paired_calls

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]}}}
    for name in ("weather", "hotel")
]  # fmt: skip


def calling(*calls: tuple[str, Any], content: str | None = None) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [
            {"id": f"c{i}", "type": "function", "function": {
                "name": name, "arguments": args if isinstance(args, str) else json.dumps(args)}}
            for i, (name, args) in enumerate(calls)
        ],
    }  # fmt: skip


OSLO, ROME = ("weather", {"city": "Oslo", "days": 2}), ("weather", {"city": "Rome"})


@pytest.mark.parametrize(
    ("reference", "given", "parts"),
    [
        # decision, name, json, schema, arguments
        ([OSLO], [OSLO], (True, True, True, True, True)),
        ([OSLO], [("weather", '{"days": 2.0,\n "city": "Oslo"}')], (True, True, True, True, True)),
        ([OSLO], [("weather", {"city": "oslo", "days": 2})], (True, True, True, True, False)),
        ([OSLO], [("weather", {"city": "Oslo"})], (True, True, True, True, False)),
        ([OSLO], [("weather", {"city": "Oslo", "days": "2"})], (True, True, True, False, False)),
        ([OSLO], [("weather", {"days": 2})], (True, True, True, False, False)),
        ([OSLO], [("hotel", OSLO[1])], (True, False, True, True, False)),
        ([OSLO], [("train", OSLO[1])], (True, False, True, False, False)),
        ([OSLO], [("weather", "{city: Oslo}")], (True, True, False, False, False)),
        ([OSLO], [], (False, None, None, None, None)),
        ([], [OSLO], (False, None, True, True, None)),
        ([], [], (True, None, None, None, None)),
        # parallel calls are in no order, and each must be there once
        ([OSLO, ROME], [ROME, OSLO], (True, True, True, True, True)),
        ([OSLO, ROME], [OSLO, OSLO], (True, True, True, True, False)),
        ([OSLO, ROME], [OSLO], (True, False, True, True, False)),
        ([OSLO], [OSLO, OSLO], (True, False, True, True, False)),
    ],
)
def test_the_parts(row: Any, answer: Any, reference: Any, given: Any, parts: Any) -> None:
    one = row(calling(*reference) if reference else "Hello", tools=TOOLS)
    reply = answer("Let me look.", message=calling(*given, content="Let me look."))
    score = ToolCalls().score(one["messages"][-1], reply, one)
    names = ("decision", "name", "json", "schema", "arguments")
    assert tuple(score.detail[name] for name in names) == parts
    assert score.passed is all(part is not False for part in parts)


def test_parallel_calls_are_paired_for_the_best_sum() -> None:
    """Taking the first that fits would pair Oslo's call with the wrong one."""
    wanted = [Call("f", {"a": 1, "b": 2}), Call("f", {"a": 1, "b": 3})]
    found = [Call("f", {"a": 1, "b": 3}), Call("f", {"a": 1, "b": 9})]
    assert paired_calls(wanted, found) == [(wanted[0], found[1]), (wanted[1], found[0])]


def test_an_equal_call_is_paired_before_one_with_more_arguments() -> None:
    wanted = [Call("f", {"a": 1, "b": 2}), Call("f", {"a": 1, "b": 2, "c": 3})]
    more, equal = Call("f", {"a": 1, "b": 2, "d": 4}), Call("f", {"a": 1, "b": 2})
    for found in ([more, equal], [equal, more]):
        assert paired_calls(wanted, found) == [(wanted[0], equal), (wanted[1], more)]


def test_the_share_of_right_arguments(row: Any, answer: Any) -> None:
    one = row(calling(OSLO, ROME), tools=TOOLS)
    reply = answer(
        message=calling(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo", "days": 3}))
    )
    score = ToolCalls().score(one["messages"][-1], reply, one)
    assert score.detail["arguments"] is False
    assert score.detail["arguments_right"] == pytest.approx(2 / 3)


def test_looser_texts_only_by_option(row: Any, answer: Any) -> None:
    one = row(calling(("weather", {"city": "New York"})), tools=TOOLS)
    reply = answer(message=calling(("weather", {"city": "new-york"})))
    assert ToolCalls().score(one["messages"][-1], reply, one).passed is False
    assert ToolCalls(loose=True).score(one["messages"][-1], reply, one).passed is True


def test_older_and_odd_forms_of_calls() -> None:
    old = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
    assert calls_in(old) == [Call("f", {})]
    as_object = {
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, None, {"id": 1}]
    }
    assert calls_in(as_object) == [Call("f", {"a": 1})]
    without = {"tool_calls": [{"function": {"name": "f"}}]}
    assert calls_in(without) == [Call("f", {})]
    assert calls_in({"content": "no calls", "tool_calls": None}) == []


def test_without_declared_tools_there_is_no_schema_to_break(row: Any, answer: Any) -> None:
    one = row(calling(OSLO))
    score = ToolCalls().score(one["messages"][-1], answer(message=calling(OSLO)), one)
    assert score.passed is True


def test_the_summary_counts_each_part_over_the_rows_that_have_it(row: Any, answer: Any) -> None:
    metric = ToolCalls()
    called, plain = row(calling(OSLO), tools=TOOLS), row("Hello", tools=TOOLS)
    scores = [
        metric.score(called["messages"][-1], answer(message=calling(OSLO)), called),
        metric.score(called["messages"][-1], answer("no"), called),
        metric.score(plain["messages"][-1], answer("Hi"), plain),
    ]
    summary = metric.summary(scores)
    assert summary["mean"] == pytest.approx(2 / 3)
    assert summary["parts"]["decision"] == {"rows": 3, "right": pytest.approx(2 / 3)}
    assert summary["parts"]["arguments"] == {"rows": 1, "right": 1.0}
