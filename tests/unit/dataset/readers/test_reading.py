"""Bytes and lines: what is refused, with which code, and exactly where."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

from ftsdk.dataset import Dataset, validate
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.errors import DatasetError

GOOD = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'


def check(tmp_path: Path, data: bytes, name: str = "rows.jsonl") -> DatasetReport:
    path = tmp_path / name
    path.write_bytes(data)
    return validate(path)


def codes(report: DatasetReport) -> list[str]:
    return [f.code for f in report.faults]


def with_content(content: bytes) -> bytes:
    return GOOD.replace(b'"a"', b'"' + content + b'"')


LINE_CASES = {
    "bad json": (b'{"messages": [}', "FT010", 14),
    "invalid byte": (with_content(b"\xff"), "FT011", 39),
    "overlong": (with_content(b"\xc0\xaf"), "FT011", 39),
    "cesu-8": (with_content(b"\xed\xa0\x80"), "FT011", 39),
    "lone surrogate": (with_content(b"\\ud800"), "FT012", 39),
    "lone second half": (with_content(b"a\\udc00"), "FT012", 40),
    "second half after an escaped backslash": (with_content(b"\\\\ud83d\\ude00"), "FT012", 46),
    "first half, text, second half": (with_content(b"\\ud83d-\\ude00"), "FT012", 39),
    "raw NUL": (with_content(b"\x00"), "FT016", 39),
    "raw control": (with_content(b"\x01"), "FT016", 39),
    "two objects": (GOOD + b" " + GOOD, "FT017", len(GOOD) + 1),
    "NaN": (GOOD[:-1] + b',"x":NaN}', "FT013", len(GOOD) + 4),
    "minus infinity": (GOOD[:-1] + b',"x":-Infinity}', "FT013", len(GOOD) + 4),
    "1e999": (GOOD[:-1] + b',"x":1e999}', "FT013", len(GOOD) + 4),
    "5,000 digits": (GOOD[:-1] + b',"x":' + b"9" * 5000 + b"}", "FT013", len(GOOD) + 4),
    "repeated key": (GOOD[:-1] + b',"messages":[]}', "FT014", len(GOOD)),
    "repeated role": (GOOD.replace(b'{"role"', b'{"role":"user","role"', 1), "FT014", 28),
    "depth 100,000": (b"[" * 100_000 + b"]" * 100_000, "FT015", 64),
    "depth 900": (b'{"a":' * 900 + b"1" + b"}" * 900, "FT015", 64 * 5),
    "BOM on line 2": (b"\xef\xbb\xbf" + GOOD, "FT020", 0),
    "1 MB key": (GOOD[:-1] + b',"' + b"k" * 1_000_000 + b'":1}', "FT022", len(GOOD)),
    "no object": (b"[1, 2]", "FT019", 0),
    "number": (b"12", "FT019", 0),
}


@pytest.mark.parametrize("case", LINE_CASES)
def test_a_bad_line_is_refused_at_its_place(tmp_path: Path, case: str) -> None:
    line, code, offset = LINE_CASES[case]
    report = check(tmp_path, GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert codes(report) == [code]
    fault = report.faults[0]
    assert (fault.line, fault.offset) == (2, len(GOOD) + 1 + offset)
    assert report.rows == 3
    assert fault.message
    assert fault.hint


@pytest.mark.parametrize(
    "line",
    [
        with_content("a\u2028b\u2029c\u0085d".encode()),
        with_content(b"a\\u001cb"),
        GOOD + b"\r",
        with_content(b"\\ud83d\\ude00"),
        with_content(b'say \\"hi\\" and \\u0022so\\u0022'),
        with_content(b"{{7*7}} {% for x in y %}"),
    ],
)  # fmt: skip
def test_sound_lines_are_one_record_each(tmp_path: Path, line: bytes) -> None:
    report = check(tmp_path, line + b"\n" + GOOD)
    assert report.ok
    assert report.rows == 2


FILE_CASES = {
    "utf-16 with BOM": (GOOD.decode().encode("utf-16"), "FT007"),
    "utf-16-le": (GOOD.decode().encode("utf-16-le"), "FT007"),
    "utf-16-be": (GOOD.decode().encode("utf-16-be"), "FT007"),
    "utf-32": (GOOD.decode().encode("utf-32"), "FT007"),
    "CR only": (GOOD + b"\r" + GOOD + b"\r", "FT005"),
    "empty": (b"", "FT004"),
    "blank lines": (b"\n\n  \n", "FT004"),
    "pretty-printed": (b'{\n  "messages": []\n}\n', "FT005"),
    "array": (b"[" + GOOD + b"]", "FT005"),
    "gzip": (gzip.compress(GOOD), "FT005"),
    "zeros": (b"\x00" * 5000, "FT016"),
    "cut off": (GOOD + b"\n" + GOOD[:40], "FT018"),
}


@pytest.mark.parametrize("case", FILE_CASES)
def test_a_file_that_is_no_jsonl_is_named_for_what_it_is(tmp_path: Path, case: str) -> None:
    data, code = FILE_CASES[case]
    assert codes(check(tmp_path, data)) == [code]


def test_bom_at_the_start_is_a_notice_and_offsets_count_it(tmp_path: Path) -> None:
    report = check(tmp_path, b"\xef\xbb\xbf" + GOOD + b"\n{]\n")
    assert [f.code for f in report.notices] == ["FT020"]
    assert [(f.code, f.line, f.offset) for f in report.faults] == [("FT010", 2, 3 + len(GOOD) + 2)]


def test_no_final_newline_is_fine(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD).ok


def test_long_row_is_skipped_and_the_next_one_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(with_content(b"x" * (9 << 20)) + b"\n" + GOOD + b"\n[]\n")
    report = validate(path)
    assert [(f.code, f.line) for f in report.faults] == [("FT009", 1), ("FT019", 3)]
    assert report.rows == 3
    assert validate(path, max_row_bytes=10 << 20).counts == {"FT019": 1}


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.jsonl"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    for path, code in ((tmp_path, "FT002"), (fifo, "FT002"), (Path("/dev/zero"), "FT002"),
                       (loop, "FT003"), (tmp_path / "pipe.json", "FT001")):  # fmt: skip
        assert codes(validate(path)) == [code]
        with pytest.raises(DatasetError) as caught:
            Dataset.load(path)
        assert caught.value.report.faults[0].code == code
    assert "pipe.jsonl" in validate(tmp_path / "pipe.json").faults[0].hint


def test_a_file_that_changes_under_the_reader_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes((GOOD + b"\n") * 10)
    dataset = Dataset.load(path)
    with path.open("ab") as handle:
        handle.write(GOOD + b"\n")
    with pytest.raises(DatasetError) as caught:
        list(dataset)
    assert caught.value.report.faults[0].code == "FT008"


def test_a_gzip_bomb_stops_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as handle:
        for _ in range(100):
            handle.write((b" " * 1023 + b"\n") * 1024)
    assert codes(validate(path)) == ["FT006"]


@pytest.mark.parametrize("cut", [True, False])
def test_gzip_is_read_and_a_cut_one_refused(tmp_path: Path, cut: bool) -> None:
    data = gzip.compress((GOOD + b"\n") * 1000)
    report = check(tmp_path, data[: len(data) // 2] if cut else data, "rows.jsonl.gz")
    assert codes(report) == (["FT006"] if cut else [])
    assert cut or report.rows == 1000


@pytest.mark.parametrize("name", ["rows.gz", "rows.zst"])
def test_a_packed_file_without_an_inner_ending_holds_lines(tmp_path: Path, name: str) -> None:
    data = (GOOD + b"\n") * 10
    if name.endswith(".zst"):
        data = pytest.importorskip("zstandard", reason="zst needs ftsdk[data]").compress(data)
    else:
        data = gzip.compress(data)
    report = check(tmp_path, data, name)
    assert (report.rows, codes(report)) == (10, [])
    other = "FT005" if name.endswith(".zst") else "FT025"  # .csv.gz is a table
    assert codes(check(tmp_path, data, f"rows.csv.{name[5:]}")) == [other]


def test_a_file_of_a_byte_order_mark_alone_holds_no_rows(tmp_path: Path) -> None:
    assert codes(check(tmp_path, b"\xef\xbb\xbf")) == ["FT004"]


def test_json_array_gives_rows_with_offsets(tmp_path: Path) -> None:
    data = b"[\n  " + GOOD + b",\n  " + GOOD.replace(b'"user"', b'"User"') + b"\n]\n"
    report = check(tmp_path, data, "rows.json")
    assert [(f.code, f.line, f.offset) for f in report.faults] == [("FT104", 2, 4 + len(GOOD) + 4)]
    assert report.rows == 2
    for bad, code in ((data[:-10], "FT018"), (data + b"x", "FT017"), (b"{}x\n", "FT010")):
        assert code in codes(check(tmp_path, bad, "rows.json"))


def test_a_bad_element_of_an_array_is_named_where_it_breaks(tmp_path: Path) -> None:
    bad = b'{"messages": [1,}'
    for head in (b"[\n", b"\xef\xbb\xbf  ["):
        data = head + b",\n".join([GOOD, GOOD, bad, GOOD]) + b"]"
        (fault,) = check(tmp_path, data, "rows.json").faults
        place = data.index(bad) + len(bad) - 1
        assert (fault.code, fault.line, fault.offset) == ("FT010", 3, place)


def test_an_array_is_cut_into_rows_across_reads(tmp_path: Path) -> None:
    rows = [
        {"text": '[{"\\' * n + "]}, é\u2028" * (n % 7) + "x" * (n % 3 * 70_000), "n": [n, [], {}, [{}]]}
        for n in range(60)
    ]  # fmt: skip
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    assert list(Dataset.load(path)) == rows


def test_cells_of_csv_are_checked_as_strictly_as_lines(tmp_path: Path) -> None:
    turns = '[{{"role":"user","content":"a"{}}},{{"role":"assistant","content":"b"}}]'
    cells = [turns.format(more) for more in
             ("", ',"content":"c"', ',"x":123456789012345678901', ',"x":NaN', ',"x":"\\ud800"', "\x00")]  # fmt: skip
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(
            [["messages", "parallel_tool_calls"], *([c, "True"] for c in cells)]
        )
    report = validate(path)
    assert [(f.code, f.line, f.field) for f in report.faults] == [
        (code, line, "messages")
        for line, code in enumerate(("FT014", "FT013", "FT013", "FT012", "FT016"), start=2)
    ]


def test_a_text_of_csv_may_look_like_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pairs = [("Sort this", "[3, 1, 2]"), ("Tidy", '{"b": 1,}'), ("[Note] say hi", "")]
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(
            [["instruction", "input", "output"], *([*p, "x"] for p in pairs)]
        )
    asked = [row["messages"][0]["content"] for row in Dataset.load(path)]
    assert asked == ["Sort this\n\n[3, 1, 2]", 'Tidy\n\n{"b": 1,}', "[Note] say hi"]
    chosen = '[{"role": "assistant", "content": "yes"}]'
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(
            [["prompt", "chosen", "rejected"], ["[1] or [2]?", chosen, "no"]]
        )
    (row,) = Dataset.load(path)
    assert row["input"]["messages"][0]["content"] == "[1] or [2]?"
    assert row["preferred_output"] == json.loads(chosen)


def test_a_row_that_holds_itself_is_a_fault() -> None:
    rounds: list[object] = []
    rounds.append({"messages": rounds})
    assert codes(validate([{"messages": rounds}])) == ["FT015"]


def test_csv_with_json_cells_and_formulas(tmp_path: Path) -> None:
    text = 'prompt,completion\n"hello\nthere",hi\n=cmd|x,ok\nshort\n'
    report = check(tmp_path, text.encode(), "rows.csv")
    assert report.format == "completion"
    assert [(f.code, f.line) for f in report.faults] == [("FT025", 3)]
    assert [(f.code, f.line, f.field) for f in report.notices] == [("FT312", 2, "prompt")]


def test_rows_in_memory_name_the_row(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": float("nan")}]},
        {"messages": {1: object()}},
    ]  # fmt: skip
    report = validate(iter(rows))
    assert [(f.code, f.line, f.offset) for f in report.faults] == [
        ("FT013", 2, None),
        ("FT024", 3, None),
    ]
    assert codes(validate({"messages": []})) == ["FT024"]
    assert codes(validate(17)) == ["FT024"]
    assert codes(validate([])) == ["FT004"]


def test_all_faults_come_at_once_and_the_error_carries_them(tmp_path: Path) -> None:
    bad = b'{"messages":[{"role":"robot","content":7}]}\n'
    report = check(tmp_path, GOOD + b"\n" + bad + b"nonsense\n")
    assert codes(report) == ["FT104", "FT105", "FT108", "FT010"]
    with pytest.raises(DatasetError, match="unknown role") as caught:
        report.raise_for_faults()
    assert caught.value.report is report
    assert "line 2, messages[0].role [FT104]" in caught.value.where
    assert "3 more" in str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.json", "a.csv", "a.parquet"])  # fmt: skip
def test_how_far_a_file_was_read_is_reported_in_every_container(tmp_path: Path, name: str) -> None:
    rows = [{"prompt": f"question {i} {os.urandom(300).hex()}", "completion": f"answer {i}"} for i in range(4000)]  # fmt: skip
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path = tmp_path / name
    if name.endswith(".csv"):
        with path.open("w", newline="") as handle:
            table = csv.DictWriter(handle, ["prompt", "completion"])
            table.writeheader()
            table.writerows(rows)
    elif name.endswith(".parquet"):
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(rows), path)
    else:
        packed = {"gz": gzip.compress, "json": lambda _: json.dumps(rows).encode()}
        if name.endswith(".zst"):
            packed["zst"] = pytest.importorskip("zstandard").compress
        path.write_bytes(packed.get(name.rpartition(".")[2], bytes)(lines))
    reported: list[int] = []
    report = validate(path, tokens=False, near_duplicates=False, on_bytes=reported.append)
    assert report.rows == 4000
    assert sum(reported) == path.stat().st_size
    assert sum(count > 0 for count in reported) > 2
