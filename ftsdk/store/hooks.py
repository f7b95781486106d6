"""Hooks that write to the journal in the transaction that adds or changes a job."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from ftsdk.types.job import JobSnapshot
from ftsdk.util.cancellation import pass_point_of_no_return

InsertHook = Callable[[sqlite3.Cursor, JobSnapshot], None]
"""Runs in the transaction that journals a job. When it raises, nothing is journaled."""

BeingSent = Callable[[str], bool]
"""Says of a job's id whether a process is sending it now (`Journal.is_being_sent`)."""


def may_be_sent(_: str) -> bool:
    """Return True for any job: where nothing is known of locks, the money of each job is reserved."""
    return True


def then_no_return(hook: InsertHook | None) -> InsertHook:
    """Return `hook` followed by the point after which a cancelled create goes on.

    It runs before the job is committed, so that a create that was cancelled leaves nothing behind.
    """

    def both(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        if hook is not None:
            hook(cursor, snapshot)
        pass_point_of_no_return(snapshot.id)

    return both
