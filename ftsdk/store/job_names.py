"""Find jobs by a name: one that was given, the provider's id, or the provider's name of the model."""

from __future__ import annotations

from ftsdk.store.job_index import GIVEN_NAME
from ftsdk.store.job_rows import read_job
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot


def jobs_named(journal: Journal, name: str) -> list[JobSnapshot]:
    """Return the jobs with this name, provider's id (also an earlier one) or model, newest first.

    Raises `StoreError` for one that cannot be read.
    """
    journal.index_missing()
    rows = journal.read(
        "SELECT * FROM jobs WHERE id IN (SELECT job_id FROM job_names WHERE name = ?) "
        "ORDER BY created_at DESC, id DESC",
        (name,),
    )
    return [read_job(row) for row in rows]


def given_names(journal: Journal) -> list[str]:
    """Return the names that were given to jobs, each once."""
    journal.index_missing()
    rows = journal.read("SELECT DISTINCT name FROM job_names WHERE kind = ?", (GIVEN_NAME,))
    return [row["name"] for row in rows]
