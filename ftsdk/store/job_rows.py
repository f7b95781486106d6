"""Read and write jobs and their status changes as database rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from dataclasses import dataclass

from pydantic import ValidationError

from ftsdk.errors import StoreError
from ftsdk.store.job_index import index_job, remove_from_index
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import parse_time

StatusChange = tuple[dt.datetime, JobStatus | None, JobStatus, str, str]
"""One change of status: time, old status, new status, the provider's own status, reason."""

_FROM_NEWER = frozenset({"extra_forbidden", "enum", "literal_error"})
"""The kinds of fault that a row of a newer version has: a field or a value that is not known here."""


@dataclass(frozen=True)
class UnreadableJob:
    """A job whose row cannot be read: what its columns say, and why."""

    id: str
    provider: str
    status: str
    created_at: dt.datetime | None
    why: str
    hint: str

    def error(self) -> StoreError:
        """Return the error to raise where this job is needed."""
        return StoreError(
            f"The journal's row of job {self.id} cannot be read: {self.why}",
            where=", ".join(part for part in (self.provider, self.status) if part),
            hint=self.hint,
            job_id=self.id,
        )


def read_job(row: sqlite3.Row) -> JobSnapshot:
    """Parse a row of `jobs`.

    Raises `StoreError`, which names the job.
    """
    found = read_or_report(row)
    if isinstance(found, UnreadableJob):
        raise found.error()
    return found


def read_or_report(row: sqlite3.Row) -> JobSnapshot | UnreadableJob:
    """Parse a row of `jobs`, of which `id` and `snapshot` are needed, or return why it cannot be read."""
    try:
        return JobSnapshot.model_validate_json(row["snapshot"])
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    why = f"{place}: {first['msg']}" if place else first["msg"]
    is_newer = all(fault["type"] in _FROM_NEWER for fault in faults)
    columns = dict(zip(row.keys(), tuple(row), strict=True))
    return UnreadableJob(
        id=row["id"],
        provider=columns.get("provider", ""),
        status=columns.get("status", ""),
        created_at=_time(columns.get("created_at", "")),
        why=why,
        hint="a newer ftsdk wrote it: pip install -U ftsdk"
        if is_newer
        else "`ftsdk journal export` writes it as it is; the other jobs are not affected",
    )


def insert_job(cursor: sqlite3.Cursor, s: JobSnapshot) -> None:
    """Insert a new job."""
    cursor.execute(
        "INSERT INTO jobs (id, key, provider, account, provider_job_id, status, fingerprint, tag, "
        "created_at, updated_at, indexed, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            s.id,
            s.key,
            s.provider,
            s.account,
            s.provider_job_id,
            s.status.value,
            s.fingerprint,
            s.tag,
            s.created_at.isoformat(),
            s.updated_at.isoformat(),
            s.updated_at.isoformat(),
            s.model_dump_json(),
        ),
    )
    index_job(cursor, s)


def update_job(cursor: sqlite3.Cursor, s: JobSnapshot, row: sqlite3.Row, old: JobSnapshot) -> None:
    """Replace the snapshot of a job, and the columns that follow from it; `row` is the one of `old`."""
    cursor.execute(
        "UPDATE jobs SET key = ?, account = ?, provider_job_id = ?, status = ?, updated_at = ?, "
        "indexed = ?, snapshot = ? WHERE id = ?",
        (
            s.key,
            s.account,
            s.provider_job_id,
            s.status.value,
            s.updated_at.isoformat(),
            s.updated_at.isoformat(),
            s.model_dump_json(),
            s.id,
        ),
    )
    if row["indexed"] == row["updated_at"]:
        index_job(cursor, s, old)
    else:
        remove_from_index(cursor, s.id)
        index_job(cursor, s)


def index_missing(cursor: sqlite3.Cursor) -> None:
    """Index the jobs that another version wrote; one that cannot be read has no tags and no names."""
    for row in cursor.execute("SELECT * FROM jobs WHERE indexed IS NOT updated_at").fetchall():
        remove_from_index(cursor, row["id"])
        job = read_or_report(row)
        if isinstance(job, JobSnapshot):
            index_job(cursor, job)
        cursor.execute("UPDATE jobs SET indexed = updated_at WHERE id = ?", (row["id"],))


def log_status_change(
    cursor: sqlite3.Cursor, s: JobSnapshot, old: JobStatus | None, why: str
) -> None:
    """Record that a job has the status of `s` now."""
    cursor.execute(
        "INSERT INTO moves (job_id, time, old, new, raw_status, why) VALUES (?, ?, ?, ?, ?, ?)",
        (s.id, s.updated_at.isoformat(), old and old.value, s.status.value, s.raw_status, why),
    )


def read_status_change(row: sqlite3.Row) -> StatusChange:
    """Parse a row of `moves`; a status of a newer version is `unknown`. Raises `StoreError`."""
    try:
        time = dt.datetime.fromisoformat(row["time"])
    except ValueError as error:
        raise StoreError(
            f"A status change of job {row['job_id']} has no valid time: {row['time'][:40]!r}",
            hint="`ftsdk journal export` writes what can be read",
            job_id=row["job_id"],
        ) from error
    old = _status(row["old"]) if row["old"] else None
    return time, old, _status(row["new"]), row["raw_status"], row["why"]


def _time(text: str) -> dt.datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _status(text: str) -> JobStatus:
    try:
        return JobStatus(text)
    except ValueError:
        return JobStatus.UNKNOWN
