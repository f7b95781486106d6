"""The webhook ids already handled, kept for as long as a provider may redeliver them.

An id is recorded after its handler has run, and its lock is held meanwhile. A process that is killed
in between releases the lock and leaves no id, so the provider's next attempt is handled.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ftsdk.errors import StoreError
from ftsdk.util.clock import Clock, SystemClock
from ftsdk.util.files import make_private_folder
from ftsdk.util.locks import file_lock

RETENTION_S = 72 * 3600
_WAIT_S = 30.0


class SeenIds:
    """The webhook ids of the last 72 hours, in `home/webhooks.db`, or in memory without a home."""

    def __init__(self, home: Path | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._path: Path | None = None
        self._memory: dict[str, float] = {}
        self._lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(256)]  # by the first byte of an id's hash
        if home is not None:
            self._path = make_private_folder(home) / "webhooks.db"
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
            with self._open() as base:
                base.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(str(self._path), timeout=30)) as base, base:
                yield base
        except sqlite3.Error as error:
            raise StoreError(
                f"The database of webhook ids cannot be used: {error}",
                where=str(self._path),
                hint="make the folder writable; the file may be deleted, it only contains ids",
            ) from error

    @contextmanager
    def lock(self, identity: str) -> Iterator[bool]:
        """Keep other threads and processes from handling this id; yields False if one still does.

        Waits for half a minute. The operating system releases the lock when the process ends.
        """
        name = _name(identity)
        if self._path is None:
            mine = self._locks[int(name[:2], 16)]
            got = mine.acquire(timeout=_WAIT_S)
            try:
                yield got
            finally:
                if got:
                    mine.release()
            return
        try:
            folder = make_private_folder(self._path.parent / "locks")
            with file_lock(folder / f"webhook-{name[:2]}.lock", wait_s=_WAIT_S) as taken:
                yield taken is not None
        except OSError as error:
            raise StoreError(
                f"The lock of a webhook cannot be taken: {error.strerror or error}",
                where=str(self._path.parent / "locks"),
                hint="make the folder writable",
            ) from error

    def has(self, identity: str) -> bool:
        """Return True if the id was recorded in the last 72 hours."""
        name, since = _name(identity), self._clock.now().timestamp() - RETENTION_S
        with self._lock:
            if self._path is None:
                return self._memory.get(name, since) > since
            with self._open() as base:
                found = base.execute("SELECT 1 FROM seen WHERE id = ? AND at > ?", (name, since))
                return found.fetchone() is not None

    def add(self, identity: str) -> bool:
        """Record an id. Returns False if it was recorded before."""
        now = self._clock.now().timestamp()
        name = _name(identity)
        with self._lock:
            if self._path is None:
                self._memory = {k: at for k, at in self._memory.items() if at > now - RETENTION_S}
                new = name not in self._memory
                self._memory.setdefault(name, now)
                return new
            with self._open() as base:
                base.execute("DELETE FROM seen WHERE at <= ?", (now - RETENTION_S,))
                return (
                    base.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (name, now)).rowcount
                    > 0
                )

    def forget(self, identity: str) -> None:
        """Remove an id, so that a redelivery is handled again."""
        name = _name(identity)
        with self._lock:
            if self._path is None:
                self._memory.pop(name, None)
                return
            with self._open() as base:
                base.execute("DELETE FROM seen WHERE id = ?", (name,))


def _name(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()
