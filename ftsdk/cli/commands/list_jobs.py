"""`list`: all jobs with their current status, newest first."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ftsdk.cli import completion
from ftsdk.cli.context import job_document, open_client, refreshed, short_ids
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import (
    clean,
    cost_words,
    percent,
    redact,
    status_label,
    status_style,
    when,
)
from ftsdk.cli.view.output import columns, command, emit, note, say
from ftsdk.client import Client
from ftsdk.errors import FtsdkError, NeedsDecision
from ftsdk.jobs.job import FineTuneJob
from ftsdk.types.status import JobStatus, statuses_of

Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", help="Only jobs with this status; may be repeated.",
        autocompletion=completion.statuses,
    ),
]  # fmt: skip
OfProvider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="Only jobs at this provider.",
        autocompletion=completion.providers,
    ),
]
OfTag = Annotated[
    str | None, typer.Option("--tag", metavar="K[=V]", help="Only jobs with this tag.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Show at most N jobs.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Show what the journal has; ask no provider.")
]


def list_(
    status: Statuses = None,
    provider: OfProvider = None,
    tag: OfTag = None,
    limit: Limit = None,
    offline: Offline = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """List jobs with their current status, newest first.

    Providers are asked about jobs that have not ended, which costs nothing.
    """
    client = open_client(profile)
    wanted = statuses_of(status) if status else frozenset(JobStatus)
    # The status in the journal may be old: jobs are refreshed first and then filtered.
    known = client.list_jobs(provider=provider, tag=tag, limit=None if status else limit)
    failed: dict[str, FtsdkError] = {}
    jobs = known
    if not offline:
        jobs, failed = refreshed(client, known)
    jobs = [job for job in jobs if job.status in wanted][:limit]
    if as_json:
        emit({"jobs": [_document(job, failed.get(job.id)) for job in jobs]})
        return
    if not jobs:
        message = "No job matches." if status or provider or tag else "No job yet."
        say(message, ("   start one: ", "dim"), command("ftsdk create DATA"))
        return
    _table(client, jobs, failed)


def _document(job: FineTuneJob, error: FtsdkError | None) -> dict[str, Any]:
    return job_document(job, not_asked=None if error is None else error.to_dict())


def _table(client: Client, jobs: list[FineTuneJob], failed: dict[str, FtsdkError]) -> None:
    short = short_ids(client) if sys.stdout.isatty() else {}
    now = client.clock.now()
    rows = [
        [
            (short.get(job.id, job.id), "bold"),
            clean(job.name or job.snapshot.profile or "", 24),
            clean(job.provider, 16),
            clean(job.model, 32),
            (status_label(job), status_style(job.status)),
            _fact(job, failed.get(job.id)),
            (when(job.snapshot.created_at, now), "dim"),
        ]
        for job in jobs
    ]
    columns(rows)
    for error in {id(e): e for e in failed.values()}.values():
        if isinstance(error, NeedsDecision):
            note((f"{error.job_id}  ", "bold"), clean(error.hint))
        else:
            note(("not asked  ", "yellow"), clean(error.what))


def _fact(job: FineTuneJob, error: FtsdkError | None) -> str:
    """Return the most useful fact about a job in its status."""
    snapshot = job.snapshot
    if error is not None and not isinstance(error, NeedsDecision):
        return f"as of {snapshot.updated_at.astimezone():%H:%M:%S}, not asked"
    if job.status in (JobStatus.IN_DOUBT, JobStatus.SUBMITTING):
        sent = snapshot.submitted_at or snapshot.created_at
        return f"sent {sent.astimezone():%H:%M:%S}, no answer; looking for {snapshot.tag}"
    if job.status is JobStatus.SUCCEEDED:
        return cost_words(snapshot.cost)
    if job.status is JobStatus.RUNNING and job.progress is not None and job.progress.fraction:
        return percent(job.progress.fraction)
    return clean(redact(snapshot.message), 60)
