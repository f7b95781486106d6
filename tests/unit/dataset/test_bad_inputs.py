"""Bad inputs that no other test has: odd keys, sparse and replaced files, spreadsheet cells, floods."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import Dataset, validate
from ftsdk.errors import DatasetError

GOOD = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'


def look(source: Any, **options: Any) -> Any:
    return validate(source, **{"near_duplicates": False, "tokens": False} | options)


@pytest.mark.parametrize("key", ["__proto__", "", "constructor"])
def test_odd_keys_are_plain_keys(key: str) -> None:
    row = json.loads(GOOD) | {key: 1}
    report = look([row])
    assert report.ok
    assert [(f.code, f.field) for f in report.notices] == [("FT120", key)]


def test_a_sparse_file_of_ten_gigabytes_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jsonl"
    path.touch()
    try:
        os.truncate(path, 10 << 30)
    except OSError:
        pytest.skip("the file system has no sparse files")
    start = time.process_time()
    assert [f.code for f in look(path).faults] == ["FT016"]
    assert time.process_time() - start < 2


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "rows.jsonl", tmp_path / "other.jsonl"
    path.write_bytes(GOOD + b"\n")
    dataset = Dataset.load(path)
    other.write_bytes(GOOD + b"\n")
    other.replace(path)
    with pytest.raises(DatasetError) as caught:
        list(dataset)
    assert [f.code for f in caught.value.report.faults] == ["FT008"]


@pytest.mark.parametrize("spaces", [b" ", b"\t\t", b"\r\n\r\n", b"   \n\t\n"])
def test_blanks_are_an_empty_file(tmp_path: Path, spaces: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(spaces)
    assert [f.code for f in look(path).faults] == ["FT004"]


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx"])
def test_cells_that_a_spreadsheet_would_run_are_noted(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f'prompt,completion\n"{cell}",fine\n')
    report = look(path)
    assert report.ok
    assert [(f.code, f.line, f.field) for f in report.notices] == [("FT312", 1, "prompt")]


def test_null_content_is_only_for_tool_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    asked = {"role": "user", "content": "a"}
    called = {
        "messages": [asked, {"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": tools,
    }
    assert look([called]).faults == ()
    silent = {"messages": [asked, {"role": "assistant", "content": None}]}
    assert [f.code for f in look([silent]).faults] == ["FT109"]


def test_an_embedded_page_is_no_image() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:text/html;base64,PGh0bWw+"}}
    row = {"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": "b"}]}
    assert [f.code for f in look([row]).faults] == ["FT122"]


def test_one_prompt_ten_thousand_times_is_two_groups() -> None:
    rows = [{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": f"answer {i % 2}"}]}
            for i in range(10_000)]  # fmt: skip
    report = look(rows)
    assert report.counts["FT301"] == 1
    assert report.counts["FT302"] == 2
    assert max(f.rows for f in report.notices) == 10_000
    assert all(len(f.lines) <= 20 for f in report.notices)


def test_a_pair_of_fifty_megabytes_is_refused_by_its_length(tmp_path: Path) -> None:
    said = [{"role": "assistant", "content": "x" * (26 << 20)}]
    pair = {
        "input": {"messages": [{"role": "user", "content": "a"}]},
        "preferred_output": said,
        "non_preferred_output": said,
    }
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(pair) + "\n")
    assert [(f.code, f.line) for f in look(path, method="dpo").faults if f.line] == [("FT009", 1)]
