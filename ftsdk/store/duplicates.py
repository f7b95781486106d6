"""Duplicates: the same job created twice within minutes, found before the second one is sent.

The check runs in the transaction that journals the job, so it also works across processes.
"""

from __future__ import annotations

import datetime as dt
import sqlite3

from ftsdk.errors import NeedsDecision
from ftsdk.store.hooks import InsertHook
from ftsdk.store.job_rows import read_job
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def newest_duplicate(
    connection: sqlite3.Connection | sqlite3.Cursor,
    fingerprint: str,
    since: dt.datetime,
    *,
    excluding: str = "",
) -> JobSnapshot | None:
    """Return the newest job since then with the same rows, settings and provider, if any.

    A job that was sent long after it was created counts from then (`made_at`). Failed and cancelled
    jobs do not count, since creating them again is legitimate. `excluding` is the id of a job to
    ignore. Raises `StoreError` for one that cannot be read: it may be the same job.
    """
    rows = connection.execute(
        "SELECT * FROM jobs WHERE fingerprint = ? AND id != ? AND status NOT IN (?, ?)",
        (fingerprint, excluding, JobStatus.FAILED.value, JobStatus.CANCELLED.value),
    ).fetchall()
    found = [read_job(row) for row in rows]
    recent = [job for job in found if made_at(job) >= since]
    return max(recent, key=made_at, default=None)


def made_at(job: JobSnapshot) -> dt.datetime:
    """Return when the job was created, or sent if that was later."""
    return max(job.created_at, job.submitted_at or job.created_at)


class UnsentDuplicate(Exception):
    """Internal: the same job is journaled already and was never sent."""

    def __init__(self, existing: JobSnapshot) -> None:
        super().__init__(existing.id)
        self.existing = existing


def _unsent_duplicate(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> JobSnapshot | None:
    """Return the newest other job that is the same, has no key and was never sent, if any.

    A job at another address or of another profile is not the same: the caller may have changed
    them because that address refused the connection.
    """
    rows = cursor.execute(
        "SELECT * FROM jobs WHERE fingerprint = ? AND status = ? AND key IS NULL AND id != ? "
        "ORDER BY created_at DESC",
        (snapshot.fingerprint, JobStatus.CREATED.value, snapshot.id),
    ).fetchall()
    found = (read_job(row) for row in rows)
    return next((job for job in found if _place(job) == _place(snapshot)), None)


def _place(job: JobSnapshot) -> tuple[str | None, object]:
    return job.profile, job.dataset.get("base_url")


def duplicate_message(job_id: str, ago: str = "just now") -> tuple[str, str]:
    """Return the message and the hint for a duplicate in a non-interactive run."""
    return (
        f"{job_id}, created {ago}, is the same job: same rows, same settings, same provider",
        f"ftsdk watch {job_id}; or --again to create a second one, or give each its --key",
    )


def refuse_duplicates_since(after: dt.datetime, hook: InsertHook) -> InsertHook:
    """Return `hook`, preceded by a check that no duplicate was created after that time.

    For a duplicate the returned hook raises `NeedsDecision` with its id, and no job is journaled. For
    one of any age that was never sent, it raises `UnsentDuplicate`: that job can be sent instead.
    """

    def checked(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = newest_duplicate(cursor, snapshot.fingerprint, after, excluding=snapshot.id)
        is_sent = other is not None and other.status is not JobStatus.CREATED
        if other is not None and is_sent and made_at(other) > after:
            what, hint = duplicate_message(other.id)
            raise NeedsDecision(
                what,
                where="it was created while this one was being prepared",
                hint=hint,
                submitted="no",
            )
        unsent = _unsent_duplicate(cursor, snapshot)
        if unsent is not None:
            raise UnsentDuplicate(unsent)
        hook(cursor, snapshot)

    return checked
