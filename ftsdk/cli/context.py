"""What commands share: the client, finding a job by name, refreshing several jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftsdk.client import Client
from ftsdk.errors import FtsdkError, StoreError, UnknownJob
from ftsdk.jobs.follow import poll_once
from ftsdk.jobs.job import FineTuneJob
from ftsdk.session import Session
from ftsdk.types.job import JobSnapshot
from ftsdk.util.names import nearest


def open_client(profile: str | None = None) -> Client:
    """Return a client for the profile, else for the default configuration."""
    return Client(profile)


def find(client: Client, name: str) -> FineTuneJob:
    """Return the job with this id, start of an id, provider's id, or unique name.

    Raises `UnknownJob`, which suggests the nearest name.
    """
    if name.lower().startswith("ftj_"):
        return client.get_job("ftj_" + name[4:])
    jobs = client.list_jobs()
    matches = [
        job for job in jobs if name in (job.provider_job_id, job.name, *job.snapshot.earlier_ids)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownJob(
            f"{len(matches)} jobs are called {name!r}",
            where=", ".join(job.id for job in matches[:5]),
            hint="give the id of one",
        )
    known = [job.name for job in jobs if job.name]
    raise UnknownJob(
        f"No job is called {name!r}{nearest(name, known)}",
        where=str(client.home / "journal.db"),
        hint="`ftsdk list` shows the jobs; another FTSDK_HOME may have it",
    )


def newest(
    client: Client, name: str | None, *, fit: Callable[[FineTuneJob], bool] | None = None
) -> FineTuneJob:
    """Return the job called `name`; without a name, the newest one that fits, else the newest."""
    if name is not None:
        return find(client, name)
    jobs = client.list_jobs()
    if not jobs:
        raise UnknownJob(
            "There is no job yet",
            where=str(client.home / "journal.db"),
            hint="`ftsdk create DATA` starts one",
        )
    return next((job for job in jobs if fit is not None and fit(job)), jobs[0])


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
