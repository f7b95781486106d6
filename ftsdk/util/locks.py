"""A lock between processes that dies with its holder.

The kernel holds the lock on an open file, so a killed process never leaves one behind. The lock
file itself stays; its content means nothing.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["file_lock", "try_lock"]


@contextlib.contextmanager
def file_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, poll_s: float = 0.2
) -> Iterator[None]:
    """Hold the lock at `path`; while another process has it, call `on_wait` each `poll_s`."""
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        while not try_lock(fd):
            if on_wait is not None:
                on_wait()
            time.sleep(poll_s)
        yield
    finally:
        os.close(fd)  # closing gives the lock back


def try_lock(fd: int) -> bool:
    """Take the lock on an open file; False when another process has it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
