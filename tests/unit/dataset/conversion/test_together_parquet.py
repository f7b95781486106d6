"""Tokenized rows: checked as a Parquet file has them, and written as the trainer would see them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import RULES, Dataset, convert, validate
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import render_rows
from ftsdk.errors import DatasetError, UsageError

pa = pytest.importorskip("pyarrow", reason="needs the extra `data`")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the extra `data`")

Row = dict[str, Any]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRIPPING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}"
    "<think>{{ m.reasoning_content or '' }}</think>{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def letters(template: str = TEMPLATE) -> ChatTokenizer:
    """One token a byte, and two special ones."""
    special = {"<|im_start|>": 300, "<|im_end|>": 301}
    names = {v: k for k, v in special.items()}

    def encode(text: str) -> list[int]:
        pieces = re.split(r"(<\|im_(?:start|end)\|>)", text)
        return [i for p in pieces for i in ([special[p]] if p in special else p.encode())]

    def decode(ids: Any) -> str:
        return b"".join(names[i].encode() if i in names else bytes([i]) for i in ids).decode(
            "utf-8", "replace"
        )

    return ChatTokenizer(
        "toy", template, {"eos_token": "<|im_end|>"}, encode, decode, frozenset((300, 301)), 301
    )


def chat(*turns: str) -> Row:
    return {
        "messages": [
            {"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns)
        ]
    }


def parquet(path: Path, rows: list[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def look(source: Any, **options: Any) -> Any:
    return validate(source, **{"provider": "together", "near_duplicates": False} | options)


GOOD: Row = {
    "input_ids": [5, 6, 7, 8],
    "attention_mask": [1, 1, 1, 1],
    "labels": [-100, -100, 7, 8],
}
ROWS = [GOOD, {"input_ids": [9, 3], "attention_mask": [1, 1], "labels": [-100, 3]}]


def test_the_format_is_found_and_its_own_tokens_are_counted(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", ROWS)
    report = look(path)
    assert (report.format, report.container, report.faults, report.notices) == (
        "tokenized",
        "parquet",
        (),
        (),
    )
    assert (
        report.tokens.total,
        report.tokens.trained,
        report.tokens.longest,
        report.tokens.exact,
    ) == (6, 3, 4, True)
    assert look(path, tokens=False).tokens is None
    assert list(Dataset.load(path)) == ROWS
    without = look([{k: v for k, v in GOOD.items() if k != "labels"}])
    assert (without.tokens.trained, without.faults) == (3, ())


BAD: list[tuple[Row, str, str]] = [
    ({"input_ids": KeyError, "text": "x"}, "FT101", ""),
    ({"input_ids": []}, "FT140", "input_ids"),
    ({"input_ids": [5, 6, -7, 8]}, "FT140", "input_ids[2]"),
    ({"input_ids": [5, 6.5, 7, 8]}, "FT140", "input_ids[1]"),
    ({"input_ids": [5, 2**31, 7, 8]}, "FT140", "input_ids[1]"),
    ({"input_ids": "5 6 7 8"}, "FT140", "input_ids"),
    ({"attention_mask": KeyError}, "FT141", "attention_mask"),
    ({"attention_mask": [1, 1]}, "FT141", "attention_mask"),
    ({"attention_mask": [1, 1, 2, 1]}, "FT141", "attention_mask[2]"),
    ({"attention_mask": [True, 1, 1, 1]}, "FT141", "attention_mask[0]"),
    ({"labels": [-100, 7, 8]}, "FT142", "labels"),
    ({"labels": [-100, -1, 7, 8]}, "FT142", "labels[1]"),
    ({"labels": [None, -100, 7, 8]}, "FT142", "labels[0]"),
    ({"position_ids": [0, 1, 2]}, "FT142", "position_ids"),
    ({"position_ids": [0, 1, -1, 3]}, "FT142", "position_ids[2]"),
    ({"labels": [5, -100, -100, -100]}, "FT143", "labels"),
    ({"labels": [6, 7, 8, -100]}, "FT144", "labels[0]"),
    ({"labels": [-100, -100, 9, 8]}, "FT144", "labels[2]"),
    ({"attention_mask": [1, 1, 1, 0]}, "FT144", "labels[3]"),
    ({"loss_mask": [0, 0, 1, 1]}, "FT145", "loss_mask"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "field"), BAD)
def test_a_bad_row_is_reported(changes: Row, code: str, field: str) -> None:
    row = copy.deepcopy(GOOD) | changes
    row = {k: v for k, v in row.items() if v is not KeyError}
    report = look([ROWS[1], row])
    found = [(f.code, f.line, f.field) for f in (*report.faults, *report.notices)]
    assert (code, 2, field) in found
    assert {line for _, line, _ in found} == {2}
    if code == "FT144" and field == "labels[0]":
        assert "moved by one" in report.notices[0].message


def test_every_rule_of_tokenized_rows_is_tried() -> None:
    assert {code for code, r in RULES.items() if r.shape == "tokens"} <= {
        code for _, code, _ in BAD
    }


def test_repeats_and_leaks_go_by_the_ids() -> None:
    report = look(
        [*ROWS, ROWS[0]],
        validation=[ROWS[1], {**ROWS[1], "input_ids": [9, 4], "labels": [-100, 4]}],
    )
    assert report.counts == {"FT302": 1, "FT304": 1}
    assert [f.line for f in report.notices if f.code == "FT304"] == [2]


def test_they_are_parquet_at_together_and_nothing_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert look(path).counts == {"FT217": 1}
    assert look(path).ok  # `create` writes them as Parquet by itself
    assert look(path, method="dpo").counts == {"FT205": 1, "FT217": 1}
    assert look(ROWS * 5, provider="openai").counts["FT205"] == 1
    with pytest.raises(DatasetError):
        convert(ROWS, "chat", tmp_path / "out.jsonl")


def folder_with_tokenizer(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra `local`")
    words = {
        w: i
        for i, w in enumerate(
            ["<unk>", "<|im_start|>", "<|im_end|>", "user", "assistant", "a", "b", "Ġ"]
        )
    }
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    folder = tmp_path / "toy-model"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_ids_beyond_the_tokenizer_are_reported(tmp_path: Path) -> None:
    folder = folder_with_tokenizer(tmp_path)
    fits = {"input_ids": [3, 7], "attention_mask": [1, 1], "labels": [-100, 7]}
    report = look([fits, ROWS[1], {**fits, "labels": [-100, 8]}], model=str(folder))
    assert [(f.code, f.line, f.field) for f in report.faults] == [
        ("FT146", 2, "input_ids[0]"),
        ("FT146", 3, "labels[1]"),
    ]
    assert "toy-model" in report.faults[0].message
    assert look([fits], tokenizer=str(folder)).ok


def test_what_is_written_is_what_the_trainer_sees(tmp_path: Path) -> None:
    rows = [chat("hé", "日本"), chat("a", "b", "c", "d")]
    rows[1]["messages"][1]["weight"] = 0
    path = tmp_path / "out.parquet"
    assert convert(rows, "tokenized", path, tokenizer=letters()) == 2
    rendered, faults = render_rows(rows, letters())
    assert faults == []
    table = pq.read_table(path)
    assert table.column_names == ["input_ids", "attention_mask", "labels"]
    assert (
        table.schema.metadata[b"ftsdk.chat_template_sha256"].decode() == letters().template_sha256
    )
    for written, seen in zip(table.to_pylist(), rendered, strict=True):
        assert written["input_ids"] == list(seen.ids)
        assert written["attention_mask"] == [1] * len(seen)
        assert written["labels"] == [
            i if t else -100 for i, t in zip(seen.ids, seen.trained, strict=True)
        ]
    report = look(path)
    assert (report.format, report.ok, report.notices) == ("tokenized", True, ())
    assert report.tokens.total == sum(map(len, rendered))
    assert report.tokens.trained == sum(r.trained_count for r in rendered)
    again = tmp_path / "again.parquet"
    assert convert(path, "tokenized", again) == 2
    assert pq.read_table(again).to_pylist() == table.to_pylist()


def test_a_template_that_rewrites_gives_one_sequence_an_answer(tmp_path: Path) -> None:
    row = chat("a", "b", "c", "d")
    row["messages"][1]["reasoning_content"] = "x"
    row["messages"][3]["reasoning_content"] = "y"
    assert convert([row], "tokenized", tmp_path / "o.parquet", tokenizer=letters(STRIPPING)) == 2


def test_together_takes_the_file(tmp_path: Path) -> None:
    utils = pytest.importorskip("together.lib.utils", reason="needs the extra `together`")
    path = tmp_path / "out.parquet"
    convert([chat("a", "b")], "tokenized", path, tokenizer=letters())
    reported = utils.check_file(path)
    assert reported["is_check_passed"], reported


def test_every_row_that_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    silent = chat("a", "b")
    silent["messages"][1]["weight"] = 0
    rows = [chat("a", "b"), silent, chat("long " * 50, "b"), chat("c", "d")]
    path = tmp_path / "out.parquet"
    with pytest.raises(DatasetError) as caught:
        convert(rows, "tokenized", path, tokenizer=letters(), max_length=100)
    assert [(f.code, f.line) for f in caught.value.report.faults] == [("FT111", 2), ("FT502", 3)]
    with pytest.raises(DatasetError) as caught:
        convert([{"text": "x"}], "tokenized", path, tokenizer=letters())
    assert [f.code for f in caught.value.report.faults] == ["FT216"]
    with pytest.raises(DatasetError) as caught:
        convert([GOOD, GOOD | {"more": [1]}], "tokenized", path)
    assert [(f.code, f.line) for f in caught.value.report.faults] == [("FT145", 2)]
    with pytest.raises(UsageError, match="none was named"):
        convert(rows, "tokenized", path)
    with pytest.raises(UsageError, match="not on this machine"):
        convert(rows, "tokenized", path, tokenizer="no/such-model")
    with pytest.raises(UsageError, match="as Parquet"):
        convert(rows, "tokenized", tmp_path / "out.jsonl", tokenizer=letters())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"label": False}, "FT131"),
        ({"images": ["a.png"]}, "FT130"),
        ({"functions": [{"name": "f"}]}, "FT206"),
    ],
)
def test_what_tokens_cannot_say_is_refused(tmp_path: Path, more: Row, code: str) -> None:
    path = tmp_path / "out.parquet"
    with pytest.raises(DatasetError) as caught:
        convert([{**chat("a", "b"), **more}], "tokenized", path, tokenizer=letters())
    assert [f.code for f in caught.value.report.faults] == [code]
    assert list(tmp_path.iterdir()) == []
