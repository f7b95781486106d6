"""One part of a long file, judged in a process of its own: `parallel` starts it and reads its frames.

It is started by name and not forked, so that any application may validate a file, also one that has
threads or no main guard. A task comes in as JSON, and what was found goes back as frames: `p` and a
number of bytes read, or `r` with a JSON head and plain arrays. Nothing is pickled.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ftsdk.dataset.findings.report import Fault
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Record, read_lines
from ftsdk.dataset.readers.source import Source, open_regular
from ftsdk.dataset.rules.token_counts import counter_for

if TYPE_CHECKING:
    from ftsdk.dataset.validation.checker import Run

__all__ = ["FRAME", "arrays_of", "main"]

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
    """Line feeds that were read."""

    def records(
        self,
        *,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Iterator[Record | Fault]:
        """As those of a whole file, but what ends reading is raised: the caller starts again."""
        if self.path is None:
            return
        with open_regular(self.path) as handle:
            self.check_stamp(handle)
            handle.seek(self.start)
            part = _Part(handle, self.end - self.start)
            yield from read_lines(
                part, max_row_bytes=max_row_bytes, on_bytes=on_bytes, start=self.start
            )
            self.lines = part.lines
            self.check_stamp(handle)


def arrays_of(run: Run) -> list[array[int]]:
    """The arrays of a run, one number a row in each, in the order in which they are sent."""
    found = [run.repeats.prompts, run.repeats.answers, run.repeats.lines, run.repeats.lengths]
    if run.counting is not None:
        told = run.counting
        found += [told.totals, told.lines, told.learned, told.longest]
    return found


def _judge(task: dict[str, Any], tell: Callable[[int], None]) -> tuple[Run, int]:
    """The run over the task's part, and how many lines it has."""
    from ftsdk.dataset.validation.checker import Opened, Run

    part = _PartSource(
        name=task["name"], container="jsonl", path=Path(task["path"]), stamp=tuple(task["stamp"]),
        start=task["start"], end=task["end"],
    )  # fmt: skip
    limits = None if task["limits"] is None else Limits.from_dict(task["limits"])
    counting = None if task["counter"] is None else counter_for(**task["counter"], limits=limits)
    run = Run(
        Opened(part, task["forced"], None, task["max_row_bytes"], task["name"]),
        limits,
        task["provider"], task["model"], task["method"], counting, task["max_length"], near=False,
    )  # fmt: skip
    run.tokenizer = task["tokenizer"]
    run.read(tell, format_before=task["format"])
    return run, part.lines


def main() -> None:
    """Read one task from standard input, and write frames to standard output."""
    task = json.loads(sys.stdin.buffer.read())
    out = sys.stdout.buffer

    def tell(count: int) -> None:
        out.write(FRAME.pack(b"p", count))
        out.flush()

    run, lines = _judge(task, tell)
    arrays = arrays_of(run)
    head: dict[str, Any] = {
        "lines": lines,
        "format": run.format,
        "rows": run.rows,
        "image_rows": run.image_rows,
        "kept": [asdict(fault) for fault in run.found.kept],
        "counts": run.found.counts,
        "row_counts": run.found.rows,
        "texts": run.tallies.texts,
        "scripts": run.tallies.scripts,
        "script_lines": run.tallies.script_lines,
        "arrays": [len(values) for values in arrays],
    }
    if run.counting is not None:
        head["refused"] = [asdict(fault) for fault in run.counting.refused]
        head["trained"] = run.counting.trained
        head["exact"] = run.counting.counter.exact
    data = json.dumps(head).encode()
    out.write(FRAME.pack(b"r", len(data)) + data)
    for values in arrays:
        values.tofile(out)
    out.flush()


if __name__ == "__main__":
    main()
