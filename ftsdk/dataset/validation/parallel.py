"""Checks a long file with one process for each processor; the report is that of one process.

The file is cut at line ends, each part is checked by a process (`workers`), and the results are joined in the
file's order. Anything unusual (a worker that fails, a file that changes, an endless row) gives up,
and the caller checks the file by itself from the start.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftsdk.dataset.reader import RowReader
from ftsdk.dataset.readers.lines import CHUNK
from ftsdk.dataset.readers.source import open_regular
from ftsdk.dataset.validation.checked import Checked, Opened, Target
from ftsdk.dataset.validation.stale_copies import copy_folder
from ftsdk.dataset.validation.worker import Task
from ftsdk.dataset.validation.workers import GiveUp, Result, Workers

_PART_BYTES = 8 << 20
_MOST_WORKERS = 8
_FIRST_ROWS = 100


class ForwardProgress:
    """Reports how many bytes were read, and never goes back when some are read again."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._read = self._reported = 0

    def __call__(self, count: int) -> None:
        """`count` more bytes were read."""
        self._read += count
        if self._read > self._reported:
            self._report(self._read - self._reported)
            self._reported = self._read

    def again(self, count: int) -> None:
        """The last `count` bytes will be read again."""
        self._read -= count

    def from_start(self) -> None:
        """All bytes will be read again."""
        self._read = 0


def check_in_parts(
    opened: Opened,
    target: Target,
    result: Checked,
    counter: dict[str, Any] | None,
    on_bytes: ForwardProgress | None,
) -> bool:
    """Check a file by workers into `result`; False, with `result` untouched, when it cannot be.

    `counter` has the arguments of `counter_for` with which each worker makes its own counter.
    """
    source = opened.source
    size = source.size_bytes or 0
    if source.path is None or not source.is_long:
        return False
    count = min(_processors(), _MOST_WORKERS, size // _PART_BYTES)
    if count < 2 or not sys.executable:
        return False
    with contextlib.ExitStack() as stack:
        try:
            form, workers = _format(opened), Workers()
            starts = [round(size * start) for start in workers.starts(count)]
            parts = _parts(source.path, [*starts, size], opened.max_row_bytes)
            copies = _copy_paths(result, len(parts), stack)
            tasks = [
                _task(opened, target, counter, form, part, copy)
                for part, copy in zip(parts, copies, strict=True)
            ]
            progress = on_bytes or ForwardProgress(lambda _: None)
            results = _checked_parts(tasks, workers, progress)
        except (GiveUp, OSError, ValueError):
            if on_bytes is not None:
                on_bytes.from_start()
            return False
        first_line = 0
        for (head, arrays), copy in zip(results, copies, strict=True):
            result.join(head, arrays, first_line)
            first_line += head["lines"]
            if result.copy is not None and copy is not None:
                result.copy.add_part(copy, head["copied"])
                copy.unlink()
    if result.copy is not None:
        result.copy.lines = result.duplicates.lines
    result.format = results[-1][0]["format"]
    return True


def _copy_paths(result: Checked, parts: int, stack: contextlib.ExitStack) -> list[Path | None]:
    """A path for each worker's copy of its rows, in a folder that is gone with `stack`."""
    if result.copy is None:
        return [None] * parts
    folder = stack.enter_context(copy_folder(result.copy.folder))
    return [folder / f"{number}.jsonl" for number in range(parts)]


def _task(
    opened: Opened,
    target: Target,
    counter: dict[str, Any] | None,
    form: str,
    part: tuple[int, int],
    copy: Path | None,
) -> Task:
    """A worker's task, as JSON values."""
    source = opened.source
    assert source.path is not None  # noqa: S101  # it is a file
    return {
        "path": str(source.path.absolute()), "name": source.name, "stamp": source.stamp,
        "start": part[0], "end": part[1], "format": form, "reading": opened.reading.to_dict(),
        "max_row_bytes": opened.max_row_bytes, "counter": counter,
        "limits": None if target.limits is None else target.limits.to_dict(),
        "target": {
            "provider": target.provider, "model": target.model, "method": target.method,
            "max_length": target.max_length,
            "tokenizer": None if target.tokenizer is None else str(target.tokenizer),
            "allowed": target.allowed,
        },
        "copy": None if copy is None else str(copy),
    }  # fmt: skip


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _format(opened: Opened) -> str:
    """The format of the file by its first rows."""
    reader = RowReader(opened.source, opened.reading, max_row_bytes=opened.max_row_bytes)
    for count, _ in enumerate(reader):
        if reader.format is not None:
            return reader.format
        if count >= _FIRST_ROWS:
            break
    raise GiveUp


def _parts(path: Path, wanted: Sequence[int], max_row_bytes: int) -> list[tuple[int, int]]:
    """Parts of a file between about the offsets that are wanted, each ending after a line feed."""
    borders, longest = [0], max(b - a for a, b in itertools.pairwise(wanted))
    with open_regular(path) as handle:
        for start in wanted[1:-1]:
            at = handle.seek(max(borders[-1], start))
            while chunk := handle.read(CHUNK):
                found = chunk.find(b"\n")
                if found >= 0:
                    borders.append(at + found + 1)
                    break
                at += len(chunk)
                if at - borders[-1] > longest + max_row_bytes:
                    raise GiveUp  # an endless row
    borders.append(wanted[-1])
    return [(a, b) for a, b in itertools.pairwise(borders) if a < b]


def _checked_parts(tasks: list[Task], workers: Workers, progress: ForwardProgress) -> list[Result]:
    """The results of the tasks, each part read in the format of the rows before it.

    Rows for Claude look like plain chat until one has a system prompt. When that row is not in the
    first part, the parts after it are checked again.
    """
    results = workers.run(tasks, progress)
    for number in range(1, len(tasks)):
        before, later = results[number - 1][0]["format"], tasks[number:]
        if before != tasks[number]["format"]:
            progress.again(sum(task["end"] - task["start"] for task in later))
            results[number:] = workers.run([{**task, "format": before} for task in later], progress)
            break  # a format changes once
    return results
