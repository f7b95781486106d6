"""Functions of before tools become tools whole, or are named; nothing is dropped on the way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.dataset import fix, validate
from ftsdk.dataset.conversion.legacy_functions import functions_to_tools

WEATHER = {
    "name": "weather",
    "description": "w",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
CALL = {"name": "weather", "arguments": '{"city": "Oslo"}'}
ASKED = {"role": "user", "content": "Weather in Oslo?"}
CALLED = {"role": "assistant", "content": None, "function_call": CALL, "weight": 1}
ANSWER = {"role": "function", "name": "weather", "content": "3"}
SAID = {"role": "assistant", "content": "3 degrees."}
ROW: dict[str, Any] = {"messages": [ASKED, CALLED, ANSWER, SAID], "functions": [WEATHER]}


def written(number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": CALL}


def test_functions_become_tools() -> None:
    before = copy.deepcopy(ROW)
    found = functions_to_tools(ROW)
    assert before == ROW
    assert found.row == {
        "messages": [
            ASKED,
            {"role": "assistant", "content": None, "weight": 1, "tool_calls": [written(1)]},
            {"role": "tool", "name": "weather", "content": "3", "tool_call_id": "call_1"},
            SAID,
        ],
        "tools": [{"type": "function", "function": WEATHER}],
    }
    assert [hit.field for hit in found.changes] == [
        "functions",
        "messages[1].function_call",
        "messages[2].role",
    ]
    assert not found.refused
    assert validate([found.row], near_duplicates=False).counts == {}


def test_arguments_keep_their_bytes_and_ids_are_the_same_each_time() -> None:
    odd = {
        **CALLED,
        "function_call": {"name": "weather", "arguments": '{ "city":\t"\\u004fslo", "n": 1.10}'},
    }
    row = {"messages": [ASKED, odd, ANSWER, odd, ANSWER, SAID], "functions": [WEATHER]}  # fmt: skip
    first, second = functions_to_tools(row), functions_to_tools(copy.deepcopy(row))
    assert first == second
    calls = [m["tool_calls"][0] for m in first.row["messages"] if "tool_calls" in m]
    assert [c["id"] for c in calls] == ["call_1", "call_2"]
    assert {c["function"]["arguments"] for c in calls} == {odd["function_call"]["arguments"]}
    assert [m["tool_call_id"] for m in first.row["messages"] if m["role"] == "tool"] == [
        "call_1",
        "call_2",
    ]


def test_an_id_that_the_row_has_already_is_not_given_again() -> None:
    new = {"role": "assistant", "content": None, "tool_calls": [written(1)]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
    row = {**ROW, "messages": [ASKED, new, result, SAID, ASKED, CALLED, ANSWER, SAID]}
    found = functions_to_tools(row)
    assert found.row["messages"][5]["tool_calls"][0]["id"] == "call_2"
    assert validate([found.row], near_duplicates=False).ok


def test_tools_beside_functions_are_joined_once() -> None:
    other = {"type": "function", "function": {**WEATHER, "name": "tides"}}
    same = {"type": "function", "function": WEATHER}
    for tools in ([other], [other, same], [same, other]):
        found = functions_to_tools({**ROW, "tools": tools}).row
        assert "functions" not in found
        assert sorted(t["function"]["name"] for t in found["tools"]) == ["tides", "weather"]


@pytest.mark.parametrize(
    ("field", "row"),
    [
        ("functions", {**ROW, "functions": {"name": "weather"}}),
        ("functions", {**ROW, "functions": [{"description": "no name"}]}),
        ("tools", {**ROW, "tools": {"weather": {}}}),
        ("functions[0]", {**ROW, "tools": [{"type": "function", "function": {"name": "weather"}}]}),
        ("messages[1].function_call", {**ROW, "messages": [ASKED, {**CALLED, "function_call": "auto"}]}),
        ("messages[1].function_call.mode", {**ROW, "messages": [ASKED, {**CALLED, "function_call": {**CALL, "mode": 1}}]}),
        ("messages[1].function_call", {**ROW, "messages": [ASKED, {**CALLED, "tool_calls": [written(7)]}]}),
        ("messages[1]", {**ROW, "messages": [ASKED, ANSWER, SAID]}),
        ("messages[3]", {**ROW, "messages": [ASKED, CALLED, SAID, ANSWER, SAID]}),
        ("messages[2].name", {**ROW, "messages": [ASKED, CALLED, {**ANSWER, "name": "tides"}, SAID]}),
    ],
)  # fmt: skip
def test_what_has_no_certain_place_is_named_and_the_row_is_kept(
    tmp_path: Path, field: str, row: dict[str, Any]
) -> None:
    found = functions_to_tools(row)
    assert found.row is row
    assert not found.changes
    assert [hit.field for hit in found.refused] == [field]
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps(row) + "\n")
    report = fix(source, tmp_path / "b.jsonl")
    assert json.loads(report.path.read_text()) == row
    assert [(one.line, one.field) for one in report.refused] == [(1, field)]
    assert f"line 1, {field}" in str(report)
    assert report.to_dict()["refused"][0]["field"] == field


def test_a_pair_is_converted_on_every_side() -> None:
    pair = {
        "input": {"messages": [ASKED, CALLED, ANSWER], "functions": [WEATHER]},
        "preferred_output": [{"role": "assistant", "content": None, "function_call": CALL}],
        "non_preferred_output": [SAID],
    }
    found = functions_to_tools(pair)
    assert "functions" not in found.row["input"]
    assert found.row["input"]["tools"][0]["function"] == WEATHER
    assert found.row["preferred_output"][0]["tool_calls"] == [written(2)]
    assert found.row["non_preferred_output"] == [SAID]
    assert validate([found.row], method="dpo", near_duplicates=False).counts == {}


def test_each_side_of_a_pair_answers_the_call_of_the_prompt() -> None:
    pair = {"input": {"messages": [ASKED, CALLED], "functions": [WEATHER]},
            "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}  # fmt: skip
    found = functions_to_tools(pair).row
    assert [found[side][0]["tool_call_id"] for side in ("preferred_output", "non_preferred_output")] == [
        "call_1",
        "call_1",
    ]  # fmt: skip


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.booleans())
def test_every_call_is_answered_by_its_own_result(called: list[bool], named: bool) -> None:
    messages: list[dict[str, Any]] = []
    for calls in called:
        answer = {k: v for k, v in ANSWER.items() if named or k != "name"}
        messages += [ASKED, *([CALLED, answer] if calls else []), SAID]
    found = functions_to_tools({"messages": messages, "functions": [WEATHER]}).row
    assert "function_call" not in json.dumps(found)
    assert len(found["messages"]) == len(messages)
    assert validate([found], near_duplicates=False).ok


def test_rows_without_old_functions_are_the_very_same() -> None:
    nulls = {"messages": [ASKED, {**SAID, "function_call": None}], "functions": None}
    for row in (nulls, {"text": "a"}, {"messages": "no list"}, {"input": "a"}):
        assert functions_to_tools(row) == (row, (), ())


def test_fix_writes_tools_that_every_provider_reads(tmp_path: Path) -> None:
    source = tmp_path / "old.jsonl"
    rows = [
        {**ROW, "messages": [{**ASKED, "content": f"Weather {n}?"}, *ROW["messages"][1:]]}
        for n in range(12)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))  # fmt: skip
    before = validate(source, provider="local", near_duplicates=False)
    assert set(before.counts) >= {"FT206", "FT132"}
    assert validate(source, provider="openai", near_duplicates=False).ok
    report = fix(source, tmp_path / "new.jsonl")
    assert report.counts == {"FT132": 36}
    assert not report.refused
    for provider in ("openai", "local"):
        after = validate(report.path, provider=provider, near_duplicates=False)
        assert after.ok
        assert "FT132" not in after.counts


def test_objects_in_old_calls_become_strings_as_well(tmp_path: Path) -> None:
    row = {
        **ROW,
        "messages": [
            ASKED,
            {**CALLED, "function_call": {"name": "weather", "arguments": {"city": "Oslo"}}},
        ],
    }
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps(row) + "\n")  # fmt: skip
    report = fix(source, tmp_path / "b.jsonl")
    assert report.counts == {"FT132": 2, "FT113": 1}
    assert validate(report.path, near_duplicates=False).counts == {}
