"""The plain files of a run directory: private, read as they are, and followed from their end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_TAIL_BYTES = 128 * 1024


def write_private(path: Path, data: bytes) -> None:
    """Write `data` to `path`, readable by the owner only (0600)."""
    fd = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(data)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a private file of JSON lines; it must not exist."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is no file."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return value


def tail_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a log, within its last 128 KiB; none when there is no file."""
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return []
    with handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(0, size - _TAIL_BYTES))
        lines = handle.read().rstrip(b"\n").split(b"\n")
    # A progress bar redraws its line with carriage returns; only the last drawing counts.
    shown = [line.rsplit(b"\r", 1)[-1].decode(errors="replace") for line in lines if line]
    return shown[max(0, len(shown) - count) :]
