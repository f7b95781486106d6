"""What commands share: the client, finding a job by name, refreshing several jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ftsdk.client import Client
from ftsdk.errors import FtsdkError, StoreError, UnknownJob
from ftsdk.jobs.follow import poll_once
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.search import find_job
from ftsdk.session import Session
from ftsdk.types.job import JobSnapshot

_PAGE = 50


def open_client(profile: str | None = None) -> Client:
    """Return a client for the profile, else for the default configuration."""
    return Client(profile)


def find(client: Client, name: str) -> FineTuneJob:
    """Return the job with this id, start of an id, provider's id, unique name or model.

    Raises `UnknownJob`, which suggests the nearest name.
    """
    return FineTuneJob(client.session, find_job(client.journal, name))


def find_model(client: Client, name: str) -> FineTuneJob:
    """Return the job called `name`; for `JOB@STEP` one whose result is its model at a checkpoint.

    Raises `UnknownJob`.
    """
    job, at, step = name.rpartition("@")
    if at and step.isascii() and step.isdigit():
        return FineTuneJob(client.session, find(client, job).snapshot, step=int(step))
    return find(client, name)


def newest(
    client: Client, name: str | None, *, fit: Callable[[FineTuneJob], bool] | None = None
) -> FineTuneJob:
    """Return the job called `name`; without a name, the newest one that fits, else the newest."""
    if name is not None:
        return find(client, name)
    first: FineTuneJob | None = None
    for job in _in_pages(client):
        first = first or job
        if fit is None or fit(job):
            return job
    if first is None:
        raise UnknownJob(
            "There is no job yet",
            where=str(client.home / "journal.db"),
            hint="`ftsdk create DATA` starts one",
        )
    return first


def _in_pages(client: Client) -> Iterator[FineTuneJob]:
    """Yield all jobs, newest first; only as many are read as are looked at."""
    page = client.list_jobs(limit=_PAGE)
    while page:
        yield from page
        page = client.list_jobs(after=page[-1].id, limit=_PAGE)


def refreshed(
    session: Session, jobs: Sequence[FineTuneJob]
) -> tuple[list[FineTuneJob], dict[str, FtsdkError]]:
    """Refresh the jobs with one request per provider; return them and, by job id, the errors.

    The jobs of a provider that cannot be reached, and a job that its provider does not have, are
    returned as the journal has them.
    """
    now: dict[str, JobSnapshot] = {job.id: job.snapshot for job in jobs}
    failed: dict[str, FtsdkError] = {}
    groups: dict[str, list[JobSnapshot]] = {}
    for job in jobs:
        if not job.is_final:
            group = job.provider if job.status.is_remote else job.id
            groups.setdefault(group, []).append(job.snapshot)
    for asked in groups.values():
        try:
            now.update({s.id: s for s in poll_once(session, asked, failed)})
        except FtsdkError as error:
            for snapshot in asked:
                failed[snapshot.id] = error
                if not isinstance(error, StoreError):  # else the journal is what failed
                    now[snapshot.id] = session.journal.get(snapshot.id)
    return [FineTuneJob(session, now[job.id]) for job in jobs], failed
