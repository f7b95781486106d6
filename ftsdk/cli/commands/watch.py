"""`watch` and `wait`: follow jobs until they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ftsdk.cli.context import find, newest, open_client
from ftsdk.cli.follow import follow_jobs
from ftsdk.cli.options import Json, MaybeJobs, Profile
from ftsdk.cli.view.unreadable import note_unreadable
from ftsdk.client import Client
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.search import find_jobs
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.types.status import JobStatus

Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Stop waiting after this time; the job goes on."),
]


def watch(
    jobs: MaybeJobs = None, profile: Profile = None, timeout: Timeout = None, as_json: Json = False
) -> None:
    """Follow jobs until they end.

    It shows progress, loss, tokens per second and the time left. Ctrl-C leaves, and the jobs go on.
    Exits with 5 when a job failed or was cancelled.
    """
    client = open_client(profile)
    follow_jobs(client, _chosen(client, jobs), timeout=timeout, quiet=as_json, as_json=as_json)


def wait(
    jobs: MaybeJobs = None, profile: Profile = None, timeout: Timeout = None, as_json: Json = False
) -> None:
    """Wait until jobs end, without output.

    Exits with 5 when a job failed or was cancelled.
    """
    client = open_client(profile)
    follow_jobs(client, _chosen(client, jobs), timeout=timeout, quiet=True, as_json=as_json)


def _chosen(client: Client, names: Sequence[str] | None) -> list[FineTuneJob]:
    if names:
        return list({job.id: job for job in (find(client, name) for name in names)}.values())
    unreadable: list[UnreadableJob] = []
    running = [one for one in JobStatus if not one.is_final]
    found = find_jobs(client.journal, status=running, unreadable=unreadable)
    note_unreadable(unreadable)
    return [FineTuneJob(client.session, job) for job in found] or [newest(client, None)]
