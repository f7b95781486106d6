"""Duplicates: the same job created twice within minutes, found before the second one is sent.

The check runs in the transaction that journals the job, so it also works across processes.
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
    excluding: str = "",
) -> JobSnapshot | None:
    """Return the newest job since then with the same rows, settings and provider, if any.

    Failed and cancelled jobs do not count, since creating them again is legitimate. `excluding` is
    the id of a job to ignore.
    """
    row = connection.execute(
        "SELECT snapshot FROM jobs WHERE fingerprint = ? AND created_at >= ? AND id != ? "
        "AND status NOT IN (?, ?) ORDER BY created_at DESC LIMIT 1",
        (
            fingerprint,
            since.isoformat(),
            excluding,
            JobStatus.FAILED.value,
            JobStatus.CANCELLED.value,
        ),
    ).fetchone()
    return JobSnapshot.model_validate_json(row["snapshot"]) if row else None


def duplicate_message(job_id: str, ago: str = "just now") -> tuple[str, str]:
    """Return the message and the hint for a duplicate in a non-interactive run."""
    return (
        f"{job_id}, created {ago}, is the same job: same rows, same settings, same provider",
        f"ftsdk watch {job_id}; or --again to create a second one, or give each its --key",
    )


def refuse_duplicates_since(after: dt.datetime, hook: InsertHook) -> InsertHook:
    """Return `hook`, preceded by a check that no duplicate was created after that time.

    For a duplicate the returned hook raises `NeedsDecision` with its id, and no job is journaled.
    """

    def checked(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = newest_duplicate(cursor, snapshot.fingerprint, after, excluding=snapshot.id)
        if other is not None and other.created_at > after:
            what, hint = duplicate_message(other.id)
            raise NeedsDecision(
                what,
                where="it was created while this one was being prepared",
                hint=hint,
                submitted="no",
            )
        hook(cursor, snapshot)

    return checked
