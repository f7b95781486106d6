"""A file checked in parts gives the report of one pass, or is read again in one pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.readers import source
from ftsdk.dataset.validation import parallel, workers

LONG_WORD = "x" * 400


def lines() -> list[bytes]:
    made: list[bytes] = []
    for i in range(900):
        asked, answer = f"question {i % 700} {LONG_WORD}", f"the answer is {i % 650}, I think"
        if i % 90 == 7:
            answer = f"write to anna{i}@mail.parcel-desk.net"
        if i % 200 == 9:
            answer = "ответ на вопрос, который был задан"
        row = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}  # fmt: skip
        made.append(json.dumps(row, ensure_ascii=False).encode())
    made[5] = b""
    made[300] = b'{"messages": ['
    made[600] = b'{"messages": []}'
    made[601] = b'{"text": "another format"}'
    made[850] = b"\xff\xfe"
    made[899] = made[2]
    return made


@pytest.fixture(
    params=[
        "commands",
        pytest.param("forks", marks=pytest.mark.skipif(sys.platform != "linux", reason="no fork")),
    ]
)
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are checked in parts, by workers that are commands, and by forks."""
    monkeypatch.setattr(workers, "may_fork", lambda: request.param == "forks")
    monkeypatch.setattr(source, "MIN_BYTES", 1)
    monkeypatch.setattr(parallel, "_PART_BYTES", 100_000)
    monkeypatch.setattr(parallel, "_processors", lambda: 3)


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Any, Any, list[int]]:
    """The report of one pass, that of parts, and the result of each try at parts."""
    options = {"near_duplicates": False, "tokens": False} | options
    with monkeypatch.context() as patch:
        patch.setattr(parallel, "_processors", lambda: 1)
        alone = validate(path, **options)
    tries: list[int] = []
    real = workers.Workers.run

    def counted(self: Any, tasks: Any, on_bytes: Any) -> Any:
        found = real(self, tasks, on_bytes)
        tries.append(len(found))
        return found

    monkeypatch.setattr(workers.Workers, "run", counted)
    return alone, validate(path, **options), tries


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("end", [b"\n", b"", b"\r\n"])
def test_the_report_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + (b"\r\n" if end == b"\r\n" else b"\n").join(lines()) + end)
    seen: list[int] = []
    alone, parts, tries = both(path, monkeypatch, on_bytes=seen.append)
    assert tries == [3]
    assert parts == alone
    assert {f.line for f in alone.faults} >= {301, 601, 602, 851}
    assert sum(seen) == 2 * path.stat().st_size
    assert {"FT301", "FT302", "FT406", "FT020", "FT309"} <= set(alone.counts)


@pytest.mark.usefixtures("small_parts")
def test_tokens_and_limits_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bpe_openai")
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines()))
    alone, parts, tries = both(
        path, monkeypatch, tokens=None, model="gpt-4.1", provider="openai", max_length=70
    )
    assert tries == [3]
    assert parts == alone
    assert alone.tokens.truncated_rows > 0


def plain(i: int) -> dict[str, Any]:
    asked, answer = f"question {i} {LONG_WORD}", f"the answer is {i}"
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}  # fmt: skip


def claude(i: int) -> dict[str, Any]:
    return {"system": "Be short.", **plain(i)}


def converse(i: int) -> dict[str, Any]:
    asked, answered = ([{"text": m["content"]}] for m in plain(i)["messages"])
    return {"schemaVersion": "bedrock-conversation-2024", "messages": [
        {"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}  # fmt: skip


def gemini(i: int) -> dict[str, Any]:
    return {"contents": [{"role": r, "parts": [{"text": m["content"]}]}
                         for r, m in zip(("user", "model"), plain(i)["messages"], strict=True)]}  # fmt: skip


def strange(i: int) -> dict[str, Any]:
    return {"odd": f"{i} {LONG_WORD}"}


def with_a_call(i: int) -> dict[str, Any]:
    """A row that is valid as chat and not in Claude's format: its tools are others."""
    row = plain(i)
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    row["messages"][1:1] = [{"role": "assistant", "tool_calls": [call]},
                            {"role": "tool", "tool_call_id": "c", "content": "found"}]  # fmt: skip
    return row


BEGINNINGS: list[tuple[str, list[tuple[int, Any]]]] = [
    ("claude", [(150, plain), (750, claude)]),  # beyond the rows that are looked at first
    ("claude", [(350, plain), (550, claude)]),  # in the second part
    ("claude", [(250, plain), (1, claude), (350, plain), (299, with_a_call)]),
    ("claude", [(899, plain), (1, claude)]),
    ("claude", [(450, with_a_call), (450, claude)]),
    ("chat", [(450, plain), (450, converse)]),
    ("chat", [(450, plain), (450, gemini)]),
    ("gemini", [(1, gemini), (449, plain), (450, gemini)]),
    ("converse", [(1, converse), (449, plain), (450, converse)]),
    ("claude", [(50, strange), (400, plain), (450, claude)]),
    ("claude", [(150, strange), (300, plain), (450, claude)]),
]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("found", "runs"), BEGINNINGS)
def test_the_format_is_the_same_whatever_the_file_begins_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, runs: list[tuple[int, Any]]
) -> None:
    path = tmp_path / "rows.jsonl"
    made = [make for count, make in runs for _ in range(count)]
    path.write_text("".join(json.dumps(make(i)) + "\n" for i, make in enumerate(made)))
    seen: list[int] = []
    alone, parts, tries = both(path, monkeypatch, on_bytes=seen.append)
    assert tries or runs[0] == (150, strange)  # no format in the first rows: read in one pass
    assert alone.format == found
    assert parts == alone
    assert sum(seen) == 2 * path.stat().st_size
    assert min(seen) > 0


@pytest.mark.usefixtures("small_parts")
def test_rows_are_compared_with_those_of_parts_that_are_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [plain(i % 890) for i in range(899)]
    made.insert(400, claude(400))
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    alone, parts, tries = both(path, monkeypatch)
    assert tries == [3, 1]
    assert alone.counts["FT302"] == 9
    assert parts == alone


@pytest.mark.usefixtures("small_parts")
def test_only_the_parts_behind_a_change_of_format_are_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps((plain, claude)[i >= 400](i)) + "\n" for i in range(900)))
    _, _, tries = both(path, monkeypatch)
    assert tries == [3, 1]


@pytest.mark.usefixtures("small_parts")
def test_the_same_rows_are_looked_at_for_their_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = "the answer is in the table of the second page, and it is not for you"
    german = "die Antwort steht in der Tabelle auf der zweiten Seite und ist nicht für dich"
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for i in range(3000):
            row = plain(i)
            row["messages"][1]["content"] = f"{german if i % 300 == 7 else english} {i}"
            file.write(json.dumps(row) + "\n")
    alone, parts, tries = both(path, monkeypatch)
    assert tries == [3]
    assert "FT313" in alone.counts
    assert parts == alone


@pytest.mark.usefixtures("small_parts")
def test_token_ids_are_held_against_the_tokenizer_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra `local`")
    words = tokenizers.models.WordLevel({"a": 0, "b": 99_999}, unk_token="a")
    folder = tmp_path / "toy"
    folder.mkdir()
    tokenizers.Tokenizer(words).save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for i in range(2000):
            ids = [*range(i, i + 30), 100_000 + i if i % 500 == 3 else 7]
            file.write(json.dumps({"input_ids": ids, "attention_mask": [1] * 31}) + "\n")
    for named in (folder, str(folder)):
        alone, parts, tries = both(path, monkeypatch, tokenizer=named)
        assert tries == [3]
        assert alone.counts["FT146"] == 4
        assert parts == alone
    counted, parts, _ = both(path, monkeypatch, tokenizer=folder, tokens=None)
    assert (counted.tokens.total, counted.tokens.exact) == (1996 * 31, True)
    assert parts == counted


@pytest.mark.usefixtures("small_parts")
def test_a_file_that_repeats_itself_is_read_in_parts_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines()[10:100]) + b"\n")
    path.write_bytes(path.read_bytes() * 10)
    alone, parts, tries = both(path, monkeypatch)
    assert tries == [3]
    assert parts == alone
    assert parts.rows == 900


@pytest.mark.usefixtures("small_parts")
def test_what_is_unusual_is_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines()))
    monkeypatch.setattr(
        workers, "_worker_command", lambda: [sys.executable, "-c", "raise SystemExit(1)"]
    )
    monkeypatch.setattr(workers, "write_answer", lambda _task, _out: 1 / 0)
    alone, parts, tries = both(path, monkeypatch)
    assert tries == []
    assert parts == alone


@pytest.mark.usefixtures("small_parts")
def test_the_reported_bytes_never_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines()))

    def broken(_self: Any, _tasks: Any, on_bytes: Any) -> Any:
        on_bytes(50_000)
        raise workers.GiveUp

    monkeypatch.setattr(workers.Workers, "run", broken)
    seen: list[int] = []
    validate(path, tokens=False, near_duplicates=False, on_bytes=seen.append)
    assert seen[0] == 50_000
    assert min(seen) > 0
    assert sum(seen) == path.stat().st_size


@pytest.mark.usefixtures("small_parts")
def test_rows_in_memory_and_held_out_rows_are_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines()))
    held = [json.loads(lines()[3])]
    _, report, tries = both(path, monkeypatch, validation=held)
    assert tries == []
    assert "FT304" in report.counts


def test_it_works_in_a_script_without_a_main_guard(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines()))
    script = tmp_path / "script.py"
    script.write_text(
        "from ftsdk.dataset import validate\n"
        "from ftsdk.dataset.validation import parallel\n"
        "from ftsdk.dataset.readers import source\n"
        "source.MIN_BYTES, parallel._PART_BYTES = 1, 100_000\n"
        "parallel._processors = lambda: 2\n"
        "report = validate('rows.jsonl', tokens=False, near_duplicates=False)\n"
        "print('once', report.rows)\n"
    )
    done = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == b"once 899\n"


def test_what_is_read_as_something_else_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"question": f"question {i}", "answer": f"the answer is {i}"} for i in range(3000)]
    rows[2500]["cot"] = "because it is so"
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = validate(path, near_duplicates=False, map={"question": "prompt"})
    monkeypatch.setattr(source, "MIN_BYTES", 1)
    monkeypatch.setattr(parallel, "_PART_BYTES", 20_000)
    monkeypatch.setattr(parallel, "_processors", lambda: 3)
    parted = validate(path, near_duplicates=False, map={"question": "prompt"})
    assert parted.to_dict() == whole.to_dict()
    (notice,) = whole.notices
    assert notice.message == (
        "columns are read under other names: answer as completion; "
        "cot is read as the reasoning of the answer (first at line 2501)"
    )


def test_values_are_acknowledged_in_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": f"q {i}", "completion": f"write to anna{i}@ours.net"} for i in range(3000)]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(source, "MIN_BYTES", 1)
    monkeypatch.setattr(parallel, "_PART_BYTES", 20_000)
    monkeypatch.setattr(parallel, "_processors", lambda: 3)
    assert validate(path, near_duplicates=False).counts == {"FT406": 3000}
    assert (
        validate(path, near_duplicates=False, allow_findings=["FT406:anna*@ours.net"]).counts == {}
    )


FORKED = """
import os, sys, threading
from ftsdk.dataset import validate
from ftsdk.dataset.readers import source
from ftsdk.dataset.validation import parallel, workers
source.MIN_BYTES, parallel._PART_BYTES = 1, 100_000
parallel._processors = lambda: 3
seen, fork = [], os.fork
os.fork = lambda: seen.append(1) or fork()
sys.stdout.write("once ")  # is not flushed yet when the process is forked
assert workers.may_fork()
first = validate("rows.jsonl", tokens=False, near_duplicates=False)
again = validate("rows.jsonl", tokens=False, near_duplicates=False)
assert len(seen) == 4 and first == again
release = threading.Event()
threading.Thread(target=release.wait).start()
assert not workers.may_fork()
assert validate("rows.jsonl", tokens=False, near_duplicates=False) == first
release.set()
assert len(seen) == 4
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no fork")
def test_a_process_of_one_thread_is_forked_and_any_other_starts_commands(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines()))
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == b"once "


@pytest.mark.skipif(sys.platform != "linux", reason="no fork")
def test_an_application_may_wait_for_all_of_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(workers, "write_answer", lambda _task, _out: os.write(writing, b"x"))
    with workers._forked({}) as output:
        assert os.read(reading, 1) == b"x"
        assert output.read() == b""
        os.waitpid(-1, 0)
    os.close(reading)
    os.close(writing)
