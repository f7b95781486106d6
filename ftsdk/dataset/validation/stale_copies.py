"""Copies of rows that a killed process left behind: they are removed at the next pass."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ftsdk.util.files import make_private_folder
from ftsdk.util.locks import file_lock, is_locked

_PREFIX, _SUFFIX = ".copy.", ".tmp"
_LOCK = "lock"
_UNFINISHED_FILE = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
"""The name under which `ftsdk.util.files.atomic_file` writes."""

_DAY_S = 86_400.0
_FRESH_S = 60.0
"""A lock this young may be about to be taken."""


@contextlib.contextmanager
def copy_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent` that is gone when the block ends.

    Its lock lets others see whether the process that made it still exists. Raises `OSError`.
    """
    make_private_folder(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_PREFIX, suffix=_SUFFIX) as name:
        folder = Path(name)
        with file_lock(folder / _LOCK, wait_s=0.0):
            yield folder


def remove_stale_copies(parent: Path) -> None:
    """Remove copies in `parent` whose process is gone, and any that is older than a day.

    Whether a process still exists is seen by its lock, so that other machines and containers that
    share the folder are respected. What cannot be removed is left.
    """
    with contextlib.suppress(OSError):
        for path in list(parent.glob(f".*{_SUFFIX}")):
            with contextlib.suppress(OSError):
                if path.is_symlink():
                    continue
                if path.is_dir():
                    if path.name.startswith(_PREFIX) and _is_stale(path):
                        shutil.rmtree(path, ignore_errors=True)
                elif _UNFINISHED_FILE.fullmatch(path.name) and _age_s(path) > _DAY_S:
                    path.unlink()


def _is_stale(folder: Path) -> bool:
    lock = folder / _LOCK
    if not lock.exists():
        return _age_s(folder) > _DAY_S
    return _age_s(lock) > _FRESH_S and not is_locked(lock)


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime
