"""Tool calls as people write them become OpenAI's calls, whole, or stay for the rules to name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset, validate
from ftsdk.dataset.formats.registry import FORMATS

Row = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
BARE = [{"name": "f", "parameters": SCHEMA}]
ASK, DONE = {"role": "user", "content": "q"}, {"role": "assistant", "content": "done"}
CALL = '{"name": "f", "arguments": {"a": 1}}'


def call(number: int, arguments: str = '{"a":1}') -> Row:
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
    }


def calls(*numbers: int, content: str | None = None) -> Row:
    return {"role": "assistant", "content": content, "tool_calls": [call(n) for n in numbers]}


def result(number: int, content: str = "3", **more: str) -> Row:
    return {"role": "tool", "content": content, "tool_call_id": f"call_{number}", **more}


def read(row: Row) -> Row:
    (found,) = Dataset.load([row])
    return found


def function(arguments: Any, **more: Any) -> Row:
    return {"type": "function", "function": {"name": "f", "arguments": arguments}, **more}


TRL = {"role": "assistant", "tool_calls": [function({"a": 1}), function({"a": 1})]}
READ: dict[str, tuple[Row, list[Row]]] = {
    "TRL": (
        {"messages": [ASK, TRL, {"role": "tool", "name": "f", "content": "3"}, {"role": "tool", "content": "4"}, DONE]},
        [ASK, {"role": "assistant", "tool_calls": [call(1), call(2)]}, result(1, name="f"), result(2, "4"), DONE],
    ),
    "swift": (
        {"messages": [ASK, {"role": "tool_call", "content": CALL}, {"role": "tool_call", "content": CALL},
                      {"role": "tool_response", "content": "3"}, {"role": "tool_response", "content": "4"}, DONE]},
        [ASK, calls(1, 2), result(1), result(2, "4"), DONE],
    ),
    "a text before its calls": (
        {"messages": [ASK, {"role": "assistant", "content": "wait"}, {"role": "tool_call", "content": CALL},
                      {"role": "tool_response", "content": "3"}, DONE]},
        [ASK, calls(1, content="wait"), result(1), DONE],
    ),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": CALL},
                           {"from": "observation", "value": "3"}, {"from": "gpt", "value": "done"}]},
        [ASK, calls(1), result(1), DONE],
    ),
    "ShareGPT, several in one": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": f"[{CALL}, {CALL}]"},
                           {"from": "observation", "value": '[3, "4"]'}, {"from": "gpt", "value": "done"}]},
        [ASK, calls(1, 2), result(1), result(2, "4"), DONE],
    ),
    "Hermes": (
        {"conversations": [{"from": "human", "value": "q"},
                           {"from": "gpt", "value": f"wait\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>{CALL}</tool_call>"},
                           {"from": "tool", "value": "<tool_response>\n3\n</tool_response>\n<tool_response>4</tool_response>"},
                           {"from": "gpt", "value": "done"}]},
        [ASK, calls(1, 2, content="wait"), result(1), result(2, "4"), DONE],
    ),
    "Hermes in Python's notation": (
        {"conversations": [{"from": "human", "value": "q"},
                           {"from": "gpt", "value": "<tool_call>\n{'arguments': {'a': 1}, 'name': 'f'}\n</tool_call>"}]},
        [ASK, calls(1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("tools", [TOOLS, BARE, json.dumps(BARE)])
@pytest.mark.parametrize("name", READ)
def test_calls_are_read(name: str, tools: Any) -> None:
    row, messages = READ[name]
    assert read({**row, "tools": tools}) == {"messages": messages, "tools": TOOLS}
    report = validate([{**row, "tools": tools}], near_duplicates=False)
    assert set(report.counts) == {"FT026"}
    assert read(read({**row, "tools": tools})) == {"messages": messages, "tools": TOOLS}


def test_tools_in_a_system_text_are_declared_and_the_text_is_kept() -> None:
    system = f"You call functions. <tools>{json.dumps(BARE)}</tools> Answer."
    row = {"conversations": [{"from": "system", "value": system}, {"from": "human", "value": "q"},
                             {"from": "gpt", "value": f"<tool_call>{CALL}</tool_call>"}]}  # fmt: skip
    assert read(row) == {
        "messages": [{"role": "system", "content": system}, ASK, calls(1)],
        "tools": TOOLS,
    }
    by_line = system.replace(json.dumps(BARE), f"\n{json.dumps(TOOLS[0])}\n")
    row["conversations"][0]["value"] = by_line
    assert read(row)["tools"] == TOOLS


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"role": "tool_call", "content": "call f"}, "FT104"),
        ({"role": "tool_call", "content": '{"name": 3, "arguments": {}}'}, "FT104"),
        ({"role": "tool_call", "content": '{"name": "f"}'}, "FT104"),
        ({"role": "tool_response", "content": "3"}, "FT116"),
    ],
)
def test_what_is_no_call_is_named(message: Row, code: str) -> None:
    report = validate([{"messages": [ASK, message, DONE], "tools": TOOLS}], near_duplicates=False)
    assert code in [f.code for f in report.faults]


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>{CALL}</tool_call> and more",
        "<tool_call>no json</tool_call>",
        "<tool_call>{'name': open('x')}</tool_call>",
        f"<tool_call>{CALL}",
    ],
)
def test_tags_that_cannot_be_read_whole_stay_text(text: str) -> None:
    row = {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": text}],
        "tools": TOOLS,
    }
    assert read(row)["messages"] == [ASK, {"role": "assistant", "content": text}]


def test_tags_in_rows_without_tools_are_text() -> None:
    text = f"<tool_call>{CALL}</tool_call>"
    for row in (
        {"messages": [ASK, {"role": "assistant", "content": text}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": text}]},
    ):
        assert read(row)["messages"] == [ASK, {"role": "assistant", "content": text}]


def test_ids_of_the_row_are_kept_and_a_missing_one_beside_them_is_a_fault() -> None:
    row = {"messages": [ASK, {"role": "assistant", "tool_calls": [function("{}")]},
                        {"role": "tool", "tool_call_id": "x", "content": "3"}, DONE], "tools": TOOLS}  # fmt: skip
    assert "FT112" in validate([row], near_duplicates=False).counts
    with_id = {"messages": [ASK, {"role": "assistant", "tool_calls": [function("{}", id="x")]},
                            {"role": "tool", "content": "3"}, DONE], "tools": TOOLS}  # fmt: skip
    assert "FT116" in validate([with_id], near_duplicates=False).counts


def test_a_new_id_is_none_of_the_rows_own() -> None:
    first = {"role": "assistant", "tool_calls": [function("{}", id="call_1"), function("{}")]}
    (_, message) = read({"messages": [ASK, first], "tools": TOOLS})["messages"]
    assert [one["id"] for one in message["tool_calls"]] == ["call_1", "call_2"]


# --- nulls that a table filled in ----------------------------------------------------------------

FILLED = {"a": None, "b": None, "c": {"d": None, "e": 1}}
NESTED = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
    "a": {"type": ["integer", "null"]},
    "c": {"type": "object", "properties": {"e": {"type": "integer"}}}}}}}]  # fmt: skip


def test_nulls_that_the_tool_does_not_declare_are_left_out_and_each_is_said() -> None:
    row = {
        "messages": [ASK, {"role": "assistant", "tool_calls": [function(FILLED)]}],
        "tools": NESTED,
    }
    arguments = read(row)["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"a": None, "c": {"e": 1}}
    (notice,) = validate([row], near_duplicates=False).notices
    for words in ("'b' is left out", "'d' is left out", "'a' is kept"):
        assert words in notice.message
    text = function(json.dumps(FILLED))
    row["messages"][1] = {"role": "assistant", "tool_calls": [text]}
    assert read(row)["messages"][1]["tool_calls"][0]["function"]["arguments"] == json.dumps(FILLED)


def test_parquet_loses_no_null_that_is_an_argument(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs ftsdk[data]")
    pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs ftsdk[data]")
    rows = [
        {"messages": [ASK, {"role": "assistant", "tool_calls": [function(arguments)]}],
         "tools": json.dumps(NESTED)}
        for arguments in ({"a": None}, {"a": 1, "b": 2})
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    found = [
        json.loads(row["messages"][1]["tool_calls"][0]["function"]["arguments"])
        for row in Dataset.load(tmp_path / "rows.parquet")
    ]
    assert found == [{"a": None}, {"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"type": "object", "properties": {"city": None}}, ".properties.city"),
        ({"type": "object", "properties": [1]}, ".properties"),
        (
            {"type": "object", "properties": {"a": {"type": "array", "items": None}}},
            ".properties.a.items",
        ),
    ],
)
def test_a_property_that_is_no_schema_is_a_fault(parameters: Any, place: str) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    (fault,) = validate([{"messages": [ASK, DONE], "tools": tools}], near_duplicates=False).faults
    assert (fault.code, fault.field) == ("FT119", f"tools[0].function.parameters{place}")


# --- xLAM and Glaive ---------------------------------------------------------------------------


def test_a_row_of_xlam() -> None:
    tools = [{"name": "f", "description": "d", "parameters": {
        "a": {"type": "int", "description": "x"}, "b": {"type": "List[str], optional"},
        "c": {"type": "str", "default": "y"}}}]  # fmt: skip
    row = {
        "query": "q",
        "answers": json.dumps([{"name": "f", "arguments": {"a": 1}}]),
        "tools": json.dumps(tools),
    }
    assert read(row) == {
        "messages": [ASK, calls(1)],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {
            "type": "object", "required": ["a"], "properties": {
                "a": {"type": "integer", "description": "x"}, "b": {"type": "array"},
                "c": {"type": "string", "default": "y"}}}}}],
    }  # fmt: skip
    assert set(validate([row], near_duplicates=False).counts) == {"FT026"}
    odd = json.dumps([{"name": "f", "parameters": {"a": {"type": "Spaceship"}}}])
    assert read({**row, "tools": odd})["tools"][0]["function"]["parameters"] == {
        "a": {"type": "Spaceship"}
    }


def test_a_row_of_glaive() -> None:
    declared = json.dumps({"name": "f", "parameters": SCHEMA}, indent=4)
    row = {
        "system": f"SYSTEM: You help. Use these functions -\n{declared}\n",
        "chat": "USER: q\n\n\nASSISTANT: <functioncall> {\"name\": \"f\", \"arguments\": '{\"a\": 1}'} <|endoftext|>\n\n\n"
                "FUNCTION RESPONSE: {\"r\": \"it's 3\"}\n\n\nASSISTANT: done <|endoftext|>\n\n\n",
    }  # fmt: skip
    found = read(row)
    assert found["tools"] == TOOLS
    assert found["messages"][1:] == [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call(1, '{"a": 1}')]},
        result(1, '{"r": "it\'s 3"}'),
        DONE,
    ]
    assert set(validate([row], near_duplicates=False).counts) == {"FT026"}


def test_a_finding_in_a_turn_names_its_place_in_the_file() -> None:
    row = {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": CALL},
                             {"from": "observation", "value": "3"}, {"from": "gpt", "value": ""}], "tools": TOOLS}  # fmt: skip
    (fault,) = validate([row], near_duplicates=False).faults
    assert (fault.code, fault.field) == ("FT109", "conversations[3].value")
    assert (
        FORMATS["sharegpt"].field("messages[2].content", json.dumps(row).encode())
        == "conversations[2].value"
    )
