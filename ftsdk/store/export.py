"""Export the journal as JSON lines, and delete old jobs from it.

The export has one line for each job, oldest first, with its snapshot and its status changes. It
contains no secrets, since keys never enter the journal, and no rows: those are stored under their
hash in `datasets/`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from ftsdk.store.accounting import month_bounds, month_of
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

FORMAT = 1


def export_lines(journal: Journal) -> Iterator[bytes]:
    """Yield the whole journal, one line for each job, oldest first, each ending with a newline.

    Jobs that cannot be read come last, each with its columns as they are.
    """
    unreadable: list[UnreadableJob] = []
    for snapshot in reversed(journal.list(unreadable=unreadable)):
        changes: list[dict[str, Any]] = [
            {"time": time.isoformat(), "old": old, "new": new, "raw_status": raw, "why": why}
            for time, old, new, raw, why in journal.status_changes(snapshot.id)
        ]
        line = {"format": FORMAT, "job": snapshot.model_dump(mode="json"), "moves": changes}
        yield _encoded(line)
    for job in unreadable:
        yield _encoded(
            {"format": FORMAT, "unreadable": job.id, "why": job.why, **_raw(journal, job)}
        )


def _raw(journal: Journal, job: UnreadableJob) -> dict[str, Any]:
    """Return the columns of a job that cannot be read, and of its status changes, as they are."""
    [row] = journal.read("SELECT * FROM jobs WHERE id = ?", (job.id,))
    moves = journal.read("SELECT * FROM moves WHERE job_id = ? ORDER BY seq", (job.id,))
    return {"row": dict(row), "moves": [dict(move) for move in moves]}


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def forgettable(journal: Journal, age: dt.timedelta, now: dt.datetime) -> list[JobSnapshot]:
    """Return the jobs that may be forgotten: those that ended longer ago than `age`, oldest first.

    Left out are jobs that have not ended or are in doubt, jobs of the current month (UTC), since
    they count against its budget, and jobs whose model is deployed.
    """
    before = min(now - age, month_bounds(month_of(now))[0])
    final = frozenset(status for status in JobStatus if status.is_final)
    ended = journal.list(status=final)
    deployed = {lease.job_id for lease in Leases(journal).list(running=True)}
    return [
        job
        for job in reversed(ended)
        if (job.finished_at or job.updated_at) < before and job.id not in deployed
    ]


def forget(journal: Journal, age: dt.timedelta, now: dt.datetime) -> list[JobSnapshot]:
    """Delete the `forgettable` jobs from the journal in one transaction, and return them.

    Their files at the provider and the directories of local runs are kept.
    """
    old = forgettable(journal, age, now)
    with journal.write() as cursor:
        cursor.executemany("DELETE FROM jobs WHERE id = ?", [(job.id,) for job in old])
    return old
