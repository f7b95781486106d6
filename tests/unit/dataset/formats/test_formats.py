"""Tools, images and reasoning through the formats of Google and Bedrock, there and back."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset, convert, validate
from ftsdk.dataset.conversion.convert import WRITERS
from ftsdk.dataset.formats.registry import FORMATS, detect
from ftsdk.errors import DatasetError

Row = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def there_and_back(row: Row, to: str) -> Row:
    written = WRITERS[to](row)
    assert isinstance(written, dict), written
    wire = json.loads(json.dumps(written))
    assert detect(wire) == to
    return FORMATS[to].read(wire)


# --- as the providers' pages show it ----------------------------------------------------------

GEMINI: Row = {
    "system_instruction": {"role": "system", "parts": [{"text": "You help in a shop."}]},
    "contents": [
        {"role": "user", "parts": [{"file_data": {"mime_type": "image/jpeg", "file_uri": "gs://shop/17.jpeg"}},
                                   {"text": "Is this in stock?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "stock", "args": {"article": 17}}},
                                    {"functionCall": {"name": "price", "args": {"article": 17}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "stock", "response": {"count": 3}}},
                                       {"functionResponse": {"name": "price", "response": {"output": "9 €"}}}]},
        {"role": "model", "parts": [{"text": "Yes, three, for 9 €."}]},
    ],
    "tools": [{"function_declarations": [
        {"name": "stock", "description": "How many there are.",
         "parameters": {"type": "OBJECT", "properties": {"article": {"type": "INTEGER", "nullable": True},
                                                         "tags": {"type": "ARRAY", "minItems": "1", "items": {"type": "STRING"}}}}},
        {"name": "price", "description": "What it costs.", "parameters": {"type": "OBJECT", "properties": {"article": {"type": "INTEGER"}}}},
    ]}],
}  # fmt: skip


def test_a_row_of_contents_is_read_whole() -> None:
    read = FORMATS["gemini"].read(GEMINI)
    assert read["messages"] == [
        {"role": "system", "content": "You help in a shop."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "gs://shop/17.jpeg"}},
                                     {"type": "text", "text": "Is this in stock?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "stock", "arguments": '{"article":17}'}},
            {"id": "call_2", "type": "function", "function": {"name": "price", "arguments": '{"article":17}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"count":3}'},
        {"role": "tool", "tool_call_id": "call_2", "content": "9 €"},
        {"role": "assistant", "content": "Yes, three, for 9 €."},
    ]  # fmt: skip
    parameters = read["tools"][0]["function"]["parameters"]
    assert parameters["properties"] == {
        "article": {"type": ["integer", "null"]},
        "tags": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    }
    report = validate([GEMINI], provider="vertex", near_duplicates=False, tokens=False)
    assert report.faults == ()
    written = WRITERS["gemini"](read)
    assert isinstance(written, dict)
    assert list(written) == ["systemInstruction", "contents", "tools"]
    assert written["contents"][2]["role"] == "user"
    assert FORMATS["gemini"].read(written) == read


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda r: r["contents"][1]["parts"][0]["functionCall"]["args"].update(article="x"), "FT118", "contents[1].parts"),
        (lambda r: r["contents"][1].update(role="assistant"), "FT104", "contents[1].role"),
        (lambda r: r["contents"][2]["parts"].pop(), "FT115", "contents[1].parts"),
        (lambda r: r["contents"][2]["parts"][0]["functionResponse"].update(name="other"), "FT116", "contents[2].parts"),
        (lambda r: r["contents"][3].update(parts=[{"text": ""}]), "FT109", "contents[3].parts"),
        (lambda r: r["contents"][0]["parts"].append({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b.mp4"}}),
         "FT106", "contents[0].parts[2]"),
        (lambda r: r["contents"][0]["parts"][0]["file_data"].update(file_uri="file:///etc/passwd"), "FT121",
         "contents[0].parts[0].image_url.url"),
        (lambda r: r["tools"][0]["function_declarations"].pop(), "FT117", "contents[1].parts"),
        (lambda r: r.update(tools=[{"googleSearch": {}}]), "FT119", "tools[0]"),
        (lambda r: r["contents"][0]["parts"][0].update(inlineData={"mimeType": "image/png", "data": "x"}), "FT106",
         "contents[0].parts[0]"),
    ],
)  # fmt: skip
def test_faults_of_contents_have_their_places(change: Any, code: str, field: str) -> None:
    row = copy.deepcopy(GEMINI)
    change(row)
    report = validate([row], near_duplicates=False, tokens=False)
    assert (code, field) in [(f.code, f.field) for f in report.faults]


def tools(**parameters: Any) -> list[Row]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


ASK: Row = {"role": "user", "content": "a"}
SAID: Row = {"role": "assistant", "content": "b"}


def pictured(**image: Any) -> Row:
    return {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}, SAID]
    }


def called(arguments: str = "{}", **more: Any) -> Row:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": arguments},
        **more,
    }
    return {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (pictured(url="https://a.org/x"), "messages[0].content[0].image_url.url"),
        (pictured(url="https://a.org/x.png", detail="high"), "messages[0].content[0].image_url.detail"),
        (pictured(url="data:image/png,raw"), "messages[0].content[0].image_url.url"),
        (called("[1]"), "messages[1].tool_calls[0].function.arguments"),
        (called('{"a":1,"a":2}'), "messages[1].tool_calls[0].function.arguments"),
        (called('{"a":123456789012345678901234567890}'), "messages[1].tool_calls[0].function.arguments"),
        (called(index=0), "messages[1].tool_calls[0].index"),
        ({"messages": [ASK, SAID], "tools": tools(type="object", oneOf=[])}, "tools[0].function.parameters.oneOf"),
        ({"messages": [ASK, SAID], "tools": tools(type="object", properties={"a": {"type": "integer", "enum": [1]}})},
         "tools[0].function.parameters.properties.a.enum"),
        ({"messages": [ASK, SAID], "tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
         "tools[0].function.strict"),
        ({"messages": [ASK, SAID], "parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"messages": [ASK, SAID | {"weight": 1}]}, "messages[1].weight"),
        ({"messages": [ASK, SAID | {"reasoning_content": "x"}]}, "messages[1].reasoning_content"),
        ({"messages": [ASK, {"role": "tool", "tool_call_id": "x", "content": "y"}, SAID]}, "messages[1].tool_call_id"),
        ({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}, ASK, SAID]},
         "messages[0].content"),
        ({"messages": [ASK, {"role": "system", "content": "x"}, SAID]}, "messages[1].role"),
        ({"messages": [{"role": "developer", "content": "x"}, ASK, SAID]}, "messages[0].role"),
    ],
)  # fmt: skip
def test_what_contents_cannot_carry_is_named(row: Row, field: str) -> None:
    hits = WRITERS["gemini"](row)
    assert isinstance(hits, list)
    assert [h.field for h in hits] == [field]


def test_results_out_of_order_are_refused_only_where_they_would_be_mixed_up() -> None:
    def row(first: str, second: str) -> Row:
        calls = [{"id": i, "type": "function", "function": {"name": n, "arguments": "{}"}}
                 for i, n in (("x", first), ("y", second))]  # fmt: skip
        answers = [{"role": "tool", "tool_call_id": i, "content": i} for i in ("y", "x")]
        return {
            "messages": [
                ASK,
                {"role": "assistant", "content": None, "tool_calls": calls},
                *answers,
                SAID,
            ]
        }

    hits = WRITERS["gemini"](row("f", "f"))
    assert isinstance(hits, list)
    assert "order" in hits[0].message
    read = there_and_back(row("f", "g"), "gemini")
    assert [m.get("tool_call_id") for m in read["messages"]] == [
        None,
        None,
        "call_2",
        "call_1",
        None,
    ]


def test_an_embedded_image_is_contents_but_not_vertex(tmp_path: Path) -> None:
    row = pictured(url=PNG)
    assert there_and_back(row, "gemini") == row
    with pytest.raises(DatasetError) as caught:
        convert([row], "vertex", tmp_path / "out.jsonl")
    assert [(f.code, f.field) for f in caught.value.report.faults] == [
        ("FT209", "messages[0].content[0].image_url.url")
    ]
    kept = pictured(url="gs://b/x.png") | {
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    }
    assert convert([kept], "vertex", tmp_path / "out.jsonl") == 1
    assert list(Dataset.load(tmp_path / "out.jsonl")) == [kept]


# --- Bedrock ----------------------------------------------------------------------------------

CONVERSE: Row = {
    "schemaVersion": "bedrock-conversation-2024",
    "system": [{"text": "You help in a shop."}],
    "toolConfig": {"tools": [{"toolSpec": {"name": "stock", "description": "How many there are.", "inputSchema": {
        "json": {"type": "object", "properties": {"article": {"type": "integer"}}, "required": ["article"]}}}}]},
    "messages": [
        {"role": "user", "content": [{"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://shop/17.jpeg", "bucketOwner": "123"}}}},
                                     {"text": "Is this in stock?"}]},
        {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "I look."}}},
                                          {"toolUse": {"toolUseId": "u1", "name": "stock", "input": {"article": 17}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "u1", "content": [{"json": {"count": 3}}]}},
                                     {"text": "And in red?"}]},
        {"role": "assistant", "content": [{"text": "Three, none in red."}]},
    ],
}  # fmt: skip


def test_a_converse_row_is_read_whole() -> None:
    read = FORMATS["converse"].read(CONVERSE)
    assert read["messages"] == [
        {"role": "system", "content": "You help in a shop."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "s3://shop/17.jpeg", "bucket_owner": "123"}},
                                     {"type": "text", "text": "Is this in stock?"}]},
        {"role": "assistant", "content": None, "reasoning_content": "I look.", "tool_calls": [
            {"id": "u1", "type": "function", "function": {"name": "stock", "arguments": '{"article":17}'}}]},
        {"role": "tool", "tool_call_id": "u1", "content": '{"count":3}'},
        {"role": "user", "content": "And in red?"},
        {"role": "assistant", "content": "Three, none in red."},
    ]  # fmt: skip
    assert set(read) == {"messages", "tools"}
    assert FORMATS["converse"].read(WRITERS["converse"](read)) == read
    assert validate([CONVERSE], near_duplicates=False, tokens=False).faults == ()


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda r: r["messages"][1]["content"][1]["toolUse"]["input"].update(article="x"), "FT118", "messages[1].tool_calls[0].function.arguments"),
        (lambda r: r["messages"][2].update(role="tool"), "FT104", "messages[2].role"),
        (lambda r: r["messages"][2]["content"][0]["toolResult"].update(toolUseId="u2"), "FT116", "messages[2].tool_call_id"),
        (lambda r: r["messages"][3].update(content="Three."), "FT105", "messages[3].content"),
        (lambda r: r["messages"][3].update(content=[{"text": " "}]), "FT109", "messages[3].content"),
        (lambda r: r["messages"][0]["content"].append({"video": {"format": "mp4", "source": {}}}), "FT106", "messages[0].content[2]"),
    ],
)  # fmt: skip
def test_faults_of_converse_rows_have_their_places(change: Any, code: str, field: str) -> None:
    row = copy.deepcopy(CONVERSE)
    change(row)
    report = validate([row], near_duplicates=False, tokens=False)
    assert (code, field) in [(f.code, f.field) for f in report.faults]


def on_bedrock(row: Row, model: str | None) -> list[tuple[str, str]]:
    report = validate(
        [row] * 8, provider="bedrock", model=model, near_duplicates=False, tokens=False
    )
    assert report.format == "converse"
    return sorted({(f.code, f.field.partition("[")[0]) for f in report.faults})


def test_bedrock_refuses_tools_by_name_and_says_where_it_stands() -> None:
    report = validate([CONVERSE] * 8, provider="bedrock", near_duplicates=False, tokens=False)
    reported = [f.hint for f in report.faults if f.code == "FT206" and f.field == "tools"]
    assert reported
    assert "nova-2-sft-data-prep" in reported[0]
    plain = copy.deepcopy(CONVERSE)
    del plain["toolConfig"], plain["messages"][1:3]
    assert on_bedrock(plain, None) == []
    assert on_bedrock(plain, "amazon.nova-micro-v1:0:128k") == [("FT206", "messages")]
    plain["messages"][1]["content"].insert(
        0, {"reasoningContent": {"reasoningText": {"text": "I look."}}}
    )
    assert on_bedrock(plain, None) == [("FT206", "messages")]
    assert on_bedrock(plain, "amazon.nova-2-lite-v1:0:256k") == [("FT201", "")]
    plain["messages"][0]["content"][0]["image"]["source"] = {"bytes": PNG.partition(",")[2]}
    plain["messages"][0]["content"][0]["image"]["format"] = "png"
    assert ("FT209", "messages") in on_bedrock(plain, None)


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (pictured(url="https://a.org/x.png"), "messages[0].content[0].image_url.url"),
        (pictured(url="s3://a/x"), "messages[0].content[0].image_url.url"),
        (called("no"), "messages[1].tool_calls[0].function.arguments"),
        ({"messages": [ASK, SAID], "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].function.parameters"),
        ({"messages": [ASK, SAID], "parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"messages": [ASK, SAID | {"weight": 0}]}, "messages[1].weight"),
        ({"messages": [ASK | {"name": "Ann"}, SAID]}, "messages[0].name"),
        ({"messages": [ASK, SAID | {"tool_calls": []}]}, "messages[1].tool_calls"),
        ({"messages": [ASK, SAID | {"tool_calls": "x"}]}, "messages[1].tool_calls"),
        ({"messages": [ASK, SAID | {"tool_calls": [{"id": "c"}]}]}, "messages[1].tool_calls[0].function"),
        ({"messages": [ASK, SAID | {"tool_calls": ["x"]}]}, "messages[1].tool_calls[0].function"),
        (called(id=""), "messages[1].tool_calls[0].id"),
        (called(id=5), "messages[1].tool_calls[0].id"),
        (called(index=0), "messages[1].tool_calls[0].index"),
        ({"messages": [ASK, SAID | {"reasoning_content": ""}]}, "messages[1].reasoning_content"),
        ({"messages": [ASK, SAID | {"reasoning_content": 5}]}, "messages[1].reasoning_content"),
        ({"messages": [ASK, {"role": "tool", "content": "x"}, SAID]}, "messages[1].tool_call_id"),
    ],
)  # fmt: skip
def test_what_converse_cannot_carry_is_named(row: Row, field: str) -> None:
    hits = WRITERS["converse"](row)
    assert isinstance(hits, list)
    assert [h.field for h in hits] == [field]


CLAUDE: Row = {
    "system": "You help in a shop.",
    "tools": [{"name": "stock", "description": "How many there are.",
               "input_schema": {"type": "object", "properties": {"article": {"type": "integer"}}}}],
    "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]}},
                                     {"type": "text", "text": "Is this in stock?"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "I look."}, {"type": "text", "text": "A moment."},
                                          {"type": "tool_use", "id": "u1", "name": "stock", "input": {"article": 17}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u1", "content": "3"}]},
        {"role": "assistant", "content": "Three."},
    ],
}  # fmt: skip


def test_a_row_of_claude_is_read_whole_and_goes_elsewhere(tmp_path: Path) -> None:
    read = FORMATS["claude"].read(CLAUDE)
    assert read["messages"] == [
        {"role": "system", "content": "You help in a shop."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}},
                                     {"type": "text", "text": "Is this in stock?"}]},
        {"role": "assistant", "content": "A moment.", "reasoning_content": "I look.", "tool_calls": [
            {"id": "u1", "type": "function", "function": {"name": "stock", "arguments": '{"article":17}'}}]},
        {"role": "tool", "tool_call_id": "u1", "content": "3"},
        {"role": "assistant", "content": "Three."},
    ]  # fmt: skip
    assert validate([CLAUDE], near_duplicates=False, tokens=False).faults == ()
    del CLAUDE["messages"][1]["content"][0]
    assert convert([CLAUDE], "openai", tmp_path / "openai.jsonl") == 1
    with pytest.raises(DatasetError) as caught:
        convert([CLAUDE], "claude", tmp_path / "out.jsonl")
    found = [(f.code, f.field) for f in caught.value.report.faults]
    assert found == [("FT216", "tools"), ("FT216", "messages[0].content"), ("FT216", "messages[1].tool_calls"),
                     ("FT216", "messages[2].role")]  # fmt: skip
    assert "cookbook" in caught.value.report.faults[1].message


def test_files_whose_first_rows_look_like_chat() -> None:
    plain: Row = {"messages": [ASK, SAID]}
    claude = {"system": "s", "messages": [{"role": "user", "content": "c"}, SAID]}
    report = validate([plain, claude, plain], near_duplicates=False, tokens=False)
    assert (report.format, report.faults, report.counts.get("FT120")) == ("claude", (), None)
    converse = WRITERS["converse"]({"messages": [{"role": "user", "content": "c"}, SAID]})
    mixed = validate([plain, converse], near_duplicates=False, tokens=False)
    assert [(f.code, f.line) for f in mixed.faults] == [("FT101", 2)]
    odd = {"messages": [{"role": "system", "content": "s"}, ASK, SAID]}
    assert [
        (f.code, f.field)
        for f in validate([claude, odd], near_duplicates=False, tokens=False).faults
    ] == [("FT104", "messages[0].role")]


ODD: list[Any] = [
    None,
    0,
    1.5,
    True,
    "",
    "x",
    "user",
    "tool",
    [],
    {},
    [None],
    [[]],
    {"text": 1},
    "{}",
    "[1]",
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(p for key, below in inner for p in places(below, (*path, key)))]


def damaged(row: Row, chance: random.Random) -> Row:
    row = copy.deepcopy(row)
    for _ in range(chance.randint(1, 3)):
        paths = [p for p in places(row) if p]
        if not paths:
            break
        *way, last = chance.choice(paths)
        at: Any = row
        for step in way:
            at = at[step]
        if chance.random() < 0.3:
            del at[last]
        else:
            at[last] = copy.deepcopy(chance.choice(ODD))
    return row


@pytest.mark.parametrize("name", ["gemini", "converse", "claude"])
def test_damaged_rows_are_reported_and_never_break_a_reader_or_a_writer(name: str) -> None:
    chance = random.Random(7)  # the same damage in every run
    base = {"gemini": GEMINI, "converse": CONVERSE, "claude": CLAUDE}[name]
    rows = [damaged(base, chance) for _ in range(600)]
    for provider in ("vertex", "bedrock", "openai"):
        assert (
            validate(rows, format=name, provider=provider, near_duplicates=False, tokens=False).rows
            == 600
        )
    for row in rows:
        read = FORMATS[name].read(row)
        for write in WRITERS.values():
            assert isinstance(write(read), dict | list)


def test_keys_that_a_format_has_are_no_unknown_keys() -> None:
    rows = (
        {"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}],
         "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}},
        {"schemaVersion": "bedrock-conversation-2024",
         "messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}],
         "toolConfig": {"toolChoice": {"auto": {}}}},
    )  # fmt: skip
    for row in rows:
        assert "FT120" not in validate([row], near_duplicates=False).counts
