"""A download that outlives its process: the bytes so far, and beside them which file they are of.

The bytes count only up to the last length that was made durable: after a power cut the end of a file
may be zeros. They are continued only when the server confirms a strong ETag; otherwise the download
starts again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ftsdk.util.files import atomic_write_json, fsync_folder

RECORDED_EVERY = 64 << 20
"""Bytes between two records of the durable length."""


class PartialFile:
    """The file at `path`, and what is known of it in a JSON file beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts = path.with_name(f"{path.name}.json")
        self.got, self.total, self.etag = self._read()

    def _read(self) -> tuple[int, int | None, str | None]:
        """Durable bytes, the whole size and the ETag; nothing where anything is missing or odd."""
        try:
            facts = json.loads(self._facts.read_bytes())
            got, total, etag = facts["got"], facts["total"], facts["etag"]
            there = self.path.lstat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None, None
        sound = type(got) is int and type(total) is int and isinstance(etag, str)
        if not sound or not 0 < got <= min(there, total):
            return 0, None, None
        return got, total, etag

    @contextlib.contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Yield the file, cut to its durable bytes and open at their end; it stays after an error."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self.path, flags, 0o600), "r+b") as handle:
            handle.truncate(self.got)
            handle.seek(self.got)
            yield handle

    def record(self, handle: Any, got: int, total: int | None, etag: str | None) -> None:
        """Make the bytes durable and note their number; without an ETag they cannot be continued."""
        if etag is None or total is None:
            return
        handle.flush()
        os.fsync(handle.fileno())
        atomic_write_json(self._facts, {"got": got, "total": total, "etag": etag})
        self.got = got

    def finish(self, target: Path) -> None:
        """Give the complete file its name."""
        with self.path.open("rb") as handle:
            os.fsync(handle.fileno())
        self.path.replace(target)
        fsync_folder(target.parent)
        self._facts.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the bytes: they are of no use."""
        self.path.unlink(missing_ok=True)
        self._facts.unlink(missing_ok=True)


def remove_old(folder: Path, *, before: float) -> None:
    """Remove partial files that nobody continued since `before`, in seconds since 1970."""
    for path in folder.glob("*.part*"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < before:
                path.unlink()
