"""The fixed copy: changes are listed, other rows are copied, the source stays."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from ftsdk.dataset import fix, validate
from ftsdk.errors import DatasetError, UsageError


def test_fixes_lose_nothing_and_are_listed(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": "é"}}}
    twice = {"id": "c", "type": "function",
             "function": {"name": "f", "arguments": json.dumps(json.dumps({"a": 1}))}}  # fmt: skip
    tools = [{"type": "function", "function": {"name": "f"}}]
    rows = [
        {"messages": [{"role": "User", "content": "a\x00"}, {"role": "assistant", "content": "b", "weight": True}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}], "tools": tools},
        {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "tool_calls": [twice]}], "tools": tools},
        {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "fine"}]},
        {"messages": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "fine"}]},
    ]  # fmt: skip
    source = tmp_path / "in.jsonl"
    lines = [json.dumps(r, ensure_ascii=False).replace("\x00", "\\u0000") for r in rows]
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", "{bad"]).encode())
    before = source.read_bytes()
    report = fix(source, tmp_path / "out.jsonl", drop_duplicates=True)
    assert source.read_bytes() == before
    assert report.counts == {
        "FT020": 1,
        "FT104": 1,
        "FT021": 1,
        "FT107": 1,
        "FT113": 1,
        "FT114": 1,
        "FT302": 1,
    }
    assert (report.rows, report.left) == (5, 1)
    assert [(m.line, m.field) for m in report.changes if m.code == "FT114"] == [
        (3, "messages[1].tool_calls[0].function.arguments")
    ]
    after = validate(tmp_path / "out.jsonl", near_duplicates=False)
    assert [f.code for f in (*after.faults, *after.notices)] == ["FT010"]
    fixed = (tmp_path / "out.jsonl").read_bytes().split(b"\n")
    assert (
        json.loads(fixed[2])["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'
    )
    assert fixed[3].decode() == lines[3]
    assert report.also == ("left out 1 blank line", "ended the lines in LF, which ended in CR LF")
    assert all(done in str(report) for done in report.also)
    assert "first at line 3" in str(report)


def test_a_second_run_finds_nothing_to_fix(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"messages": [{"role": "USER", "content": "a"}]}\n')
    assert fix(tmp_path / "a.jsonl", tmp_path / "b.jsonl").counts == {"FT104": 1}
    assert fix(tmp_path / "b.jsonl", tmp_path / "c.jsonl").counts == {}
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "c.jsonl").read_bytes()


def test_what_is_found_in_other_formats_is_fixed_there(tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '"{}"'}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = [{"role": "assistant", "tool_calls": [call]}]
    rows = {
        "chosen": {"prompt": [{"role": "User", "content": "a"}], "chosen": answer,
                   "rejected": [{"role": "assistant", "content": "no"}], "tools": tools},
        "preference": {"input": {"messages": [{"role": "User", "content": "a"}], "tools": tools},
                       "preferred_output": answer,
                       "non_preferred_output": [{"role": "assistant", "content": "no"}]},
    }  # fmt: skip
    for name, row in rows.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        before = validate(path, method="dpo", near_duplicates=False)
        report = fix(path, tmp_path / f"{name}.fixed.jsonl")
        reported = {(m.code, m.field) for m in report.changes}
        assert {("FT114", f.field) for f in before.faults if f.code == "FT114"} < reported
        assert len(reported) == 2
        assert validate(report.path, method="dpo", near_duplicates=False).ok


def test_what_needs_no_fixing_is_copied_byte_by_byte(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"messages": [{"role": "user", "content": "caf\\u00e9"}, '
                      '{"role": "assistant",  "content": "1.10"}], "id": 1.10}\n')  # fmt: skip
    report = fix(source, tmp_path / "b.jsonl")
    assert (report.counts, report.also) == ({}, ())
    assert (tmp_path / "b.jsonl").read_bytes() == source.read_bytes()


def test_it_never_overwrites_its_source_and_needs_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(UsageError, match="replace its source"):
        fix(tmp_path / "a.jsonl", tmp_path / "a.jsonl")
    with pytest.raises(DatasetError):
        fix(tmp_path / "none.jsonl", tmp_path / "b.jsonl")


def array_file(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False).replace("\n", "\r\n"))
    return path


def test_an_indented_array_becomes_one_line_a_row(tmp_path: Path) -> None:
    fine = {"messages": [{"role": "user", "content": 'a " \\n  { b'}, {"role": "assistant", "content": "c"}],
            "id": 1.10}  # fmt: skip
    shouting = {"messages": [{**m, "role": m["role"].upper()} for m in fine["messages"]]}
    report = fix(array_file(tmp_path / "a.json", [fine, shouting]), tmp_path / "b.jsonl")
    lines = (tmp_path / "b.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [fine, {"messages": fine["messages"]}]
    assert report.rows == 2
    assert report.counts == {"FT104": 2}
    assert report.also == ("wrote the JSON array as JSON lines",)
    assert validate(tmp_path / "b.jsonl", near_duplicates=False).rows == 2


def test_an_element_that_cannot_be_read_is_one_line_or_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice.json"
    twice.write_text('[\n  {\n  "text": "a",\n  "text": "b c"}\n]')
    assert fix(twice, tmp_path / "b.jsonl").left == 1
    assert (tmp_path / "b.jsonl").read_text() == '{"text": "a","text": "b c"}\n'
    broken = tmp_path / "broken.json"
    broken.write_text('[{"text": "a"}, {"text": "a\nb"}]')
    with pytest.raises(DatasetError) as caught:
        fix(broken, tmp_path / "c.jsonl")
    assert "FT016" in str(caught.value)
    assert not (tmp_path / "c.jsonl").exists()


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.parquet", "b.csv"])
def test_the_copy_is_not_written_under_the_name_of_another_container(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(UsageError, match="JSON lines"):
        fix(tmp_path / "a.jsonl", tmp_path / name)


def test_dropping_duplicates_does_not_keep_the_rows(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    with source.open("w") as rows:
        for number in range(300):
            rows.write(json.dumps({"text": f"{number:06d}" * 10_000}) + "\n")
        rows.write(json.dumps({"text": "000007" * 10_000}) + "\n")
    tracemalloc.start()
    report = fix(source, tmp_path / "b.jsonl", drop_duplicates=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.rows, report.counts) == (300, {"FT302": 1})
    assert peak < 8 << 20  # the rows are 18 MB


def test_columns_are_written_under_their_standard_names(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("id;Question;Answer\n1;why?;because\n2;how?;so\n")
    report = fix(source, tmp_path / "b.jsonl", drop=["id"])
    rows = [json.loads(line) for line in report.path.read_text().split("\n") if line]
    assert rows == [
        {"prompt": "why?", "completion": "because"},
        {"prompt": "how?", "completion": "so"},
    ]
    assert report.counts == {"FT026": 2}
    assert report.also == ("left out id, in 2 rows", "wrote the table as JSON lines")
    assert "Question as prompt, Answer as completion" in str(report)
    assert validate(report.path, near_duplicates=False).counts == {}


def test_named_columns_are_written_and_said(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"asked": "a", "sql": "b"}\n{"prompt": "c", "completion": "d"}\n')
    names = {"asked": "prompt", "sql": "completion"}
    report = fix(source, tmp_path / "b.jsonl", map=names)
    assert report.path.read_text() == (
        '{"prompt":"a","completion":"b"}\n{"prompt": "c", "completion": "d"}\n'
    )
    assert report.also == ("wrote asked as prompt, wrote sql as completion, in 1 rows",)
    with pytest.raises(UsageError, match="no format reads"):
        fix(source, tmp_path / "c.jsonl", map={"asked": "promt"})


def test_two_columns_of_one_name_need_a_person(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"prompt": "a", "completion": "b", "x": "c"}\n')
    report = fix(source, tmp_path / "b.jsonl", map={"x": "prompt"})
    assert [(one.code, one.line) for one in report.refused] == [("FT134", 1)]
    assert report.path.read_bytes() == source.read_bytes()


def test_commas_between_rows_are_removed(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "a,"},\n{"text": "b"} ,\n{"text": "c"}, 1\n')
    report = fix(source, tmp_path / "b.jsonl")
    assert report.path.read_text() == '{"text":"a,"}\n{"text":"b"}\n{"text": "c"}, 1\n'
    assert (report.counts, report.left) == ({"FT017": 2}, 1)


def test_a_notice_of_the_reader_does_not_stop_fixing(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("prompt,completion\n=1+1,2\n")
    assert validate(source).counts == {"FT312": 1}
    report = fix(source, tmp_path / "b.jsonl")
    assert report.path.read_text() == '{"prompt":"=1+1","completion":"2"}\n'


def test_rows_of_a_table_or_array_are_written_anew(tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text('[{"text":  "caf\\u00e9",\r\n "id": 1e1}]')
    report = fix(source, tmp_path / "b.jsonl")
    assert report.path.read_text() == '{"text":"café","id":10.0}\n'
    assert report.counts == {}


def test_fixing_an_array_keeps_one_row_in_memory(tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text(json.dumps([{"Text": f"{n:06d}" * 10_000} for n in range(300)]))
    tracemalloc.start()
    report = fix(source, tmp_path / "b.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.rows, report.counts) == (300, {"FT026": 300})
    assert peak < 8 << 20  # the rows are 18 MB
