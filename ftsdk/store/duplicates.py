"""Duplicates: the same job created twice within minutes, found before the second one is sent.

The check runs in the transaction that journals the job, so it also holds for two processes.
"""

from __future__ import annotations

import datetime as dt
import sqlite3

from ftsdk.errors import NeedsDecision
from ftsdk.store.hooks import InsertHook
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def newest_duplicate(
    connection: sqlite3.Connection | sqlite3.Cursor,
    fingerprint: str,
    since: dt.datetime,
    *,
    apart_from: str = "",
) -> JobSnapshot | None:
    """The newest job since then that trains the same thing in the same place, if any.

    A job that failed or was cancelled is no duplicate: it is right to send it again. Nor is the
    job whose id is `apart_from`.
    """
    row = connection.execute(
        "SELECT snapshot FROM jobs WHERE fingerprint = ? AND created_at >= ? AND id != ? "
        "AND status NOT IN (?, ?) ORDER BY created_at DESC LIMIT 1",
        (
            fingerprint,
            since.isoformat(),
            apart_from,
            JobStatus.FAILED.value,
            JobStatus.CANCELLED.value,
        ),
    ).fetchone()
    return JobSnapshot.model_validate_json(row["snapshot"]) if row else None


def already_created(job_id: str, ago: str = "just now") -> tuple[str, str]:
    """What to say about a duplicate where nobody can be asked: the message, and its hint."""
    return (
        f"{job_id}, created {ago}, is this very job: same rows, same settings, same provider",
        f"ftsdk watch {job_id}; or --again to create a second one, or give each its --key",
    )


def first_since(after: dt.datetime, hook: InsertHook) -> InsertHook:
    """`hook`, preceded by a check that no duplicate was created after that time.

    Raises `NeedsDecision` that names the other job; then no job is journaled.
    """

    def checked(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = newest_duplicate(cursor, snapshot.fingerprint, after, apart_from=snapshot.id)
        if other is not None and other.created_at > after:
            what, hint = already_created(other.id)
            raise NeedsDecision(
                what,
                where="it was created while this one was being prepared",
                hint=hint,
                submitted="no",
            )
        hook(cursor, snapshot)

    return checked
