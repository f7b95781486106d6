"""The journal: a durable record of all jobs in one SQLite file that processes can share.

Settings, and why (the documentation page on the journal has measurements):

- `journal_mode=TRUNCATE` with `synchronous=EXTRA`: a commit survives a power cut. WAL is not used,
  since many Python builds link an SQLite between 3.7.0 and 3.51.2, whose WAL reset can corrupt
  the file.
- every write begins with `BEGIN IMMEDIATE`: a deferred transaction fails with "database is locked" as soon
  as two processes write, whatever the timeout.
- the folder has mode 0700 and the file 0600, set before SQLite opens it.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime as dt
import logging
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ftsdk.errors import (
    JournalDamaged,
    JournalLocked,
    JournalTooNew,
    StoreError,
    UnknownJob,
    UsageError,
)
from ftsdk.store.duplicates import DuplicateRule, Identity, KeyTaken, same_job
from ftsdk.store.hooks import InsertHook
from ftsdk.store.job_rows import (
    StatusChange,
    UnreadableJob,
    index_missing,
    insert_job,
    log_status_change,
    read_job,
    read_or_report,
    read_status_change,
    update_job,
)
from ftsdk.store.job_search import Page, TagFilter, place_of, rows_by_id, rows_of
from ftsdk.store.migrations import MIGRATIONS
from ftsdk.store.sqlite_version import require_sqlite
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus, can_transition
from ftsdk.util.files import atomic_write_bytes, make_private_folder
from ftsdk.util.locks import is_submission_locked

_log = logging.getLogger("ftsdk")

APPLICATION_ID = 0x66745344  # "ftSD": distinguishes a journal from other SQLite files
BUSY_TIMEOUT_S = 30.0


class _ThreadConnection:
    """The connection of one thread and process; closed with its thread, its journal or the interpreter.

    Since Python 3.13, SQLite's module warns when a connection is left to the garbage collector.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection, self.pid = connection, os.getpid()
        self.close = weakref.finalize(self, connection.close)


class Journal:
    """The journal in `home`, created or migrated when it is opened.

    One object may be used from several threads: each gets its own connection. With `read_only` the
    file is opened without creating, migrating, checking or writing it.

    Raises `JournalTooNew`, `JournalDamaged`, `JournalLocked` or `StoreError` (read-only folder,
    full disk, not a journal).
    """

    def __init__(self, home: Path, *, read_only: bool = False) -> None:
        self.path = home / "journal.db"
        self.read_only = read_only
        self._local = threading.local()
        self._reported: set[str] = set()
        require_sqlite()
        with self._errors():
            if not read_only:
                self._prepare(home)
                self._note_interrupted_write()
            self._check_file()
            if not read_only:
                self._check_after_interrupted_write()
            self._migrate()

    # --- opening ---

    def _prepare(self, home: Path) -> None:
        make_private_folder(home)
        if self.path.is_symlink():
            raise StoreError(
                "The journal is a symbolic link, which may point anywhere",
                where=str(self.path),
                hint="move the database itself into the home folder",
            )
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            if os.name != "nt" and stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                # A read-only home of another user can be read as it is; `ftsdk doctor` says so.
                with contextlib.suppress(OSError):
                    self.path.chmod(0o600)

    @property
    def _unchecked_marker(self) -> Path:
        """A file that exists while an integrity check is due; it stays while the journal is damaged."""
        return self.path.with_name(self.path.name + "-unchecked")

    def _note_interrupted_write(self) -> None:
        """Create the marker if a write was interrupted (or is in progress in another process).

        A finished write leaves SQLite's rollback file empty. After an interrupted one, SQLite
        restores the previous state on the first read, and the evidence is gone; so this runs first.
        """
        rollback = self.path.with_name(self.path.name + "-journal")
        with contextlib.suppress(FileNotFoundError):
            if rollback.stat().st_size > 0:
                self._unchecked_marker.touch(mode=0o600)

    def _check_after_interrupted_write(self) -> None:
        """Check the whole file if a write was interrupted; raises `JournalDamaged` until it is intact."""
        if not self._unchecked_marker.exists():
            return
        self.require_intact()
        self._unchecked_marker.unlink(missing_ok=True)

    def _check_file(self) -> None:
        connection = self._connection()
        try:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise self._damaged(str(error)) from error
        if application not in (0, APPLICATION_ID):
            raise StoreError(
                "The file is another program's database",
                where=str(self.path),
                hint="set FTSDK_HOME to another folder",
            )
        if version > len(MIGRATIONS):
            raise JournalTooNew(
                f"The journal has schema {version}; this ftsdk supports up to {len(MIGRATIONS)}",
                where=str(self.path),
                hint="upgrade ftsdk (`pip install -U ftsdk`), or set FTSDK_HOME to another folder",
            )

    def _damaged(self, why: str) -> JournalDamaged:
        return JournalDamaged(
            f"The journal is damaged: {why}",
            where=str(self.path),
            hint="save what `ftsdk journal export` can read, then move the file away; "
            "`ftsdk adopt` adds jobs again",
        )

    def _connection(self) -> sqlite3.Connection:
        found: _ThreadConnection | None = getattr(self._local, "own", None)
        if found is not None and found.pid == os.getpid():
            return found.connection
        mode = "ro" if self.read_only else "rw"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # used by one thread alone; whoever drops the last reference closes it
        )
        self._local.own = _ThreadConnection(connection)
        connection.row_factory = sqlite3.Row
        if not self.read_only:
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        return connection

    def _migrate(self) -> None:
        connection = self._connection()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == len(MIGRATIONS) or self.read_only:
            return
        with self.write() as cursor:
            version = cursor.execute("PRAGMA user_version").fetchone()[0]
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version={number:d}")
            cursor.execute(f"PRAGMA application_id={APPLICATION_ID:d}")

    # --- transactions ---

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise self._damaged(str(error)) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise UsageError(
                f"The journal cannot hold or find such a value: {error}"[:200],
                where=str(self.path),
            ) from error
        except OSError as error:
            raise StoreError(
                f"The journal's folder cannot be used: {error.strerror or error}",
                where=str(self.path.parent),
                hint="make it writable, or set FTSDK_HOME to a folder that is",
            ) from error

    def _operational(self, error: sqlite3.OperationalError) -> StoreError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return JournalLocked(
                f"Another process locked the journal for over {BUSY_TIMEOUT_S:.0f} s",
                where=str(self.path),
                hint="`ftsdk doctor` shows which process may hold the lock; wait until it is released",
            )
        if self.read_only and "readonly" in text:
            return StoreError(
                "A write to the journal was interrupted, and a read-only command cannot roll it back",
                where=str(self.path),
                hint="run a command that can write, for instance `ftsdk list`",
            )
        if "full" in text:
            hint = "free some space; the journal is unchanged"
        elif "readonly" in text or "unable to open" in text:
            hint = "make the folder writable, or set FTSDK_HOME to a folder that is"
        else:
            hint = "check the disk and the folder's permissions, and run `ftsdk doctor`"
        return StoreError(f"The journal cannot be used: {text}", where=str(self.path), hint=hint)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Cursor]:
        """Run a durable transaction; an exception rolls it back."""
        with self._errors():
            connection = self._connection()
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise

    def read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a read-only query; for the other modules of this package."""
        with self._errors():
            return self._connection().execute(query, tuple(values)).fetchall()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Cursor]:
        """Run several queries on one cursor; for the other modules of this package."""
        with self._errors(), contextlib.closing(self._connection().cursor()) as cursor:
            yield cursor

    def close(self) -> None:
        """Close this thread's connection."""
        found: _ThreadConnection | None = getattr(self._local, "own", None)
        if found is not None:
            found.close()
            self._local.own = None

    # --- jobs ---

    def add(self, snapshot: JobSnapshot, hook: InsertHook | None = None) -> None:
        """Add a new job. Raises `KeyTaken` when its key already belongs to a job.

        A job with the same rows and settings that was refused before anything was sent gives its
        key to the new one. `hook` runs in the same transaction, after the insert; when it raises, nothing is written.
        """
        with self.write() as cursor:
            if snapshot.key is not None:
                row = cursor.execute("SELECT * FROM jobs WHERE key = ?", (snapshot.key,)).fetchone()
                if row is not None:
                    existing = read_job(row)
                    if existing.fingerprint != snapshot.fingerprint or not existing.was_refused:
                        raise KeyTaken(existing)
                    freed = existing.model_copy(update={"key": None})
                    update_job(cursor, freed, row, existing)
            insert_job(cursor, snapshot)
            log_status_change(cursor, snapshot, None, "journaled")
            if hook is not None:
                hook(cursor, snapshot)

    def change(
        self,
        job_id: str,
        *,
        now: dt.datetime,
        why: str,
        only_from: frozenset[JobStatus] | None = None,
        hook: InsertHook | None = None,
        **fields: Any,
    ) -> JobSnapshot:
        """Replace fields of a job's snapshot in one transaction and return the new one.

        When the new status may not follow the current one, nothing is changed and the current
        snapshot is returned, so that a late response never sets a job back. With `only_from` the
        change is made only from those statuses; compare the returned status to see whether it was.
        `hook` runs in the same transaction, after the change; when it raises, nothing is written.
        """
        with self.write() as cursor:
            row = cursor.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                raise self._unknown(job_id)
            old = read_job(row)
            status = JobStatus(fields.get("status", old.status))
            if only_from is not None and old.status not in only_from:
                return old
            if not can_transition(old.status, status):
                return old
            new = old.model_copy(update={**fields, "status": status, "updated_at": now})
            new = JobSnapshot.model_validate(new.model_dump())
            update_job(cursor, new, row, old)
            if (new.status, new.raw_status) != (old.status, old.raw_status):
                log_status_change(cursor, new, old.status, why)
            if hook is not None:
                hook(cursor, new)
            return new

    def _unknown(self, job_id: str) -> UnknownJob:
        return UnknownJob(
            f"No job {job_id} is in the journal",
            where=str(self.path),
            hint="`ftsdk list` shows the jobs; it may be in another FTSDK_HOME",
        )

    def get(self, job_id: str) -> JobSnapshot:
        """Return the job with this id, or the only one whose id starts with it (8 characters or more).

        Raises `UnknownJob` when no job or several jobs match.
        """
        with self.reading() as cursor:
            rows = rows_by_id(cursor, job_id)
        if len(rows) == 1:
            return read_job(rows[0])
        if len(rows) > 1:
            raise UnknownJob(
                f"Several job ids start with {job_id}",
                where=str(self.path),
                hint="give more characters of the id; `ftsdk list` shows them",
            )
        raise self._unknown(job_id)

    def find_provider_job(self, provider: str, provider_job_id: str) -> JobSnapshot | None:
        """Return the job with this provider job id, if any."""
        rows = self.read(
            "SELECT * FROM jobs WHERE provider = ? AND provider_job_id = ?",
            (provider, provider_job_id),
        )
        return read_job(rows[0]) if rows else None

    def list(
        self,
        *,
        status: frozenset[JobStatus] | None = None,
        provider: str | None = None,
        tags: Sequence[TagFilter] = (),
        text: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        unreadable: builtins.list[UnreadableJob] | None = None,
    ) -> list[JobSnapshot]:
        """Return the jobs that match, newest first: at most `limit` of those behind the job `after`.

        `text` is a part of the id, the name, the model or a tag. A job whose row cannot be read is left
        out. It is appended to `unreadable`; without that list it is logged as a warning. Raises `UnknownJob` when there is no job `after`.
        """
        wanted = Page(status=status, provider=provider, tags=tuple(tags), text=text)
        if tags or text:
            self.index_missing()
        found = builtins.list[JobSnapshot]()
        with self.reading() as cursor:
            start = None if after is None else place_of(cursor, after)
            if after is not None and start is None:
                raise self._unknown(after)
            for row in rows_of(cursor, wanted, start):
                job = read_or_report(row)
                if isinstance(job, JobSnapshot):
                    found.append(job)
                elif unreadable is not None:
                    unreadable.append(job)
                elif job.id not in self._reported:
                    self._reported.add(job.id)
                    _log.warning("%s", job.error().what)
                if len(found) == limit:
                    break
        return found

    def index_missing(self) -> None:
        """Let jobs that another version wrote be found; a read-only journal is searched as it is."""
        missing = self.read("SELECT 1 FROM jobs WHERE indexed IS NOT updated_at LIMIT 1")
        if missing and not self.read_only:
            with self.write() as cursor:
                index_missing(cursor)

    def ids(self) -> builtins.list[str]:
        """Return the ids of all jobs, also of those that cannot be read."""
        return [row["id"] for row in self.read("SELECT id FROM jobs")]

    def find_tag(self, tag: str) -> JobSnapshot | None:
        """Return the job that was sent with this tag, if any."""
        rows = self.read("SELECT * FROM jobs WHERE tag = ?", (tag,))
        return read_job(rows[0]) if rows else None

    def find_key(self, key: str) -> JobSnapshot | None:
        """Return the job with this idempotency key, if there is one."""
        rows = self.read("SELECT * FROM jobs WHERE key = ?", (key,))
        return read_job(rows[0]) if rows else None

    def same_job(
        self, wanted: Identity, rule: DuplicateRule, now: dt.datetime
    ) -> JobSnapshot | None:
        """Return the existing job that `rule` gives back instead of a new one, if any."""
        with self._errors():
            return same_job(self._connection(), wanted, rule, now)

    def is_being_sent(self, job_id: str) -> bool:
        """Return whether a process is sending the job now."""
        return is_submission_locked(self.path.parent, job_id)

    def status_changes(self, job_id: str) -> builtins.list[StatusChange]:
        """Return every status change of a job, oldest first."""
        rows = self.read("SELECT * FROM moves WHERE job_id = ? ORDER BY seq", (job_id,))
        return [read_status_change(row) for row in rows]

    def integrity(self) -> str:
        """Return `ok`, or what SQLite finds wrong."""
        with self._errors():
            return str(self._connection().execute("PRAGMA integrity_check").fetchone()[0])

    def require_intact(self) -> None:
        """Raise `JournalDamaged` if SQLite finds anything wrong in the file."""
        found = self.integrity()
        if found != "ok":
            raise self._damaged(found)

    def backup(self, target: Path) -> None:
        """Write a consistent copy of the journal to `target`, atomically, with mode 0600.

        Other processes may write meanwhile. To restore it, put it into a home folder as
        `journal.db`. Raises `StoreError` when `target` cannot be written.
        """
        with self._errors():
            connection = self._connection()
            connection.execute("BEGIN")  # a read transaction, so that all pages are consistent
            try:
                copy = connection.serialize()
            finally:
                connection.execute("COMMIT")
        try:
            atomic_write_bytes(target, copy)
        except OSError as error:
            raise StoreError(
                f"The copy cannot be written: {error.strerror or error}",
                where=str(target),
                hint="name a file in an existing folder that is writable",
            ) from error


def has_journal(home: Path) -> bool:
    """Whether `home` has a journal; creates none. Raises `StoreError` when `home` cannot be read."""
    try:
        return (home / "journal.db").is_file()
    except OSError as error:
        raise StoreError(
            f"The home folder cannot be read: {error.strerror or error}",
            where=str(home),
            hint="make it readable, or set FTSDK_HOME to a folder that is",
        ) from error
