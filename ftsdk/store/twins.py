"""Two programs that make the very same job at once: the second is refused as it is journaled."""

from __future__ import annotations

import datetime as dt
import sqlite3

from ftsdk.errors import NeedsDecision
from ftsdk.records import JobSnapshot, JobStatus
from ftsdk.store.journal import Also

__all__ = ["first_since"]


def first_since(after: dt.datetime, also: Also) -> Also:
    """`also`, where no job made after that time trains the very same thing in the same place.

    Raises `NeedsDecision` naming the other, and then no job is journaled. One that failed or was
    cancelled is no other.
    """

    def guard(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        other = cursor.execute(
            "SELECT id FROM jobs WHERE fingerprint = ? AND created_at > ? AND id != ? "
            "AND status NOT IN (?, ?) LIMIT 1",
            (
                snapshot.fingerprint,
                after.isoformat(),
                snapshot.id,
                JobStatus.FAILED.value,
                JobStatus.CANCELLED.value,
            ),
        ).fetchone()
        if other is not None:
            raise NeedsDecision(
                f"{other['id']}, made just now, is this very job: same rows, same settings, "
                "same provider",
                where="it was made while this one was being prepared",
                mend=f"ftsdk watch {other['id']}; or say --again to make a second one, or give each "
                "its --key",
                submitted="no",
            )
        also(cursor, snapshot)

    return guard
