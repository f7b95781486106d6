"""The prompt and the answers of a pair, however they are written, and their places in the file."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.formats.pairs import pair_place, read_pair

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def said(text: str) -> Row:
    return {"role": "assistant", "content": text}


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
    ],
)
def test_the_messages_that_two_conversations_share(chosen: Any, rejected: Any, shared: int) -> None:
    read = read_pair({"chosen": chosen, "rejected": rejected})
    assert read["input"]["messages"] == chosen[:shared]
    assert read["preferred_output"] == chosen[shared:]
    assert read["non_preferred_output"] == rejected[shared:]


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
        ({**LATER, "prompt": "a"}, LATER["chosen"][:3], [said("d")]),
        ({"prompt": [user("p")], **BOTH}, [user("p")], BOTH["chosen"]),
        ({"chosen": "b", "rejected": "c"}, None, [said("b")]),
    ],
)
def test_the_prompt_of_a_pair(row: Row, asked: Any, preferred: Any) -> None:
    read = read_pair(row)
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
    assert pair_place(row, canonical) == place


def test_tools_of_a_pair_belong_to_its_prompt() -> None:
    read = read_pair({**WITH_PROMPT, "tools": [1], "parallel_tool_calls": True, "x": 2})
    assert read["input"] == {"messages": [user("a")], "tools": [1], "parallel_tool_calls": True}
    assert read["x"] == 2
    assert "tools" not in read


LONG = "A question of more than twenty characters?"
HH = {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
      "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e"}  # fmt: skip
SYSTEM = {"role": "system", "content": "s"}


@pytest.mark.parametrize(
    ("row", "asked", "preferred", "other"),
    [
        (HH, [user("a"), said("b"), user("c")], "d", "e"),
        ({**HH, "prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"},
         [user("a"), said("b"), user("c")], "d", "e"),
        ({"prompt": LONG, "chosen": f"{LONG} yes", "rejected": f"{LONG} no"}, [user(LONG)], "yes", "no"),
        ({"prompt": LONG, "chosen": f"{LONG} yes", "rejected": "no"}, [user(LONG)], f"{LONG} yes", "no"),
        ({"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi you"}, [user("Hi")], "Hi there", "Hi you"),
        ({"system": "s", "prompt": "a", "chosen": "b", "rejected": "c"}, [SYSTEM, user("a")], "b", "c"),
        ({"system": "s", "prompt": [SYSTEM, user("a")], "chosen": "b", "rejected": "c"}, [SYSTEM, user("a")], "b", "c"),
        ({"system": "s", **BOTH}, [SYSTEM, user("a")], "b", "c"),
        ({"instruction": "a", "input": "x", "chosen": "b", "rejected": "c"}, [user("a\n\nx")], "b", "c"),
        ({"messages": [user("a")], "chosen": "b", "rejected": "c"}, [user("a")], "b", "c"),
        ({"messages": [user("a"), said("b")], "rejected_response": "c"}, [user("a")], "b", "c"),
        ({"messages": [user("a"), said("b")], "rejected_messages": [user("a"), said("c")]}, [user("a")], "b", "c"),
        ({"messages": [user("a"), said("b")], "prompt": "a", **BOTH}, [user("a")], "b", "c"),
        ({"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"},
          "rejected": {"from": "gpt", "value": "c"}}, [user("a")], "b", "c"),
        ({"prompt": "a", "chosen": {"role": "assistant", "content": "b"}, "rejected": "c"}, [user("a")], "b", "c"),
        ({"chosen": {"messages": BOTH["chosen"]}, "rejected": {"messages": BOTH["rejected"]}}, [user("a")], "b", "c"),
    ],
)  # fmt: skip
def test_a_pair_as_people_write_it(row: Row, asked: Any, preferred: str, other: str) -> None:
    assert read_pair(row) == {
        "input": {"messages": asked},
        "preferred_output": [said(preferred)],
        "non_preferred_output": [said(other)],
    }


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"system": "t", "prompt": [SYSTEM, user("a")], "chosen": "b", "rejected": "c"}, "system"),
        ({"messages": [user("x"), said("y")], "prompt": "a", "chosen": "b", "rejected": "c"}, "messages"),
        ({"messages": [user("a")], "rejected_response": "c"}, "messages"),
        ({"prompt": "a", "chosen": {"messages": [said("b")], "tools": [1]},
          "rejected": {"messages": [said("c")], "tools": [2]}}, "chosen.tools"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_given_twice_and_differs_is_refused(row: Row, field: str) -> None:
    (fault,) = validate([row], format="chosen", near_duplicates=False).faults
    assert (fault.code, fault.field) == ("FT134", field)


def test_the_parts_of_a_text_are_found_in_its_column() -> None:
    assert pair_place(HH, "input.messages[0].content") == "chosen"
    assert pair_place(HH, "non_preferred_output[0].content") == "rejected"
    swift = {"messages": [user("a"), said("b")], "rejected_response": "c"}
    assert pair_place(swift, "preferred_output[0].content") == "messages[1].content"
    assert pair_place(swift, "non_preferred_output[0].content") == "rejected_response"
