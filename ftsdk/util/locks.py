"""Locks between processes, which the operating system releases when the process ends.

A lock is on an open file, so a killed process never leaves one behind. The lock file itself is
never deleted: otherwise two processes could lock two files of the same name. It has no content.
Threads of one process exclude each other too, since each opens the file itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ftsdk.errors import StoreError, Submitted
from ftsdk.util.clock import Clock, SystemClock
from ftsdk.util.files import make_private_folder

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_POLL_S = 0.05
_HELD_ELSEWHERE = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})


@contextlib.contextmanager
def file_lock(
    path: Path,
    *,
    wait_s: float | None = None,
    poll_s: float = _POLL_S,
    on_wait: Callable[[], bool] | None = None,
    clock: Clock | None = None,
) -> Iterator[int | None]:
    """Lock the file at `path`; yields its open descriptor, or None if another process has the lock.

    While another process has it, the lock is tried every `poll_s` seconds, for `wait_s` seconds
    (None: for ever) and as long as `on_wait`, called before each pause, returns True.

    The file is created with mode 0600 in a folder that must exist. A child process that inherits
    the descriptor holds the lock as well, until it ends. Raises `OSError`.
    """
    clock = clock or SystemClock()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        waited_s = 0.0
        while not (taken := _try_lock(fd)):
            out_of_time = wait_s is not None and waited_s >= wait_s
            if out_of_time or (on_wait is not None and not on_wait()):
                break
            clock.sleep(poll_s)
            waited_s += poll_s
        yield fd if taken else None
    finally:
        os.close(fd)  # releases our lock; a child process with the descriptor keeps its own


@contextlib.contextmanager
def job_lock(
    home: Path,
    job_id: str,
    *,
    wait_s: float,
    clock: Clock,
    purpose: str = "",
    failure: str = "The job's lock cannot be taken",
    submitted: Submitted | None = None,
) -> Iterator[bool]:
    """Lock `home/locks/<job_id>[.<purpose>].lock`; yields False if it was busy for `wait_s` seconds.

    Raises `StoreError`, whose message starts with `failure` and which has `job_id` and `submitted`, when the
    lock file cannot be created or locked.
    """
    path = lock_path(home, f"{job_id}.{purpose}" if purpose else job_id)
    with contextlib.ExitStack() as stack:
        try:
            make_private_folder(path.parent)
            fd = stack.enter_context(file_lock(path, wait_s=wait_s, clock=clock))
        except OSError as error:
            raise StoreError(
                f"{failure}: {error.strerror or error}",
                where=str(path.parent),
                hint="make the folder writable, or set FTSDK_HOME to one that is",
                job_id=job_id,
                submitted=submitted,
            ) from error
        yield fd is not None


def lock_path(home: Path, job_id: str) -> Path:
    """Return the lock file of a job's submission."""
    return home / "locks" / f"{job_id}.lock"


def discard_lock(home: Path, job_id: str) -> None:
    """Delete the lock file of a job that was not journaled, so that no other process knows it."""
    with contextlib.suppress(OSError):  # an empty file that is left behind harms nobody
        lock_path(home, job_id).unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Return True when a process has the lock at `path`; False when the file does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(fd, shared=True)
    finally:
        os.close(fd)


def is_submission_locked(home: Path, job_id: str) -> bool:
    """Return True when a process works on the job's submission, or when that cannot be read."""
    try:
        return is_locked(lock_path(home, job_id))
    except OSError:
        return True


def _try_lock(fd: int, *, shared: bool = False) -> bool:
    """Try to lock an open file; returns False when another process has the lock. Raises `OSError`.

    A shared lock does not block other readers; Windows only has exclusive locks.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_ELSEWHERE:
            return False
        raise
    return True
