"""`list`: all jobs with their current status, newest first.

The client is imported only where a provider is to be asked, so that a list starts quickly.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

import typer

from ftsdk.cli import completion
from ftsdk.cli.options import Json, Profile
from ftsdk.cli.view.formatting import clean, cost_text, redact, status_style, when
from ftsdk.cli.view.jobs import job_document, short_ids, status_label
from ftsdk.cli.view.output import columns, command, emit, is_narrow, note, say
from ftsdk.cli.view.unreadable import note_unreadable, unreadable_document
from ftsdk.config import default_home, load_config
from ftsdk.errors import FtsdkError, NeedsDecision, NotFound, WrongAccount
from ftsdk.jobs.search import find_job, find_jobs
from ftsdk.store.job_rows import UnreadableJob
from ftsdk.store.journal import Journal
from ftsdk.types.account import account_name
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus, statuses_of
from ftsdk.util.clock import SystemClock
from ftsdk.util.durations import percent

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
After = Annotated[
    str | None,
    typer.Option("--after", metavar="JOB", help="Continue behind this job, with the next page."),
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Show what the journal has; ask no provider.")
]


_HEAD = ("job", "status", "name", "provider", "model", "detail", "created")
_WIDE = 110
"""Columns of a terminal from which on names are shown whole."""


@dataclass
class _Listing:
    """Jobs, by id why some could not be refreshed, and the ids of those that need a decision."""

    jobs: list[JobSnapshot]
    errors: dict[str, FtsdkError] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()


def list_(
    status: Statuses = None,
    provider: OfProvider = None,
    tag: OfTag = None,
    limit: Limit = None,
    after: After = None,
    offline: Offline = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """List jobs with their current status, newest first.

    Providers are asked about jobs that have not ended, which costs nothing.
    """
    load_config(profile=profile)  # a wrong profile or a broken file is an error here, too
    wanted = statuses_of(status) if status else frozenset(JobStatus)
    journal = Journal(default_home())
    # The status in the journal may be old: jobs are refreshed first and then filtered.
    may_fit = wanted | {one for one in JobStatus if not one.is_final}
    unreadable: list[UnreadableJob] = []
    found = find_jobs(
        journal,
        status=may_fit if status else None,
        provider=provider,
        tag=tag,
        after=None if after is None else find_job(journal, after).id,
        limit=None if status or limit is None else limit + 1,
        unreadable=unreadable,
    )
    listing = _current(found if status else found[:limit], profile, offline=offline)
    fitting = [job for job in listing.jobs if job.status in wanted]
    jobs, has_more = (
        fitting[:limit],
        limit is not None and len(fitting if status else found) > limit,
    )
    if as_json:
        emit({"jobs": [
            job_document(job, not_asked=_error_document(listing.errors.get(job.id))) for job in jobs
        ], **unreadable_document(unreadable)})  # fmt: skip
        return
    note_unreadable(unreadable)
    if not jobs:
        message = "No job matches." if status or provider or tag else "No job yet."
        say(message, ("   start one: ", "dim"), command("ftsdk create DATA"))
        return
    short = short_ids(journal) if sys.stdout.isatty() else {}
    _print_table(jobs, listing, short)
    if has_more:
        last = jobs[-1].id
        note(("more: ", "dim"), command(f"--after {short.get(last, last)}"))


def _current(found: list[JobSnapshot], profile: str | None, *, offline: bool) -> _Listing:
    """Refresh the jobs, unless they have all ended."""
    if all(job.status.is_final for job in found):
        return _Listing(found)
    from ftsdk.cli.context import open_client, refreshed
    from ftsdk.jobs.job import FineTuneJob

    client = open_client(profile)
    jobs = [FineTuneJob(client.session, job) for job in found]
    errors: dict[str, FtsdkError] = {}
    if not offline:
        jobs, errors = refreshed(client.session, jobs)
    undecided = frozenset(job.id for job in jobs if job.needs_decision)
    return _Listing([job.snapshot for job in jobs], errors, undecided)


def _error_document(error: FtsdkError | None) -> dict[str, object] | None:
    return None if error is None else error.to_dict()


def _print_table(jobs: list[JobSnapshot], listing: _Listing, short: dict[str, str]) -> None:
    now = SystemClock().now()
    name, model = (14, 18) if is_narrow(_WIDE) else (24, 32)
    columns([
        [
            (short.get(job.id, job.id), "bold"),
            (status_label(job, needs_decision=job.id in listing.undecided), status_style(job.status)),
            clean(job.name or job.profile or "", name),
            clean(job.provider, 16),
            clean(job.model, model),
            _fact(job, listing.errors.get(job.id)),
            (when(job.created_at, now), "dim"),
        ]
        for job in jobs
    ], head=_HEAD)  # fmt: skip
    for job_id, error in {id(e): (job_id, e) for job_id, e in listing.errors.items()}.values():
        if isinstance(error, NeedsDecision | NotFound | WrongAccount):
            note((f"{error.job_id or job_id}  ", "bold"), clean(error.hint))
        else:
            note(("not asked  ", "yellow"), clean(error.what))


def _fact(job: JobSnapshot, error: FtsdkError | None) -> str:
    """Return the most useful fact about a job in its status."""
    if isinstance(error, NotFound):
        return "gone at the provider"
    if isinstance(error, WrongAccount):
        return f"of account {account_name(job.account)}, whose key is not here"
    if error is not None and not isinstance(error, NeedsDecision):
        return f"as of {job.updated_at.astimezone():%H:%M:%S}, not asked"
    if job.status in (JobStatus.IN_DOUBT, JobStatus.SUBMITTING):
        sent = job.submitted_at or job.created_at
        return f"sent {sent.astimezone():%H:%M:%S}, no answer; looking for {job.tag}"
    if job.status is JobStatus.SUCCEEDED:
        return cost_text(job.cost)
    if job.status is JobStatus.RUNNING and job.progress is not None and job.progress.fraction:
        return percent(job.progress.fraction)
    return clean(redact(job.message), 60)
