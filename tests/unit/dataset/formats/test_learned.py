"""Keys that say what is learned are honoured where their meaning is certain, and refused elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from ftsdk.dataset import Dataset, validate

Row = dict[str, Any]
ASK, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def read(*messages: Row) -> list[Row]:
    (row,) = Dataset.load([{"messages": list(messages)}])
    found: list[Row] = row["messages"]
    return found


@pytest.mark.parametrize(
    "key", ["train", "training", "trainable", "loss", "loss_mask", "masked", "mask"]
)
@pytest.mark.parametrize("value", [True, False, 1, 0, 1.0])
def test_a_key_that_is_true_or_false_becomes_the_weight(key: str, value: Any) -> None:
    learned = bool(value) is (key not in ("masked", "mask"))
    expected = SAID if learned else {**SAID, "weight": 0}
    assert read(ASK, {**SAID, key: value}, ASK, SAID) == [ASK, expected, ASK, SAID]
    report = validate([{"messages": [ASK, {**SAID, key: value}, ASK, SAID]}], near_duplicates=False)
    assert set(report.counts) == {"FT026"}


def test_a_key_on_a_question_may_only_say_that_it_is_not_learned() -> None:
    assert read({**ASK, "train": False}, SAID) == [ASK, SAID]
    (fault,) = validate(
        [{"messages": [{**ASK, "train": True}, SAID]}], near_duplicates=False
    ).faults
    assert (fault.code, fault.field) == ("FT133", "messages[0].train")


@pytest.mark.parametrize(
    "message",
    [
        {**SAID, "loss": 0.5},
        {**SAID, "train": "no"},
        {**SAID, "train": True, "weight": 0},
        {**SAID, "train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}]},
        {**SAID, "thought": "x", "reasoning": "y"},
        {**SAID, "cot": ["x"]},
    ],
)
def test_a_key_without_one_meaning_is_refused_by_name(message: Row) -> None:
    report = validate([{"messages": [ASK, message]}], near_duplicates=False)
    assert {f.code for f in report.faults} - {"FT111"} == {"FT133"}
    assert "FT120" not in report.counts


@pytest.mark.parametrize(
    "key", ["loss_mask", "rejected_response", "tool_defs", "reasoning", "completion_mask"]
)
def test_a_key_beside_the_messages_is_refused_by_name(key: str) -> None:
    row = {
        "messages": [ASK, SAID],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        key: "x",
    }
    report = validate([row], format="chat", near_duplicates=False)
    assert [(f.code, f.field) for f in report.faults] == [("FT133", key)]
    assert validate([{**row, key: None}], format="chat", near_duplicates=False).ok


@pytest.mark.parametrize("key", ["thought", "thoughts", "think", "cot", "reasoning_text"])
def test_reasoning_under_another_name_is_read(key: str) -> None:
    assert read(ASK, {**SAID, key: "because"}) == [ASK, {**SAID, "reasoning_content": "because"}]
    (row,) = Dataset.load([{"prompt": "a", "completion": "b", key: "because"}])
    assert row == {"messages": [ASK, {**SAID, "reasoning_content": "because"}]}


def test_nulls_of_a_message_say_nothing_except_as_content() -> None:
    filled = {**SAID, "name": None, "tool_calls": None, "loss": None, "thought": None}
    assert read({**ASK, "tool_call_id": None}, filled) == [ASK, SAID]
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert read(ASK, said) == [ASK, said]


def test_pairs_honour_the_same_keys() -> None:
    row = {
        "prompt": "a",
        "chosen": [{**SAID, "masked": True}],
        "rejected": [{**SAID, "content": "c", "loss": 0.5}],
    }
    report = validate([row], method="dpo", near_duplicates=False)
    assert [(f.code, f.field) for f in report.faults] == [("FT133", "rejected[0].loss")]
    (pair,) = Dataset.load([row])
    assert pair["preferred_output"] == [{**SAID, "weight": 0}]
