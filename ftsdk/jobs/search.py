"""Search the journal: pages of jobs by status, provider and tags, and the one job that a name means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ftsdk.errors import UnknownJob
from ftsdk.store.job_names import given_names, jobs_named
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.job_search import TagFilter
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus, statuses_of
from ftsdk.util.arguments import Check, is_text
from ftsdk.util.names import nearest


def _is_tag(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(is_text(part) for pair in value.items() for part in pair)
    return is_text(value) or (
        isinstance(value, tuple) and len(value) == 2 and all(map(is_text, value))
    )


TAG = Check("a name, name=value, a pair, or a mapping of names to values", _is_tag)
Tag = str | tuple[str, str] | Mapping[str, str]
"""Which tags a job must have: a name, `name=value`, a pair, or a mapping of names to values."""


def find_jobs(
    journal: Journal,
    *,
    status: JobStatus | str | Iterable[JobStatus | str] | None = None,
    provider: str | None = None,
    tag: Tag | None = None,
    after: str | None = None,
    limit: int | None = None,
    unreadable: list[UnreadableJob] | None = None,
) -> list[JobSnapshot]:
    """Return the jobs that match, newest first: at most `limit` of those behind the job `after`.

    Raises `UsageError` for an unknown status, and `UnknownJob` where there is no job `after`. For
    `unreadable` see `Journal.list`.
    """
    return journal.list(
        status=None if status is None else statuses_of(status),
        provider=provider,
        tags=_tags(tag),
        after=after,
        limit=limit,
        unreadable=unreadable,
    )


def _tags(tag: Tag | None) -> list[TagFilter]:
    if tag is None:
        return []
    if isinstance(tag, Mapping):
        return list(tag.items())
    name, _, value = tag.partition("=") if isinstance(tag, str) else (tag[0], "=", tag[1])
    return [(name, value or None)]


def find_job(journal: Journal, name: str) -> JobSnapshot:
    """Return the job with this id, start of an id, provider's id, unique name or model.

    Raises `UnknownJob`, which suggests the nearest name.
    """
    if name.lower().startswith("ftj_"):
        return journal.get("ftj_" + name[4:])
    found = jobs_named(journal, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownJob(
            f"{len(found)} jobs are called {name!r}",
            where=", ".join(job.id for job in found[:5]),
            hint="give the id of one",
        )
    raise UnknownJob(
        f"No job is called {name!r}{nearest(name, given_names(journal))}",
        where=str(journal.path),
        hint="`ftsdk list` shows the jobs; another FTSDK_HOME may have it",
    )
