"""Any conversation with tools, images and reasoning survives the formats of Google and Bedrock."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ftsdk.dataset import validate
from ftsdk.dataset.conversion.convert import WRITERS
from ftsdk.dataset.formats.registry import FORMATS, detect

Row = dict[str, Any]
text = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12
)
names = st.sampled_from(["find", "weather", "send_mail"])
scalars = st.one_of(
    text, st.integers(-(2**60), 2**60), st.booleans(), st.none(), st.floats(-1e9, 1e9)
)
objects = st.dictionaries(text, st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=3)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Row:
    kinds = ["string", "integer", "number", "boolean"] + (["object", "array"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    schema: Row = {"type": [kind, "null"] if draw(st.integers(0, 4)) == 0 else kind}
    if draw(st.booleans()):
        schema["description"] = draw(text)
    if kind == "string" and draw(st.booleans()):
        schema["enum"] = draw(st.lists(text, min_size=1, max_size=3, unique=True))
    if kind == "object":
        schema["properties"] = draw(st.dictionaries(text, schemas(depth - 1), max_size=2))
        schema["required"] = list(schema["properties"])[:1]
        if draw(st.booleans()):
            schema["additionalProperties"] = False
    if kind == "array":
        schema["items"] = draw(schemas(depth - 1))
        schema["minItems"] = draw(st.integers(0, 5))
    return schema


def image(scheme: str) -> st.SearchStrategy[Row]:
    urls = [f"{scheme}bucket/a.png", f"{scheme}bucket/deep/b.JPG", f"{scheme}bucket/c.webp"]
    return st.sampled_from(urls).map(lambda u: {"type": "image_url", "image_url": {"url": u}})


@st.composite
def rich(draw: st.DrawFn, scheme: str, *, reasoning: bool) -> Row:
    """A conversation with tools, calls in rounds, results, images."""
    parts = st.lists(
        st.one_of(st.fixed_dictionaries({"type": st.just("text"), "text": text}), image(scheme)),
        min_size=2, max_size=3,
    )  # fmt: skip
    messages: list[Row] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(text)})
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(st.one_of(text, parts))})
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                number += 1
                arguments = json.dumps(draw(objects), ensure_ascii=draw(st.booleans()))
                calls.append({"id": f"call_{number}", "type": "function",
                              "function": {"name": draw(names), "arguments": arguments}})  # fmt: skip
            message: Row = {"role": "assistant", "content": draw(st.one_of(st.none(), text)),
                            "tool_calls": calls}  # fmt: skip
            if reasoning and draw(st.booleans()):
                message["reasoning_content"] = draw(text)
            messages.append(message)
            for call in calls:
                answer = draw(st.one_of(text, objects.map(json.dumps), st.just('{"output":"x"}')))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": answer})
        answered: Row = {"role": "assistant", "content": draw(text)}
        if reasoning and draw(st.booleans()):
            answered["reasoning_content"] = draw(text)
        messages.append(answered)
    row: Row = {"messages": messages}
    if number:
        row["tools"] = [
            {"type": "function", "function": {"name": name, "description": draw(text),
             "parameters": {"type": "object", "properties": draw(st.dictionaries(text, schemas(), max_size=2))}}}
            for name in ("find", "weather", "send_mail")
        ]  # fmt: skip
    return row


def meaning(row: Row) -> Row:
    """A row without what JSON leaves free: spaces inside arguments and results that are objects."""

    def value(reported: Any) -> Any:
        try:
            read = json.loads(reported)
        except (TypeError, ValueError):
            return reported
        return read if isinstance(read, dict) else reported

    row = copy.deepcopy(row)
    for message in row["messages"]:
        if message["role"] == "tool":
            message["content"] = value(message["content"])
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return row


def there_and_back(row: Row, to: str) -> Row:
    written = WRITERS[to](row)
    assert isinstance(written, dict), written
    wire = json.loads(json.dumps(written))
    assert detect(wire) == to
    return FORMATS[to].read(wire)


@given(st.one_of(rich("gs://", reasoning=False), rich("https://", reasoning=False)))
def test_gemini_carries_tools_and_images(row: Row) -> None:
    assert meaning(there_and_back(row, "gemini")) == meaning(row)
    found = validate([WRITERS["gemini"](row)], near_duplicates=False, tokens=False)
    assert found.format == "gemini"
    assert not {
        "FT105",
        "FT106",
        "FT112",
        "FT113",
        "FT115",
        "FT116",
        "FT119",
        "FT120",
        "FT121",
    } & set(found.counts)


@given(st.one_of(rich("s3://", reasoning=True), rich("s3://", reasoning=False)))
def test_converse_carries_tools_images_and_reasoning(row: Row) -> None:
    read = there_and_back(row, "converse")
    assert meaning(read) == meaning(row)
    found = validate([WRITERS["converse"](row)], near_duplicates=False, tokens=False)
    assert found.format == "converse"
    assert not {
        "FT104",
        "FT105",
        "FT106",
        "FT112",
        "FT113",
        "FT115",
        "FT116",
        "FT119",
        "FT120",
        "FT121",
    } & set(found.counts)
    assert [m["role"] for m in WRITERS["converse"](row)["messages"]] == [
        role for i, role in enumerate(["user", "assistant"] * 20) if i < len(WRITERS["converse"](row)["messages"])
    ]  # fmt: skip
