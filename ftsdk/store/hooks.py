"""Hooks that write to the journal in the transaction that adds a job."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from ftsdk.types.job import JobSnapshot
from ftsdk.util.cancellation import pass_point_of_no_return

InsertHook = Callable[[sqlite3.Cursor, JobSnapshot], None]
"""Runs in the transaction that journals a job. When it raises, no job is journaled."""


def then_no_return(hook: InsertHook | None) -> InsertHook:
    """Return `hook` followed by the point after which a cancelled create goes on.

    It runs before the job is committed, so that a create that was cancelled leaves nothing behind.
    """

    def both(cursor: sqlite3.Cursor, snapshot: JobSnapshot) -> None:
        if hook is not None:
            hook(cursor, snapshot)
        pass_point_of_no_return(snapshot.id)

    return both
