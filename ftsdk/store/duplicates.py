"""The very same job, made twice within minutes: found before it is sent, also by two programs at once."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import TYPE_CHECKING

from ftsdk.errors import NeedsDecision
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

if TYPE_CHECKING:
    from ftsdk.store.journal import Also

__all__ = ["already_made", "first_since", "newest_twin"]


def newest_twin(
    connection: sqlite3.Connection | sqlite3.Cursor,
    fingerprint: str,
    since: dt.datetime,
    *,
    but: str = "",
) -> JobSnapshot | None:
    """The newest job since then that trains the very same thing in the same place, if any.

    One that failed or was cancelled is no twin: it is right to send such a job again. Nor is the
    job whose id is `but`.
    """
    row = connection.execute(
        "SELECT snapshot FROM jobs WHERE fingerprint = ? AND created_at >= ? AND id != ? "
        "AND status NOT IN (?, ?) ORDER BY created_at DESC LIMIT 1",
        (
            fingerprint,
            since.isoformat(),
            but,
            JobStatus.FAILED.value,
            JobStatus.CANCELLED.value,
        ),
    ).fetchone()
    return JobSnapshot.model_validate_json(row["snapshot"]) if row else None


def already_made(job_id: str, ago: str = "just now") -> tuple[str, str]:
    """What to say of a twin where nobody can be asked, and how to mend it."""
    return (
        f"{job_id}, made {ago}, is this very job: same rows, same settings, same provider",
        f"ftsdk watch {job_id}; or say --again to make a second one, or give each its --key",
    )


def first_since(after: dt.datetime, also: Also) -> Also:
    """`also`, where no twin was made after that time.

    Raises `NeedsDecision` naming the other, and then no job is journaled.
    """

    def guard(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = newest_twin(cursor, snapshot.fingerprint, after, but=snapshot.id)
        if other is not None and other.created_at > after:
            what, hint = already_made(other.id)
            raise NeedsDecision(
                what,
                where="it was made while this one was being prepared",
                hint=hint,
                submitted="no",
            )
        also(cursor, snapshot)

    return guard
