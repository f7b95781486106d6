"""The event log of a run: one JSON object per line, appended, never rewritten.

A crash may leave the last line half written. Readers stop before it; the next writer removes it
before it appends. `seq` starts at 1 and rises by one, also across a resume.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def utc_now() -> str:
    """The current time as ISO 8601 in UTC, to the millisecond."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class EventWriter:
    """Appends events to `path`. Only the process that holds the run's lock may write."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._seq = self._repair()
        self._listeners: list[Callable[[Mapping[str, Any]], None]] = []

    def listen(self, listener: Callable[[Mapping[str, Any]], None]) -> None:
        """Call `listener` with each event from now on, after it is written."""
        self._listeners.append(listener)

    def _repair(self) -> int:
        """Remove a half-written last line; returns the number of the last complete event."""
        size = os.fstat(self._fd).st_size
        tail, start = b"", size
        while start > 0 and tail.count(b"\n") < 2:
            step = min(65536, start)
            start -= step
            tail = os.pread(self._fd, step, start) + tail
        whole = tail.rfind(b"\n") + 1
        if start + whole < size:
            os.ftruncate(self._fd, start + whole)
        lines = tail[:whole].rstrip(b"\n").split(b"\n")
        return int(json.loads(lines[-1])["seq"]) if lines[-1] else 0

    def write(self, kind: str, **facts: Any) -> int:
        """Append one event; returns its number. Raises `ValueError` for a NaN or infinite fact."""
        event: dict[str, Any] = {"seq": self._seq + 1, "time": utc_now(), "kind": kind, **facts}
        data = json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        written = os.write(self._fd, data)
        while written < len(data):
            written += os.write(self._fd, data[written:])
        self._seq += 1
        for listener in self._listeners:
            listener(event)
        return int(event["seq"])

    def sync(self) -> None:
        """Make the events written so far durable."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each complete event from byte `offset` on, with the offset behind it."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        handle.seek(offset)
        for line in handle:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset
