"""Keep the tables by which jobs are found: their tags, their names, their ids at a provider, their models.

A job is written and indexed in one transaction. What a process of an older version wrote is indexed by
the next search.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ftsdk.types.job import JobSnapshot

GIVEN_NAME = "name"
"""The kind of a name that was given when the job was created."""
_INSERT = {
    "job_tags": "INSERT INTO job_tags (job_id, created_at, name, value) VALUES (?, ?, ?, ?)",
    "job_names": "INSERT INTO job_names (job_id, kind, name) VALUES (?, ?, ?)",
}
_DELETE = {
    "job_tags": "DELETE FROM job_tags WHERE job_id = ? AND created_at = ? AND name = ? AND value = ?",
    "job_names": "DELETE FROM job_names WHERE job_id = ? AND kind = ? AND name = ?",
}
_Fact = tuple[str, tuple[str, ...]]
"""A table and one of its rows."""


def index_job(cursor: sqlite3.Cursor, job: JobSnapshot, old: JobSnapshot | None = None) -> None:
    """Let a job be found by the tags and names that it has now; `old` is how it is indexed so far."""
    before = set() if old is None else set(_facts(old))
    now = set(_facts(job))
    for table, row in sorted(before - now):
        cursor.execute(_DELETE[table], row)
    for table, row in sorted(now - before):
        cursor.execute(_INSERT[table], row)


def remove_from_index(cursor: sqlite3.Cursor, job_id: str) -> None:
    """Let a job be found by no tag and no name."""
    cursor.execute("DELETE FROM job_tags WHERE job_id = ?", (job_id,))
    cursor.execute("DELETE FROM job_names WHERE job_id = ?", (job_id,))


def _facts(job: JobSnapshot) -> Iterator[_Fact]:
    time = job.created_at.isoformat()
    for tag, value in job.tags.items():
        yield "job_tags", (job.id, time, tag, value)
    names = [(GIVEN_NAME, job.name), ("provider", job.provider_job_id), ("model", job.result_model)]
    for kind, name in (*names, *(("earlier", one) for one in job.earlier_ids)):
        if name:
            yield "job_names", (job.id, kind, name)
