"""Contents in parts of `type` and `value` are read as texts, reasoning and calls, or left as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftsdk.dataset import Dataset, validate
from ftsdk.dataset.formats.value_parts import with_values

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}]  # fmt: skip


def part(kind: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "value": value}


def said(role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": list(parts), **more}


def test_texts_reasoning_and_calls_are_read() -> None:
    call = part("tool_call", json.dumps({"name": "look", "arguments": {"at": "sea"}}))
    row = {
        "messages": [
            said("user", part("text", "where?"), loss_weight=0.0),
            said("assistant", part("reasoning", "hm"), call, loss_weight=0.0),
            said("tool", part("text", "blue"), loss_weight=0.0),
            said("assistant", part("text", "there"), loss_weight=1.0),
        ],
        "tools": TOOLS,
    }
    report = validate([row], near_duplicates=False)
    assert report.counts == {"FT026": 1}
    assert "the value of a part of a content" in report.notices[0].message
    asked, called, result, answer = next(iter(Dataset.load([row])))["messages"]
    assert asked == {"role": "user", "content": "where?"}
    assert (called["content"], called["reasoning_content"], called["weight"]) == (None, "hm", 0)
    assert called["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":"sea"}'}
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]
    assert answer == {"role": "assistant", "content": "there"}


def test_pairs_of_whole_conversations_are_read() -> None:
    asked = said("user", part("text", "a"))
    pair = {
        "chosen_messages": [asked, said("assistant", part("text", "good"))],
        "rejected_messages": [asked, said("assistant", part("text", "bad"))],
    }
    assert validate([pair], method="dpo", near_duplicates=False).counts == {"FT026": 1}
    (row,) = Dataset.load([pair])
    assert row["input"]["messages"] == [{"role": "user", "content": "a"}]
    assert row["preferred_output"] == [{"role": "assistant", "content": "good"}]
    assert row["non_preferred_output"] == [{"role": "assistant", "content": "bad"}]


def test_several_texts_stay_several() -> None:
    read = with_values(said("user", part("text", "a"), part("text", "b")))
    assert read["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    "message",
    [
        said("user", part("text", "a"), part("video", "b")),
        said("user", part("text", 7)),
        said("user", part("reasoning", "a")),
        said("assistant", part("reasoning", "a"), reasoning_content="b"),
        said("assistant", part("tool_call", "{broken")),
        said("assistant", part("tool_call", {"name": "f"})),
        said("user", {"type": "text", "text": "a"}),
        said("user", {"type": "text", "value": "a", "more": 1}),
        said("user"),
        {"role": "user", "content": "a"},
    ],
)
def test_anything_else_is_left_as_it_is(message: dict[str, Any]) -> None:
    assert with_values(message) is message


def test_a_loss_weight_between_none_and_all_is_refused_by_name() -> None:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss_weight": 0.5}]}  # fmt: skip
    assert validate([row], near_duplicates=False).counts == {"FT133": 1}
