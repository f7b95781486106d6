"""How many jobs the journal has, by status and provider; reads an index, not the jobs."""

from __future__ import annotations

from collections import Counter

from ftsdk.store.journal import Journal
from ftsdk.types.status import JobStatus


def job_counts(journal: Journal) -> Counter[tuple[str, JobStatus]]:
    """Return the number of jobs by provider and status; a status of a newer version is `unknown`."""
    counts: Counter[tuple[str, JobStatus]] = Counter()
    known = set(JobStatus)
    query = "SELECT provider, status, count(*) AS jobs FROM jobs GROUP BY provider, status"
    for row in journal.read(query):
        status = JobStatus(row["status"]) if row["status"] in known else JobStatus.UNKNOWN
        counts[row["provider"], status] += row["jobs"]
    return counts


def models_in_use(journal: Journal) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the base models of jobs that may have a model, by provider and model, with the jobs' names.

    Reads every job once: some milliseconds for thousands.
    """
    found: dict[tuple[str, str], list[str]] = {}
    rows = journal.read(
        "SELECT provider, id, json_extract(snapshot, '$.model') AS model, "
        "json_extract(snapshot, '$.name') AS name FROM jobs "
        "WHERE status NOT IN ('failed', 'cancelled') AND json_valid(snapshot) ORDER BY created_at DESC"
    )
    for row in rows:
        if isinstance(row["model"], str):
            found.setdefault((row["provider"], row["model"]), []).append(row["name"] or row["id"])
    return {key: tuple(names) for key, names in found.items()}
