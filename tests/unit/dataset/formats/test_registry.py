"""Which format a row has, and which one where its keys fit several."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset.formats.registry import FORMATS, detect, matches

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def said(text: str) -> Row:
    return {"role": "assistant", "content": text}


CHAT = {"messages": [user("a"), said("b")]}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (CHAT, "chat"),
        ({**CHAT, "schemaVersion": "bedrock-conversation-2024"}, "converse"),
        ({**CHAT, "toolConfig": {}}, "converse"),
        ({**CHAT, "system": [{"text": "s"}]}, "converse"),
        ({**CHAT, "system": "s"}, "claude"),
        ({**CHAT, "tools": [{"input_schema": {}}]}, "claude"),
        ({**CHAT, "tools": [{"function": {}}]}, "chat"),
        ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "converse"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}, "chat"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_use"}]}]}, "claude"),
        ({"messages": [None, {"role": "user", "content": [None]}]}, "chat"),
        ({"messages": None}, "chat"),
        ({"contents": []}, "gemini"),
        ({"conversations": []}, "sharegpt"),
        ({"preferred_output": []}, "preference"),
        ({"non_preferred_output": []}, "preference"),
        ({"chosen": "x"}, "chosen"),
        ({"rejected": "x"}, "chosen"),
        ({"instruction": "x"}, "instruction"),
        ({"completion": "x"}, "completion"),
        ({"text": "x"}, "text"),
        ({"text": "x", "messages": []}, "chat"),
        ({"input_ids": [1]}, "tokenized"),
        ({"made_up": 1}, None),
        ({}, None),
    ],
)
def test_the_format_of_a_row(row: Row, name: str | None) -> None:
    assert detect(row) == name
    assert name is None or name in FORMATS
    assert matches(row) == ([] if name is None else [name])


def test_a_row_of_two_formats_matches_both() -> None:
    assert matches({**CHAT, "input_ids": [1]}) == ["chat", "tokenized"]
    assert matches({"chosen": "x", "completion": "y"}) == ["chosen", "completion"]
