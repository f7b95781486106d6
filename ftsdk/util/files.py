"""Atomic file writes: write a temporary file, fsync, rename, fsync the folder.

Every durable file of the package is written here, so that what a power cut may leave behind is
decided and tested in one place.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable (a no-op where folders cannot be opened)."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_private_folder(folder: Path) -> Path:
    """Create `folder` and its parents with mode 0700; an existing folder is left as it is."""
    if not folder.is_dir():
        _make_durable_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(folder.parent)
    return folder


def _make_durable_folder(folder: Path) -> None:
    """Create `folder` and its parents, and fsync each new directory entry."""
    made = [path for path in (folder, *folder.parents) if not path.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        fsync_folder(path.parent)


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a binary file, to write and to read, that replaces `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
    try:
        with os.fdopen(fd, "w+b") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def atomic_write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to `path` atomically: after a crash the old file or the new one exists."""
    with atomic_file(path, mode=mode) as handle:
        handle.write(data)


def write_new_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to `path` atomically, unless the file exists: of several writers one succeeds."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    atomic_write_bytes(temporary, data, mode=mode)
    try:
        rename_if_free(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def rename_if_free(temporary: Path, path: Path) -> None:
    """Give a finished file its name, unless a file has it already; `temporary` may remain."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        temporary.replace(path)  # a file system without hard links


def atomic_write_json(path: Path, value: Any, *, mode: int = 0o600) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False, allow_nan=False)
    atomic_write_bytes(path, text.encode() + b"\n", mode=mode)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on success fsync every file and rename it there.

    `target` must not exist. A crash leaves only a folder whose name starts with a dot and ends in
    `.tmp`; such folders are ignored.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    _make_durable_folder(target.parent)
    temporary.mkdir(mode=0o700)
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_dir():
                fsync_folder(path)
            else:
                fd = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        fsync_folder(temporary)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(target.parent)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as lower-case hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
