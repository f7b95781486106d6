"""Commands that act on one job: `cancel`, `pause`, `resume`, `delete`, `reconcile`, `resolve`, ..."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli import completion
from ftsdk.cli.context import find, find_model, open_client
from ftsdk.cli.options import Job, Json, NoInput, Profile, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, size, status_style, status_text
from ftsdk.cli.view.jobs import job_document, short_id, status_label
from ftsdk.cli.view.output import busy, command, emit, note, say
from ftsdk.client import Client
from ftsdk.errors import FtsdkError, UsageError
from ftsdk.jobs.job import FineTuneJob
from ftsdk.spending.ledger import line_of
from ftsdk.types.status import JobStatus
from ftsdk.util.durations import percent


def _report(client: Client, job: FineTuneJob, what: str, *next_commands: str) -> None:
    short = short_id(client.journal, job.id) if sys.stdout.isatty() else job.id
    parts = [
        (short, "bold"),
        "  ",
        (status_label(job.snapshot, needs_decision=job.needs_decision), status_style(job.status)),
        f"  {what}",
    ]
    for index, name in enumerate(next_commands):
        parts += [("   next: " if index == 0 else " · ", "dim"), command(f"ftsdk {name} {short}")]
    say(*parts)


def cancel(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Cancel a job.

    A job that has ended is not changed.
    """
    client = open_client(profile)
    target = find(client, job)
    ended_before = target.is_final
    target.cancel()
    if as_json:
        emit(job_document(target.snapshot))
    elif ended_before or target.status is JobStatus.SUCCEEDED:
        _report(client, target, "had already ended; nothing was done", "show")
    elif target.is_final:
        _report(client, target, "stopped", "show")
    else:
        _report(client, target, "was asked to stop", "watch")


def pause(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Pause a job, where the provider can."""
    client = open_client(profile)
    target = find(client, job).pause()
    if as_json:
        emit(job_document(target.snapshot))
    elif target.is_final:
        _report(client, target, "had already ended; nothing was done", "show")
    else:
        _report(client, target, "was asked to pause", "resume", "cancel")


def delete(
    job: Job,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Delete a job's result at its provider. The journal keeps the job."""
    client = open_client(profile)
    target = find(client, job)
    question = f"Delete the result of {short_id(client.journal, target.id)} at {target.provider} permanently?"
    if not decide(
        question,
        yes=yes,
        no_input=no_input,
        default=False,
        unasked="deleting needs a confirmation, and nobody could answer",
        hint=f"ftsdk delete {target.id} --yes",
    ):
        raise stop("Nothing was deleted.")
    target.delete()
    if as_json:
        emit(job_document(target.snapshot))
    else:
        _report(client, target, "its result was deleted", "show")


def resume(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Resume a paused, interrupted, failed or cancelled job, where the provider can."""
    client = open_client(profile)
    target = find(client, job).resume()
    if as_json:
        emit(job_document(target.snapshot))
    else:
        fraction = target.progress.fraction if target.progress else None
        what = "continues" + (f" at {percent(fraction)}" if fraction else "")
        _report(client, target, what, "watch")


def reconcile(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB",
            help="The job; all jobs in doubt by default.",
            autocompletion=completion.jobs,
        ),
    ] = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Look for jobs whose create call got no answer. Sends nothing.

    A job that is found at the provider is adopted.
    """
    client = open_client(profile)
    if job is not None:
        targets = [find(client, job)]
    else:
        targets = client.list_jobs(status=[JobStatus.SUBMITTING, JobStatus.IN_DOUBT])
    found: list[FineTuneJob] = []
    errors: list[FtsdkError] = []
    for target in targets:
        try:
            found += client.reconcile(target.id)
        except FtsdkError as error:
            if len(targets) == 1:
                raise
            errors.append(error)  # the others are still looked for
            found.append(client.get_job(target.id))
    if as_json:
        emit(
            {
                "jobs": [job_document(target.snapshot) for target in found],
                "errors": [e.to_dict() for e in errors],
            }
        )
    else:
        for target in found:
            _report_reconciled(client, target)
        if not found:
            say("No job is in doubt.")
    if errors:
        if not as_json:
            for each in errors:
                note(clean(each.what))
        raise typer.Exit(max(each.exit_code for each in errors))


def _report_reconciled(client: Client, job: FineTuneJob) -> None:
    if job.status is JobStatus.IN_DOUBT:
        yet = "" if job.needs_decision else " yet"
        what = f"not found{yet}, looking for {job.snapshot.tag}"
        _report(client, job, what, "reconcile", "resolve")
    elif job.status.is_remote:
        theirs = clean(job.provider_job_id)
        _report(
            client, job, f"found at {job.provider} as {theirs}; nothing was sent again", "watch"
        )
    else:
        _report(client, job, clean(job.snapshot.message) or "was never sent", "resolve")


def resolve(
    job: Job,
    adopt_: Annotated[
        str | None, typer.Option("--adopt", metavar="ID", help="Adopt this job of the provider.")
    ] = None,
    send_again: Annotated[
        bool, typer.Option("--send-again", help="Send it again; it may then exist twice.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Give up; the job counts as failed.")
    ] = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Decide a job in doubt: adopt an id, send again, or give up."""
    client = open_client(profile)
    target = find(client, job)
    if sum((adopt_ is not None, send_again, give_up)) != 1:
        raise UsageError(
            "Give exactly one decision",
            where=f"job {target.id}, {status_text(target.status)}",
            hint=f"ftsdk resolve {target.id} --adopt ID, or --send-again, or --give-up",
        )
    if (
        send_again
        and target.status is not JobStatus.CREATED
        and not decide(
            "It may then exist, and cost, twice. Send it again?",
            yes=yes,
            no_input=no_input or as_json,
            default=False,
            unasked="sending a job again may make, and cost, it twice",
            hint="--yes accepts that",
        )
    ):
        raise stop("Nothing was sent.")
    done = client.resolve(target.id, adopt=adopt_, send_again=send_again, give_up=give_up)
    if as_json:
        emit(job_document(done.snapshot))
    elif give_up:
        _report(client, done, "given up", "show")
    else:
        _report(client, done, f"is {clean(done.provider_job_id)} at {done.provider}", "watch")


def adopt(
    provider: Annotated[
        str,
        typer.Argument(
            metavar="PROVIDER",
            help="The provider the job runs at.",
            autocompletion=completion.providers,
        ),
    ],
    provider_job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job's id at the provider.")
    ],
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Add a job that was created elsewhere to the journal.

    Adopting the same job again changes nothing.
    """
    client = open_client(profile)
    target = client.adopt_job(provider, provider_job_id)
    if as_json:
        emit(job_document(target.snapshot))
    else:
        current = clean(target.provider_job_id or provider_job_id)
        before = "" if current == provider_job_id else f", restarted from {clean(provider_job_id)}"
        _report(client, target, f"is {current} at {clean(provider)}{before}", "show")
        if line_of(client.session, target.snapshot).counted is None:
            note("  its cost is not known, and budgets refuse new jobs until you record it: ",
                 command(f"ftsdk costs --settle {target.id} --usd AMOUNT"))  # fmt: skip


def download(
    job: Job,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="Let the provider merge the adapter, where it can.")
    ] = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Download a job's model into a folder.

    A download that was interrupted goes on at the next call.
    """
    client = open_client(profile)
    handle = find_model(client, job).result()
    with busy(f"downloading {size(handle.size_bytes)}", quiet=as_json):
        path = handle.download(folder, merged=merged)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    total = sum(p.stat().st_size for p in files)
    if as_json:
        emit({
            "job_id": handle.job_id, "path": path, "size_bytes": total,
            "files": [str(p.relative_to(path)) for p in files],
        })  # fmt: skip
        return
    say(f"{clean(path)}   {len(files)} files, {size(total)}")
