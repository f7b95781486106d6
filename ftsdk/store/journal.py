"""The journal: which jobs exist, durably, in one SQLite file that several processes share.

Settings and why (measured figures are in the explanation of the journal):

- `journal_mode=TRUNCATE` with `synchronous=EXTRA`: a commit survives a power cut. WAL is not used,
  since many Pythons link an SQLite between 3.7.0 and 3.51.2 whose WAL reset can corrupt the file.
- every write begins with `BEGIN IMMEDIATE`: a deferred one fails with "database is locked" as soon
  as two processes write, whatever the timeout.
- the folder is 0700 and the file 0600, set before SQLite opens it.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime as dt
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ftsdk.errors import JournalDamaged, JournalLocked, JournalTooNew, StoreError, UnknownJob
from ftsdk.store.duplicates import newest_duplicate
from ftsdk.store.hooks import InsertHook
from ftsdk.store.migrations import MIGRATIONS
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus, can_move
from ftsdk.util.files import atomic_write_bytes, make_private_folder

__all__ = ["OLDEST_SQLITE", "Journal", "KeyTaken", "Move"]

APPLICATION_ID = 0x66745344  # "ftSD": tells our file from any other SQLite database
BUSY_TIMEOUT_S = 30.0
OLDEST_SQLITE = (3, 37, 0)
"""The first with STRICT tables, which refuse a value of the wrong type."""


class KeyTaken(Exception):
    """Inside the package: a job with this key is already journaled."""

    def __init__(self, existing: JobSnapshot) -> None:
        super().__init__(existing.id)
        self.existing = existing


Move = tuple[dt.datetime, JobStatus | None, JobStatus, str, str]
"""One change of status: time, old, new, the provider's word, why."""


class Journal:
    """Open (and make, or migrate) the journal in `home`.

    One object may be used from several threads: each gets its own connection. `read_only` opens
    without creating, migrating, checking or writing.

    Raises `JournalTooNew`, `JournalDamaged`, `JournalLocked` or `StoreError` (read-only folder,
    full disk, a foreign file).
    """

    def __init__(self, home: Path, *, read_only: bool = False) -> None:
        self.path = home / "journal.db"
        self.read_only = read_only
        self._local = threading.local()
        _require_sqlite()
        with self._errors():
            if not read_only:
                self._prepare(home)
                self._mark_a_cut()
            self._check_file()
            if not read_only:
                self._check_after_a_cut()
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
                self.path.chmod(0o600)

    @property
    def _unchecked(self) -> Path:
        """A file that stands while the journal is to be checked whole; damage keeps it there."""
        return self.path.with_name(self.path.name + "-unchecked")

    def _mark_a_cut(self) -> None:
        """Note that a write was under way when its process ended (or still is, in another one).

        A finished write leaves SQLite's rollback file empty. After one that was cut short SQLite
        restores the state before it, at the first look into the file, and the trace is gone.
        """
        rollback = self.path.with_name(self.path.name + "-journal")
        with contextlib.suppress(FileNotFoundError):
            if rollback.stat().st_size > 0:
                self._unchecked.touch(mode=0o600)

    def _check_after_a_cut(self) -> None:
        """Have the whole file checked; until it is found sound, every opening says that it is not."""
        if not self._unchecked.exists():
            return
        self.require_sound()
        self._unchecked.unlink(missing_ok=True)

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
                "The file is some other program's database",
                where=str(self.path),
                hint="set FTSDK_HOME to another folder",
            )
        if version > len(MIGRATIONS):
            raise JournalTooNew(
                f"The journal has schema {version}; this ftsdk knows {len(MIGRATIONS)}",
                where=str(self.path),
                hint="upgrade ftsdk (`pip install -U ftsdk`), or set FTSDK_HOME to another folder",
            )

    def _damaged(self, why: str) -> JournalDamaged:
        return JournalDamaged(
            f"The journal is not a sound database: {why}",
            where=str(self.path),
            hint="keep what `ftsdk journal export` can read, then move the file away; "
            "`ftsdk adopt` takes jobs in again",
        )

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None and getattr(self._local, "pid", None) == os.getpid():
            return found
        mode = "ro" if self.read_only else "rw"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        connection.row_factory = sqlite3.Row
        if not self.read_only:
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=EXTRA")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        self._local.connection, self._local.pid = connection, os.getpid()
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
                f"Another process held the journal for over {BUSY_TIMEOUT_S:.0f} s",
                where=str(self.path),
                hint="try again; `ftsdk doctor` tells who may hold it",
            )
        if self.read_only and "readonly" in text:
            return StoreError(
                "A write to the journal was cut short, and a reader cannot undo it",
                where=str(self.path),
                hint="a command that may write does, for instance `ftsdk list`",
            )
        if "full" in text:
            hint = "free some space, then run the same command again; nothing is half written"
        elif "readonly" in text or "unable to open" in text:
            hint = "make the folder writable, or set FTSDK_HOME to a folder that is"
        else:
            hint = "check the disk and the folder's permissions; `ftsdk doctor` helps"
        return StoreError(f"The journal cannot be used: {text}", where=str(self.path), hint=hint)

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Cursor]:
        """One durable transaction; on any exception nothing of it remains."""
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
        """The rows of a query that only reads; for the other modules of this room."""
        with self._errors():
            return self._connection().execute(query, tuple(values)).fetchall()

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    # --- jobs ---

    def add(self, snapshot: JobSnapshot, also: InsertHook | None = None) -> None:
        """Journal a new job. Raises `KeyTaken` when its key already has one.

        `also` runs in the same transaction, after the job is in; when it raises, nothing remains.
        """
        with self.write() as cursor:
            if snapshot.key is not None:
                row = cursor.execute(
                    "SELECT snapshot FROM jobs WHERE key = ?", (snapshot.key,)
                ).fetchone()
                if row is not None:
                    raise KeyTaken(JobSnapshot.model_validate_json(row["snapshot"]))
            self._insert(cursor, snapshot)
            self._log_move(cursor, snapshot, None, "journaled")
            if also is not None:
                also(cursor, snapshot)

    def _insert(self, cursor: sqlite3.Cursor, s: JobSnapshot) -> None:
        cursor.execute(
            "INSERT INTO jobs (id, key, provider, provider_job_id, status, fingerprint, tag, "
            "created_at, updated_at, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                s.id,
                s.key,
                s.provider,
                s.provider_job_id,
                s.status.value,
                s.fingerprint,
                s.tag,
                s.created_at.isoformat(),
                s.updated_at.isoformat(),
                s.model_dump_json(),
            ),
        )

    def _log_move(
        self, cursor: sqlite3.Cursor, s: JobSnapshot, old: JobStatus | None, why: str
    ) -> None:
        cursor.execute(
            "INSERT INTO moves (job_id, time, old, new, raw_status, why) VALUES (?, ?, ?, ?, ?, ?)",
            (s.id, s.updated_at.isoformat(), old and old.value, s.status.value, s.raw_status, why),
        )

    def change(
        self,
        job_id: str,
        *,
        now: dt.datetime,
        why: str,
        only_from: frozenset[JobStatus] | None = None,
        **fields: Any,
    ) -> JobSnapshot:
        """Replace fields of a job's snapshot in one transaction and return the new one.

        A status that may not follow the present one is not written: the job keeps its status and
        the rest of the change is dropped, so that a late answer never takes a job back. With
        `only_from` the change happens only from those statuses; compare the returned status to
        know whether it did.
        """
        with self.write() as cursor:
            row = cursor.execute("SELECT snapshot FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if row is None:
                raise self._unknown(job_id)
            old = JobSnapshot.model_validate_json(row["snapshot"])
            status = JobStatus(fields.get("status", old.status))
            if only_from is not None and old.status not in only_from:
                return old
            if not can_move(old.status, status):
                return old
            new = old.model_copy(update={**fields, "status": status, "updated_at": now})
            new = JobSnapshot.model_validate(new.model_dump())
            cursor.execute(
                "UPDATE jobs SET provider_job_id = ?, status = ?, updated_at = ?, snapshot = ? "
                "WHERE id = ?",
                (
                    new.provider_job_id,
                    new.status.value,
                    new.updated_at.isoformat(),
                    new.model_dump_json(),
                    job_id,
                ),
            )
            if (new.status, new.raw_status) != (old.status, old.raw_status):
                self._log_move(cursor, new, old.status, why)
            return new

    def _unknown(self, job_id: str) -> UnknownJob:
        return UnknownJob(
            f"No job {job_id} is in the journal",
            where=str(self.path),
            hint="`ftsdk list` shows the jobs; another FTSDK_HOME may hold it",
        )

    def get(self, job_id: str) -> JobSnapshot:
        """The job with this id, or with an id that begins so (at least 8 characters, and alone).

        Raises `UnknownJob`.
        """
        with self._errors():
            rows = (
                self._connection()
                .execute("SELECT snapshot FROM jobs WHERE id = ?", (job_id,))
                .fetchall()
            )
            if not rows and len(job_id) >= 8 and job_id.startswith("ftj_"):
                rows = (
                    self._connection()
                    .execute(
                        "SELECT snapshot FROM jobs WHERE substr(id, 1, ?) = ? LIMIT 3",
                        (len(job_id), job_id.upper().replace("FTJ_", "ftj_", 1)),
                    )
                    .fetchall()
                )
        if len(rows) == 1:
            return JobSnapshot.model_validate_json(rows[0]["snapshot"])
        if len(rows) > 1:
            raise UnknownJob(
                f"Several jobs begin with {job_id}",
                where=str(self.path),
                hint="give more of the id; `ftsdk list` shows them",
            )
        raise self._unknown(job_id)

    def find_provider_job(self, provider: str, provider_job_id: str) -> JobSnapshot | None:
        """The job that stands for this one of the provider, if any."""
        with self._errors():
            row = (
                self._connection()
                .execute(
                    "SELECT snapshot FROM jobs WHERE provider = ? AND provider_job_id = ?",
                    (provider, provider_job_id),
                )
                .fetchone()
            )
        return JobSnapshot.model_validate_json(row["snapshot"]) if row else None

    def list(
        self,
        *,
        status: frozenset[JobStatus] | None = None,
        provider: str | None = None,
        limit: int | None = None,
    ) -> list[JobSnapshot]:
        """Jobs, newest first."""
        clauses, values = ["1"], list[Any]()
        if status is not None:
            clauses.append(f"status IN ({', '.join('?' * len(status))})")
            values += sorted(s.value for s in status)
        if provider is not None:
            clauses.append("provider = ?")
            values.append(provider)
        query = (
            f"SELECT snapshot FROM jobs WHERE {' AND '.join(clauses)} "  # noqa: S608  # only our words
            "ORDER BY created_at DESC, id DESC LIMIT ?"
        )
        with self._errors():
            rows = self._connection().execute(query, [*values, -1 if limit is None else limit])
            return [JobSnapshot.model_validate_json(row["snapshot"]) for row in rows]

    def find_tag(self, tag: str) -> JobSnapshot | None:
        """The job that was sent with this mark, if any."""
        with self._errors():
            row = (
                self._connection()
                .execute("SELECT snapshot FROM jobs WHERE tag = ?", (tag,))
                .fetchone()
            )
        return JobSnapshot.model_validate_json(row["snapshot"]) if row else None

    def duplicate(self, fingerprint: str, since: dt.datetime) -> JobSnapshot | None:
        """The newest job since then that trains the very same thing in the same place, if any."""
        with self._errors():
            return newest_duplicate(self._connection(), fingerprint, since)

    def moves(self, job_id: str) -> builtins.list[Move]:
        """Every status the job has had, oldest first."""
        with self._errors():
            rows = (
                self._connection()
                .execute(
                    "SELECT time, old, new, raw_status, why FROM moves WHERE job_id = ? ORDER BY seq",
                    (job_id,),
                )
                .fetchall()
            )
        return [
            (
                dt.datetime.fromisoformat(r["time"]),
                JobStatus(r["old"]) if r["old"] else None,
                JobStatus(r["new"]),
                r["raw_status"],
                r["why"],
            )
            for r in rows
        ]

    def integrity(self) -> str:
        """`ok`, or what SQLite finds wrong."""
        with self._errors():
            return str(self._connection().execute("PRAGMA integrity_check").fetchone()[0])

    def require_sound(self) -> None:
        """Raise `JournalDamaged` with what SQLite finds wrong in the file, if anything."""
        found = self.integrity()
        if found != "ok":
            raise self._damaged(found)

    def backup(self, target: Path) -> None:
        """Write a copy of the whole journal as it stands now, whole or not at all (0600).

        Other processes may write meanwhile: the copy is of one moment. It is put back as
        `journal.db` in a home folder. Raises `StoreError` for a `target` that cannot be written.
        """
        with self._errors():
            connection = self._connection()
            connection.execute("BEGIN")  # a read transaction, so that all pages are of one moment
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
                hint="name a file in a folder that is there and can be written",
            ) from error


def _require_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(str(part) for part in OLDEST_SQLITE[:2])
        raise StoreError(
            f"This Python links SQLite {sqlite3.sqlite_version}; the journal needs {oldest} or newer",
            where=sys.executable,
            hint="use a Python that brings a newer SQLite, for instance `uv python install`",
        )
