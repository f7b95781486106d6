"""The event log: complete lines, numbered without gaps, whatever a crash left at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.backends.local.runs.events import EventWriter, read_lines


def numbers(path: Path) -> list[int]:
    return [event["seq"] for event, _ in read_lines(path)]


def test_numbers_continue_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(3):
        writer = EventWriter(path)
        writer.write("log", message="a\u2028b")
        writer.write("log", message="x" * 70_000)
        writer.close()
    assert numbers(path) == [1, 2, 3, 4, 5, 6]
    assert path.stat().st_mode & 0o777 == 0o600


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(min_value=0, max_value=400))
def test_a_half_written_line_is_ignored_by_readers_and_removed_by_the_next_writer(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("half") / "events.jsonl"
    writer = EventWriter(path)
    for k in range(5):
        writer.write("metric", step=k, train_loss=1.5)
    writer.close()
    data = path.read_bytes()[: max(0, path.stat().st_size - cut)]
    path.write_bytes(data)
    whole = data.count(b"\n")
    assert numbers(path) == list(range(1, whole + 1))
    writer = EventWriter(path)
    assert writer.write("log", message="after") == whole + 1
    writer.close()
    assert numbers(path) == list(range(1, whole + 2))
    assert all(json.loads(line) for line in path.read_bytes().rstrip(b"\n").split(b"\n"))


def test_a_reader_can_continue_from_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = EventWriter(path)
    writer.write("log", message="one")
    [(_, offset)] = read_lines(path)
    writer.write("log", message="two")
    writer.close()
    assert [event["message"] for event, _ in read_lines(path, offset)] == ["two"]


def test_without_a_file_there_are_no_events(tmp_path: Path) -> None:
    assert list(read_lines(tmp_path / "events.jsonl")) == []


def test_nan_is_refused(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match="not JSON compliant"):
        writer.write("metric", train_loss=float("nan"))
    writer.close()
    assert numbers(tmp_path / "events.jsonl") == []
