"""The check of one part of a long file, in a process that `workers` starts.

As a command it reads a task as JSON from standard input. The answer is a row of frames on standard
output: `p` with a number of bytes read, and at last `r` with a JSON head and plain arrays. Nothing is
pickled, and no row is sent.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.reader import Reading
from ftsdk.dataset.readers.canonical_copy import CanonicalCopy
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Block, Record, read_blocks
from ftsdk.dataset.readers.source import Source, open_regular
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.dataset.validation.checked import Checked, Opened, Target
from ftsdk.dataset.validation.checker import RowChecker

Task = dict[str, Any]
"""A part of a file and how it is to be checked, as JSON values."""
FRAME = struct.Struct("<cQ")
"""A frame's kind, and its number: bytes read, or the length of the head that follows."""


class _Part:
    """The next `left` bytes of a stream."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream, self._left = stream, left
        self.lines = 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end of the part."""
        piece = self._stream.read(min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        self.lines += piece.count(b"\n")
        return piece


@dataclass
class _PartSource(Source):
    """The records of a file between two offsets; their lines count from the part's first."""

    start: int = 0
    end: int = 0
    lines: int = 0
    """The number of line feeds that were read."""

    def items(
        self,
        *,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Iterator[Block | Record | Fault]:
        """As those of a whole file, but whatever ends reading is raised, so that the caller starts again."""
        if self.path is None:
            return
        with open_regular(self.path) as handle:
            self.check_stamp(handle)
            handle.seek(self.start)
            part = _Part(handle, self.end - self.start)
            yield from read_blocks(
                part, max_row_bytes=max_row_bytes, on_bytes=on_bytes, start=self.start
            )
            self.lines = part.lines
            self.check_stamp(handle)


def check_part(task: Task, on_bytes: Callable[[int], None]) -> tuple[Checked, int]:
    """The result of a task's part of the file, and the number of its lines."""
    part = _PartSource(
        name=task["name"], container="jsonl", path=Path(task["path"]), stamp=tuple(task["stamp"]),
        start=task["start"], end=task["end"],
    )  # fmt: skip
    reading = Reading.from_dict(task["reading"])
    limits = None if task["limits"] is None else Limits.from_dict(task["limits"])
    counter = task["counter"]
    result = Checked(
        counting=None if counter is None else counter_for(**counter, limits=limits),
        copy=None if task["copy"] is None else CanonicalCopy(Path(task["copy"]).parent),
    )
    checker = RowChecker(
        Opened(part, reading, None, task["max_row_bytes"], task["name"]),
        Target(limits=limits, **task["target"]),
        result,
    )
    checker.samples = False  # nobody asks for the answers of one part
    checker.read(on_bytes, format_before=task["format"])
    return result, part.lines


def check_task(
    task: Task, on_bytes: Callable[[int], None]
) -> tuple[dict[str, Any], list[array[int]]]:
    """The result of a task as JSON values and arrays; a copy of the rows is saved."""
    result, lines = check_part(task, on_bytes)
    arrays = result.arrays()
    head = result.to_dict() | {"lines": lines, "arrays": [len(values) for values in arrays]}
    if result.copy is not None:
        result.copy.save(Path(task["copy"]))
        head["copied"] = result.copy.rows
    return head, arrays


def write_answer(task: Task, out: BinaryIO) -> None:
    """Check the part of a task, and write frames."""

    def report_bytes(count: int) -> None:
        out.write(FRAME.pack(b"p", count))
        out.flush()

    head, arrays = check_task(task, report_bytes)
    data = json.dumps(head).encode()
    out.write(FRAME.pack(b"r", len(data)) + data)
    out.writelines(memoryview(values).cast("B") for values in arrays)
    out.flush()


def main() -> None:
    """Read one task from standard input, and write frames to standard output."""
    write_answer(json.loads(sys.stdin.buffer.read()), sys.stdout.buffer)


if __name__ == "__main__":
    main()
