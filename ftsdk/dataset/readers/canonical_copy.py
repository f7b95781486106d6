"""A copy of a dataset's canonical rows, made while they are read, so that the source is read once."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import tempfile
import weakref
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ftsdk.dataset.readers.lines import CHUNK
from ftsdk.util.files import atomic_file, fsync_folder, make_private_folder

IN_MEMORY_BYTES = 8 << 20
"""Copies up to this size stay in memory."""


class CanonicalCopy:
    """Canonical rows as JSON lines, in memory or in a file without a name, with hash and count.

    A copy above `IN_MEMORY_BYTES` goes to `folder`, which is made when it is needed. When the
    folder cannot take it, `is_whole` becomes False: `rows` and `sha256` are still right, but the
    rows must be read from their source again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = array("I")
        """The line of each row in its source, as far as it is known; beyond it rows count on."""
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        self._file: IO[bytes] = io.BytesIO()
        self._digest = hashlib.sha256()
        self.rows = self.size_bytes = 0
        self.is_whole = True

    def add(self, row: bytes) -> None:
        """Append one canonical row, without its line end."""
        self.rows += 1
        self._digest.update(row)
        self._digest.update(b"\n")
        self._append(b"%b\n" % row)

    def add_part(self, path: Path, rows: int) -> None:
        """Append `rows` rows that another process wrote to `path`."""
        self.rows += rows
        with path.open("rb") as part:
            while block := part.read(CHUNK):
                self._digest.update(block)
                self._append(block)

    def _append(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if not self.is_whole:
            return
        try:
            if isinstance(self._file, io.BytesIO) and self.size_bytes > IN_MEMORY_BYTES:
                disk = _unnamed_file(self.folder)
                weakref.finalize(self, disk.close)
                disk.write(self._file.getbuffer())
                self._file = disk
            self._file.write(data)
        except OSError:  # a full disk, or a home that cannot be written
            self._file.close()
            self.is_whole = False

    @property
    def sha256(self) -> str:
        """The SHA-256 of all rows with their line ends, as lower-case hex."""
        return self._digest.hexdigest()

    def open(self) -> CopyReader:
        """A reader of the copy's bytes with a position of its own."""
        return CopyReader(self._file)

    def __iter__(self) -> Iterator[bytes]:
        """Every row without its line end."""
        reader, rest = self.open(), b""
        while block := reader.read(CHUNK):
            pieces = (rest + block).split(b"\n")
            rest = pieces.pop()
            yield from pieces

    def line_of(self, index: int) -> int:
        """The line in the source of the row with this 0-based index."""
        return self.lines[index] if index < len(self.lines) else index + 1

    def save(self, path: Path) -> None:
        """Put the rows at `path`, whole or not at all.

        A path in the copy's own folder gets the copy's file itself, where the system allows it;
        files elsewhere may be edited by their owner, and are written separately.
        """
        on_disk = not isinstance(self._file, io.BytesIO)
        if on_disk and path.parent == self.folder and self._link(path):
            return
        with atomic_file(path) as target:
            reader = self.open()
            while block := reader.read(CHUNK):
                target.write(block)

    def _link(self, path: Path) -> bool:
        """Give the file without a name the name `path`; False where the system cannot."""
        self._file.flush()
        fd = self._file.fileno()
        if os.fstat(fd).st_nlink:  # it has a name already
            return False
        os.fsync(fd)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            # AT_SYMLINK_FOLLOW on /proc/self/fd names a file that was opened with O_TMPFILE.
            os.link(f"/proc/self/fd/{fd}", aside, follow_symlinks=True)
        except (OSError, NotImplementedError):
            return False
        try:
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        fsync_folder(path.parent)
        return True


class CopyReader:
    """Reads a copy from its own position, so that several readers can take turns."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._at = file, 0

    def seek(self, offset: int, /) -> int:
        """Continue at `offset`."""
        self._at = offset
        return offset

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        self._file.seek(self._at)
        data = self._file.read(size)
        self._file.seek(0, io.SEEK_END)
        self._at += len(data)
        return data


def _unnamed_file(folder: Path) -> IO[bytes]:
    """A new file in `folder` without a name, which is gone when it is closed or the process dies."""
    make_private_folder(folder)
    if hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):  # a file system without such files
            return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600), "w+b")
    return tempfile.TemporaryFile(dir=folder)
