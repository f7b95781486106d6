"""The journal as JSON lines, for a backup or another program; and the forgetting of old jobs.

One line a job, oldest first: its snapshot, and every status it has had. Nothing in it is secret:
keys never enter the journal. Rows are not in it either; they lie under their hash in `datasets/`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from ftsdk.store.accounting import month_bounds, month_of
from ftsdk.store.journal import Journal
from ftsdk.store.leases import Leases
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

__all__ = ["export_lines", "forget", "forgettable"]

FORMAT = 1


def export_lines(journal: Journal) -> Iterator[bytes]:
    """The whole journal, one line for each job, oldest first, ended by a newline."""
    for snapshot in reversed(journal.list()):
        moves: list[dict[str, Any]] = [
            {"time": time.isoformat(), "old": old, "new": new, "raw_status": raw, "why": why}
            for time, old, new, raw, why in journal.moves(snapshot.id)
        ]
        line = {"format": FORMAT, "job": snapshot.model_dump(mode="json"), "moves": moves}
        yield json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def forgettable(journal: Journal, age: dt.timedelta, now: dt.datetime) -> list[JobSnapshot]:
    """Jobs that ended longer ago than `age`, oldest first: those that may be forgotten.

    A job that has not ended, or whose sending is in doubt, is never among them; nor is one of this
    month (UTC), since it counts against the month's budget, nor one whose model stands deployed.
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
    """Forget the jobs that `forgettable` names, in one transaction, and return them.

    What the provider has of them stays there, and so does a local run's directory.
    """
    old = forgettable(journal, age, now)
    with journal.write() as cursor:
        cursor.executemany("DELETE FROM jobs WHERE id = ?", [(job.id,) for job in old])
    return old
