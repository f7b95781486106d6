"""One `create_job` reads the user's file once: rows are checked, counted, hashed and copied in one pass."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.dataset import Dataset, validate, validate_for_job
from ftsdk.dataset.readers import canonical_copy, source
from ftsdk.dataset.validation import parallel, workers
from ftsdk.errors import DatasetError

SNIFFED_BYTES = 4096
"""What may be read beside the rows themselves, to see which kind of file it is."""


class Counted:
    """An open file that adds up the bytes read from it."""

    def __init__(self, handle: Any, reads: list[int]) -> None:
        self._handle, self._reads = handle, reads

    def read(self, size: int, /) -> bytes:
        data: bytes = self._handle.read(size)
        self._reads.append(len(data))
        return data

    def __enter__(self) -> Any:
        self._handle.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@pytest.fixture
def bytes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """A function from path to the bytes that were read from it since the test began.

    Every file of rows is opened by `open_regular`, which uses `os.fdopen`.
    """
    reads: dict[Path, list[int]] = {}
    real = os.fdopen

    def fdopen(fd: int, *arguments: Any, **options: Any) -> Any:
        handle, path = real(fd, *arguments, **options), Path(f"/proc/self/fd/{fd}").readlink()
        return Counted(handle, reads.setdefault(path, []))

    monkeypatch.setattr(source.os, "fdopen", fdopen)
    return lambda path: sum(reads.get(path.resolve(), []))


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"question {i} " + "x" * (i % 90)},
                      {"role": "assistant", "content": f"the answer is {i}, I think"}]}
        for i in range(count)
    ]  # fmt: skip


def write(path: Path, count: int) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows(count)))
    return path


@pytest.mark.parametrize("validation", [None, 0.1, "file"])
def test_a_job_reads_its_files_once(
    tmp_path: Path, bytes_of: Callable[[Path], int], validation: Any
) -> None:
    train = write(tmp_path / "train.jsonl", 3000)
    held = write(tmp_path / "held.jsonl", 40)
    given = held if validation == "file" else validation
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        job = client.create_job(train, provider="fake", model="m", validation=given, seed=4)
    assert bytes_of(train) <= train.stat().st_size + SNIFFED_BYTES
    assert bytes_of(held) <= (held.stat().st_size + SNIFFED_BYTES if given is held else 0)
    assert bytes_of(train) >= train.stat().st_size
    kept = tmp_path / "home" / "datasets" / job.snapshot.dataset["kept"]
    whole = Dataset.load(train)
    expected = whole if validation != 0.1 else whole.split(0.1, seed=4)[0]
    assert job.snapshot.dataset["sha256"] == expected.sha256 == kept.stem
    assert job.snapshot.dataset["rows"] == expected.rows
    assert kept.read_bytes() == expected.write_jsonl(tmp_path / "expected").read_bytes()


def test_a_copy_on_disk_is_the_same_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_of: Callable[[Path], int]
) -> None:
    monkeypatch.setattr(canonical_copy, "IN_MEMORY_BYTES", 10_000)
    train = write(tmp_path / "train.jsonl", 3000)
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        job = client.create_job(train, provider="fake", model="m")
    assert bytes_of(train) <= train.stat().st_size + SNIFFED_BYTES
    (kept,) = (tmp_path / "home" / "datasets").iterdir()
    assert kept.name == job.snapshot.dataset["kept"]
    assert kept.read_bytes() == Dataset.load(train).write_jsonl(tmp_path / "x").read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_nlink == 1


def test_a_file_elsewhere_is_not_the_copy_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_copy, "IN_MEMORY_BYTES", 10_000)
    folder = tmp_path / "datasets"
    checked = validate_for_job(
        Dataset.load(write(tmp_path / "train.jsonl", 3000)), None, folder=folder
    )
    rows_before = list(checked.train)
    kept, second = folder / "kept.jsonl", folder / "second.jsonl"
    for path in (tmp_path / "own.jsonl", kept, second):
        checked.train.write_jsonl(path)
    with (tmp_path / "own.jsonl").open("r+b") as own:
        own.write(b"changed")
    with second.open("r+b") as other:
        other.write(b"changed")
    assert list(checked.train) == rows_before == list(Dataset.load(kept))


def test_a_copy_that_finds_no_room_falls_back_to_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_copy, "IN_MEMORY_BYTES", 10_000)

    def no_room(folder: Path) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(canonical_copy, "_unnamed_file", no_room)
    train = Dataset.load(write(tmp_path / "train.jsonl", 3000))
    checked = validate_for_job(train, None, folder=tmp_path / "nowhere")
    assert not checked.train.has_copy
    assert checked.train.sha256 == train.sha256
    assert list(checked.train) == list(train)


def test_rows_keep_their_lines_and_their_format(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    pair = '{"prompt": "what is %d?", "completion": "it is %d"}'
    path.write_text("\n\n".join(pair % (i, i) for i in range(12)))
    checked = validate_for_job(Dataset.load(path), None, folder=tmp_path)
    assert checked.report == validate(path)
    assert [read.line for read in checked.train._reads()] == list(range(1, 24, 2))
    assert checked.train.format == "completion"
    assert checked.train.sha256 == Dataset.load(path).sha256


def test_a_file_that_changes_later_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", 30)
    before = Dataset.load(path).sha256
    checked = validate_for_job(Dataset.load(path), None, folder=tmp_path)
    write(path, 50)
    assert (checked.train.rows, checked.train.sha256) == (30, before)
    assert len(list(checked.train)) == 30


def test_a_file_that_changes_while_it_is_read_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", 30)
    train = Dataset.load(path)
    write(path, 50)
    checked = validate_for_job(train, None, folder=tmp_path)
    assert [fault.code for fault in checked.report.faults] == ["FT008"]
    with pytest.raises(DatasetError):
        list(checked.train)


@pytest.mark.parametrize("forks", [False, sys.platform == "linux"])
@pytest.mark.parametrize("in_memory", [1000, 32 << 20])
def test_parts_give_the_same_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int, forks: bool
) -> None:
    monkeypatch.setattr(workers, "may_fork", lambda: forks)
    path = write(tmp_path / "rows.jsonl", 6000)
    alone = validate_for_job(Dataset.load(path), None, folder=tmp_path / "one")
    monkeypatch.setattr(source, "MIN_BYTES", 1)
    monkeypatch.setattr(canonical_copy, "IN_MEMORY_BYTES", in_memory)
    monkeypatch.setattr(parallel, "_PART_BYTES", 100_000)
    monkeypatch.setattr(parallel, "_processors", lambda: 3)
    monkeypatch.setattr(
        "ftsdk.dataset.validation.validate.NearDuplicates.when_asked", lambda *_: None
    )
    tasks: list[dict[str, Any]] = []
    real = workers.Workers.run

    def seen(self: workers.Workers, given: list[dict[str, Any]], on_bytes: Any) -> Any:
        tasks.extend(given)
        return real(self, given, on_bytes)

    monkeypatch.setattr(workers.Workers, "run", seen)
    checked = validate_for_job(Dataset.load(path), None, folder=tmp_path / "parts")
    assert len(tasks) == 3
    assert [t["end"] for t in tasks[:2]] == [t["start"] for t in tasks[1:]]
    assert checked.train.sha256 == alone.train.sha256
    assert list(checked.train) == list(alone.train)
    assert [r.line for r in checked.train._reads()] == [r.line for r in alone.train._reads()]
    assert not list((tmp_path / "parts").iterdir())
