"""Search the journal for jobs by status, provider and tag."""

from __future__ import annotations

from collections.abc import Iterable

from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus, statuses_of
from ftsdk.util.arguments import Check, is_text

TAG = Check(
    "a name, name=value, or a pair",
    lambda v: is_text(v) or (isinstance(v, tuple) and len(v) == 2 and all(map(is_text, v))),
)


def find_jobs(
    journal: Journal,
    *,
    status: JobStatus | str | Iterable[JobStatus | str] | None = None,
    provider: str | None = None,
    tag: str | tuple[str, str] | None = None,
    limit: int | None = None,
    unreadable: list[UnreadableJob] | None = None,
) -> list[JobSnapshot]:
    """Return the jobs that match, newest first. `tag` is a name, `name=value`, or a pair.

    Raises `UsageError` for an unknown status. For `unreadable` see `Journal.list`.
    """
    wanted = None if status is None else statuses_of(status)
    found = journal.list(
        status=wanted,
        provider=provider,
        limit=None if tag is not None else limit,
        unreadable=unreadable,
    )
    if tag is None:
        return found
    return [job for job in found if _has_tag(job, tag)][:limit]


def _has_tag(snapshot: JobSnapshot, tag: str | tuple[str, str]) -> bool:
    name, _, value = tag.partition("=") if isinstance(tag, str) else (tag[0], "=", tag[1])
    return name in snapshot.tags and (not value or snapshot.tags[name] == value)
