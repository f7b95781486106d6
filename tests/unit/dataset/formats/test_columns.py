"""Columns under other names: guessed where one reading is left, said, and replaced by `map` and `drop`."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset, validate
from ftsdk.dataset.formats.columns import Columns
from ftsdk.dataset.formats.shared import Unreadable
from ftsdk.errors import DatasetError, UsageError

Row = dict[str, Any]
ASK, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
CHAT = {"messages": [ASK, SAID]}


def facts(row: Row, columns: Columns | None = None) -> tuple[Row, list[str]]:
    said: list[str] = []
    return (columns or Columns()).standard(row, said.append), said


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        ({"query": "a", "response": "b"}, [ASK, SAID]),
        ({"question": "a", "answer": "b"}, [ASK, SAID]),
        ({"input": "a", "output": "b"}, [ASK, SAID]),
        ({"prompt": "a", "response": "b"}, [ASK, SAID]),
        ({"Prompt": "a", "Completion ": "b"}, [ASK, SAID]),
        ({"instruction": "a", "response": "b"}, [ASK, SAID]),
        ({"instruction": "a", "context": "", "response": "b"}, [ASK, SAID]),
        ({"instruction": "a", "context": "c", "response": "b"}, [{"role": "user", "content": "a\n\nc"}, SAID]),
        ({"question": "a", "context": "c", "answer": "b"}, [{"role": "user", "content": "a\n\nc"}, SAID]),
        ({"Unnamed: 0": 3, "prompt": "a", "completion": "b"}, [ASK, SAID]),
        ({"": 3, "prompt": "a", "completion": "b"}, [ASK, SAID]),
        ({"conversation": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, [ASK, SAID]),
        ({"messages": json.dumps([ASK, SAID])}, [ASK, SAID]),
        ({"system_prompt": "s", "prompt": "a", "completion": "b"}, [{"role": "system", "content": "s"}, ASK, SAID]),
    ],
)  # fmt: skip
def test_a_row_with_one_reading_is_read_and_the_reading_is_said(row: Row, messages: Any) -> None:
    assert next(iter(Dataset.load([row])))["messages"] == messages
    report = validate([row], near_duplicates=False)
    assert report.ok
    assert [f.code for f in report.notices] == ["FT026"]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "answer": "b", "solution": "c"},
        {"question": "a", "query": "b", "answer": "c"},
        {"title": "a", "body": "b"},
    ],
)
def test_a_row_with_several_readings_is_refused_and_the_hint_names_the_option(row: Row) -> None:
    fault = validate([row], near_duplicates=False).faults[0]
    assert fault.code == "FT100"
    option = next(word for word in fault.hint.split() if "=prompt" in word)
    names = dict(one.split("=") for one in option.rstrip(";").split(","))
    assert names.keys() <= row.keys()
    report = validate([row], near_duplicates=False, map=names, drop=list(row.keys() - names))
    assert (report.format, report.counts) == ("completion", {})


def test_a_column_that_is_known_keeps_its_name() -> None:
    row = {"prompt": "a", "completion": "b", "question": "c", "Prompt": "d"}
    assert facts(row) == (row, [])
    assert facts(CHAT) == (CHAT, [])


def test_given_names_are_taken_without_a_notice() -> None:
    row = {"question": "a", "sql": "b", "id": 3}
    report = validate(
        [row], map={"question": "prompt", "sql": "completion"}, drop=["id"], near_duplicates=False
    )
    assert (report.format, report.counts) == ("completion", {})  # fmt: skip
    data = Dataset.load([row], map={"question": "prompt", "sql": "completion"}, drop=["id"])
    assert list(data) == [CHAT]
    assert list(Dataset.load(data, format="completion")) == [CHAT]


def test_keys_within_messages_are_left_out() -> None:
    row = {"messages": [{**ASK, "id": 1}, {**SAID, "id": 2}], "meta": {"a": 1, "b": 2}}
    found, _ = facts(row, Columns.of(None, ["messages.id", "meta.a"]))
    assert found == {**CHAT, "meta": {"b": 2}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"map": {"question": "promt"}}, "no format reads a column 'promt'"),
        ({"map": {"a": "prompt", "b": "prompt"}}, "two columns are to be read as 'prompt'"),
        ({"format": "nothing"}, "no row format 'nothing'"),
    ],
)
def test_names_that_make_no_sense_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate([CHAT], **arguments)


def test_two_columns_with_one_name_are_a_fault_that_names_both() -> None:
    with pytest.raises(Unreadable) as caught:
        facts({"question": "a", "prompt": "b"}, Columns.of({"question": "prompt"}, None))
    assert caught.value.message == "'question' and 'prompt' are both read as 'prompt'"
    assert caught.value.hint == "leave one out: --drop prompt"
    report = validate([{"question": "a", "prompt": "b"}], map={"question": "prompt"})
    assert [f.code for f in report.faults] == ["FT134"]


def test_a_broken_json_text_is_a_fault_at_its_column() -> None:
    (fault,) = validate([{**CHAT, "tools": '[{"type": "function"'}], near_duplicates=False).faults
    assert (fault.code, fault.field) == ("FT134", "tools")
    assert "ends in the middle" in fault.message


def test_a_finding_names_the_column_of_the_file() -> None:
    report = validate([{"Question": "a", "Answer": ""}], near_duplicates=False)
    assert [(f.code, f.field) for f in report.faults] == [("FT109", "Answer")]
    report = validate([{**CHAT, "tool_defs": [{"title": "x"}]}], near_duplicates=False)
    assert [(f.code, f.field) for f in report.faults] == [("FT119", "tool_defs[0]")]


@pytest.mark.parametrize(
    ("name", "key"),
    [("FT120", "id"), ("FT130", "images"), ("FT133", "loss_mask"), ("FT133", "rejected_messages")],
)
def test_the_hint_of_an_unwanted_key_names_the_option_that_leaves_it_out(
    name: str, key: str
) -> None:
    row = {**CHAT, key: ["x"]}
    report = validate([row], format="chat", near_duplicates=False)
    (found,) = [f for f in (*report.faults, *report.notices) if f.code == name]
    assert found.hint.endswith(f"--drop {key}")
    assert validate([row], format="chat", drop=[key], near_duplicates=False).counts == {}


def test_the_method_decides_between_two_readings() -> None:
    row = {**CHAT, "prompt": "a", "chosen": "b", "rejected": "c"}
    (chat,) = Dataset.load([row], method="sft")
    assert chat["messages"] == CHAT["messages"]
    (pair,) = Dataset.load([row], method="dpo")
    assert pair == {
        "input": {"messages": [ASK]},
        "preferred_output": [SAID],
        "non_preferred_output": [{"role": "assistant", "content": "c"}],
    }
    undecided = validate([row], near_duplicates=False)
    assert undecided.format == "chat"
    assert any("--format chosen" in f.message for f in undecided.notices)
    assert list(Dataset.load([row], format="chosen")) == [pair]


@pytest.mark.parametrize("rows", [[CHAT], [{"prompt": "a", "completion": "b"}], [{"text": "a"}]])
def test_dpo_on_other_rows_is_a_fault(rows: list[Row]) -> None:
    (fault,) = validate(rows, method="dpo", near_duplicates=False).faults
    assert fault.code == "FT205"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_table_is_found_in_its_header(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows(
            [["prompt", "completion"], ["a, b; c", "d | e\nf"]]
        )
    assert list(Dataset.load(path)) == [
        {"messages": [{"role": "user", "content": "a, b; c"}, {"role": "assistant", "content": "d | e\nf"}]}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json.gz", json.dumps([CHAT, CHAT], indent=1)),
        ("rows.json.gz", f"{json.dumps(CHAT)}\n{json.dumps(CHAT)}\n"),
        ("rows.csv.gz", "prompt;completion\na;b\na;b\n"),
    ],
)
def test_packed_arrays_and_tables_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()))
    assert list(Dataset.load(path)) == [CHAT, CHAT]
    path.write_bytes(gzip.compress(text.encode())[:-9])
    with pytest.raises(DatasetError) as caught:
        list(Dataset.load(path))
    assert caught.value.report.counts == {"FT006": 1}


@pytest.mark.parametrize("text", ['{"data": [{"text": "a"}]}', '{\n "rows": [\n  {"text": "a"}]}'])
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_rows_within_one_object_are_refused_with_the_key(
    tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    (fault,) = validate(path).faults
    assert fault.code == "FT027"
    assert "jq ." in fault.hint
