"""Which format a row has, and where a place of a pair is in its file."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset.formats.registry import FORMATS, _chosen_place, _shared, detect, matches

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


@pytest.mark.parametrize(
    ("chosen", "rejected", "shared"),
    [
        ([user("a"), said("b")], [user("a"), said("c")], 1),
        ([user("a"), said("b")], [user("x"), said("c")], 0),
        (
            [user("a"), said("b"), user("c"), said("d")],
            [user("a"), said("b"), user("c"), said("e")],
            3,
        ),
        ([user("a"), said("b")], [user("a"), said("b")], 1),  # an answer is left to each
        ([said("b")], [said("b")], 0),
        ([], [], 0),
        ("b", "c", 0),
        ([user("a")], "c", 0),
    ],
)
def test_the_messages_that_two_conversations_share(chosen: Any, rejected: Any, shared: int) -> None:
    assert _shared(chosen, rejected) == shared


WITH_PROMPT = {"prompt": "a", "chosen": "b", "rejected": "c"}
BOTH = {"chosen": [user("a"), said("b")], "rejected": [user("a"), said("c")]}
REPEATED = {"prompt": "a", **BOTH}
OTHER = {"prompt": "x", **BOTH}
LATER = {
    "prompt": "c",
    "chosen": [user("a"), said("b"), user("c"), said("d")],
    "rejected": [user("a"), said("b"), user("c"), said("e")],
}


@pytest.mark.parametrize(
    ("row", "asked", "preferred"),
    [
        (WITH_PROMPT, [user("a")], [said("b")]),
        (BOTH, [user("a")], [said("b")]),
        (REPEATED, [user("a")], [said("b")]),  # the prompt repeats what both share
        (OTHER, [user("x")], [user("a"), said("b")]),  # the prompt is another message
        (LATER, LATER["chosen"][:3], [said("d")]),
        ({**LATER, "prompt": "a"}, [user("a")], LATER["chosen"]),
        ({"prompt": [user("p")], **BOTH}, [user("p")], BOTH["chosen"]),
        ({"chosen": "b", "rejected": "c"}, None, [said("b")]),
    ],
)
def test_the_prompt_of_a_pair(row: Row, asked: Any, preferred: Any) -> None:
    read = FORMATS["chosen"].read(row)
    assert read["input"]["messages"] == asked
    assert read["preferred_output"] == preferred


@pytest.mark.parametrize(
    ("row", "canonical", "place"),
    [
        (WITH_PROMPT, "input.messages[0].content", "prompt"),
        (WITH_PROMPT, "preferred_output[0].content", "chosen"),
        (WITH_PROMPT, "non_preferred_output[0].content", "rejected"),
        ({**WITH_PROMPT, "prompt": [user("a")]}, "input.messages[0].content", "prompt[0].content"),
        (BOTH, "input.messages[0].content", "chosen[0].content"),
        (BOTH, "preferred_output[0].content", "chosen[1].content"),
        (BOTH, "non_preferred_output[0].content", "rejected[1].content"),
        (REPEATED, "preferred_output[0].content", "chosen[1].content"),
        (OTHER, "preferred_output[0].content", "chosen[0].content"),
        (OTHER, "input.messages[0].content", "prompt"),
        (LATER, "preferred_output[0].content", "chosen[3].content"),
        (BOTH, "preferred_output", "chosen"),
        (BOTH, "input.tools[0]", "tools[0]"),
        (BOTH, "metadata", "metadata"),
    ],
)
def test_a_place_of_a_pair_in_its_file(row: Row, canonical: str, place: str) -> None:
    assert _chosen_place(row, canonical) == place


def test_tools_of_a_pair_belong_to_its_prompt() -> None:
    read = FORMATS["chosen"].read(
        {**WITH_PROMPT, "tools": [1], "parallel_tool_calls": True, "x": 2}
    )
    assert read["input"] == {"messages": [user("a")], "tools": [1], "parallel_tool_calls": True}
    assert read["x"] == 2
    assert "tools" not in read
