"""One command's dealings with jobs: the client, which job is meant, asking anew, its JSON shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.cli.view.formatting import redact
from ftsdk.errors import FtsdkError, UnknownJob

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.types.job import JobSnapshot

__all__ = ["find", "job_document", "newest", "open_client", "refreshed", "short_id", "short_ids"]

_MARK = 14  # `ftj_` and the ten characters of a ULID that say its millisecond


def open_client(profile: str | None = None) -> Client:
    """A client of the configuration in force."""
    from ftsdk.client import Client

    return Client(profile)


def find(client: Client, word: str) -> FineTuneJob:
    """The job that `word` means: our id or its beginning, the provider's id, or a unique name.

    Raises `UnknownJob` with the nearest right one.
    """
    if word.lower().startswith("ftj_"):
        return client.get_job("ftj_" + word[4:])
    everything = client.list_jobs()
    meant = [
        job
        for job in everything
        if word in (job.provider_job_id, job.name, *job.snapshot.earlier_ids)
    ]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UnknownJob(
            f"{len(meant)} jobs are called {word!r}",
            where=", ".join(job.id for job in meant[:5]),
            hint="give the id of one",
        )
    from ftsdk.config import nearest

    known = [job.name for job in everything if job.name]
    raise UnknownJob(
        f"No job is called {word!r}{nearest(word, known)}",
        where=str(client.home / "journal.db"),
        hint="`ftsdk list` shows the jobs; another FTSDK_HOME may hold it",
    )


def newest(
    client: Client, word: str | None, *, fit: Callable[[FineTuneJob], bool] | None = None
) -> FineTuneJob:
    """The job that `word` means, else the newest one that fits, else the newest of all."""
    if word is not None:
        return find(client, word)
    everything = client.list_jobs()
    if not everything:
        raise UnknownJob(
            "There is no job yet",
            where=str(client.home / "journal.db"),
            hint="ftsdk create DATA starts one",
        )
    return next((job for job in everything if fit is not None and fit(job)), everything[0])


def short_ids(client: Client) -> dict[str, str]:
    """Each job's id → its shortest beginning that is unique here and likely to stay so."""
    ids = [job.id for job in client.list_jobs()]
    return {one: _short(one, ids) for one in ids}


def short_id(client: Client, job_id: str) -> str:
    """The beginning of one job's id that is enough to name it."""
    return _short(job_id, [job.id for job in client.list_jobs()])


def _short(job_id: str, ids: Sequence[str]) -> str:
    for length in range(_MARK, len(job_id)):
        if sum(other.startswith(job_id[:length]) for other in ids) <= 1:
            return job_id[:length]
    return job_id


def refreshed(
    client: Client, jobs: Sequence[FineTuneJob]
) -> tuple[list[FineTuneJob], dict[str, FtsdkError]]:
    """The jobs as they stand now, one question per provider, and by id why some could not be asked.

    A provider that cannot be reached leaves its jobs as they were known; the others are not kept
    waiting.
    """
    from ftsdk.jobs.follow import poll_once
    from ftsdk.jobs.job import FineTuneJob

    now: dict[str, JobSnapshot] = {job.id: job.snapshot for job in jobs}
    failed: dict[str, FtsdkError] = {}
    groups: dict[str, list[JobSnapshot]] = {}
    for job in jobs:
        if not job.is_final:
            group = job.provider if job.status.is_remote else job.id
            groups.setdefault(group, []).append(job.snapshot)
    for asked in groups.values():
        try:
            now.update({s.id: s for s in poll_once(client, asked)})
        except FtsdkError as error:
            for snapshot in asked:
                now[snapshot.id] = client.get_job(snapshot.id).snapshot
                failed[snapshot.id] = error
    return [FineTuneJob(client, now[job.id]) for job in jobs], failed


def job_document(job: FineTuneJob, **more: Any) -> dict[str, Any]:
    """A job as `--json` prints it: the stable fields, then everything else that is known."""
    snapshot = job.snapshot.model_dump(mode="json", exclude={"client_token"})
    first = ("id", "provider", "provider_job_id", "status", "raw_status", "model", "name", "cost")
    ordered = {name: snapshot.pop(name) for name in first}
    document: dict[str, Any] = redact({**ordered, **snapshot})
    return {**document, **more}
