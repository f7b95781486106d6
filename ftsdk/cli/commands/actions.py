"""Acts on jobs: `cancel`, `pause`, `resume`, `delete`, `reconcile`, `resolve`, `adopt`, `download`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli import completion
from ftsdk.cli.context import find, job_document, open_client, short_id
from ftsdk.cli.options import Job, Json, Profile
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.formatting import clean, percent, size, standing, status_style, status_words
from ftsdk.cli.view.output import busy, command, emit, note, say
from ftsdk.errors import FtsdkError, UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.job import FineTuneJob

__all__ = ["adopt", "cancel", "delete", "download", "pause", "reconcile", "resolve", "resume"]

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Refuse (exit code 7) instead of asking.")
]


def _tell(client: Client, job: FineTuneJob, told: str, *next_words: str) -> None:
    short = short_id(client, job.id) if sys.stdout.isatty() else job.id
    parts = [
        (short, "bold"),
        "  ",
        (standing(job), status_style(job.status)),
        f"  {told}",
    ]
    for index, word in enumerate(next_words):
        parts += [("   next: " if index == 0 else " · ", "dim"), command(f"ftsdk {word} {short}")]
    say(*parts)


def cancel(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Ask the job to stop. A job that has ended stays as it is."""
    from ftsdk.types.status import JobStatus

    client = open_client(profile)
    one = find(client, job)
    ended_before = one.is_final
    one.cancel()
    if as_json:
        emit(job_document(one))
    elif ended_before or one.status is JobStatus.SUCCEEDED:
        _tell(client, one, "it had ended already; nothing was done", "show")
    elif one.is_final:
        _tell(client, one, "stopped", "show")
    else:
        _tell(client, one, "was asked to stop", "watch")


def pause(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Ask the job to stop where it can go on, where its backend can."""
    client = open_client(profile)
    one = find(client, job).pause()
    if as_json:
        emit(job_document(one))
    elif one.is_final:
        _tell(client, one, "it had ended already; nothing was done", "show")
    else:
        _tell(client, one, "was asked to pause", "resume", "cancel")


def delete(
    job: Job,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Remove what the job left at its provider, for good. The journal keeps the job."""
    client = open_client(profile)
    one = find(client, job)
    question = f"Delete the result of {short_id(client, one.id)} at {one.provider}, for good?"
    if not decide(
        question,
        yes=yes,
        no_input=no_input,
        default=False,
        unasked="Deleting needs a yes, and there is nobody to ask",
        hint=f"ftsdk delete {one.id} --yes",
    ):
        raise stop("Nothing was deleted.")
    one.delete()
    if as_json:
        emit(job_document(one))
    else:
        _tell(client, one, "its result was deleted", "show")


def resume(job: Job, profile: Profile = None, as_json: Json = False) -> None:
    """Let a paused, interrupted, failed or cancelled job go on, where its backend can."""
    client = open_client(profile)
    one = find(client, job).resume()
    if as_json:
        emit(job_document(one))
    else:
        fraction = one.progress.fraction if one.progress else None
        told = "goes on" + (f" at {percent(fraction)}" if fraction else "")
        _tell(client, one, told, "watch")


def reconcile(
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="One job; all in doubt if left out.", autocompletion=completion.jobs
        ),
    ] = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Look for jobs whose create call got no answer, and adopt what is found. Nothing is sent twice."""
    from ftsdk.types.status import JobStatus

    client = open_client(profile)
    if job is not None:
        targets = [find(client, job)]
    else:
        targets = client.list_jobs(status=[JobStatus.SUBMITTING, JobStatus.IN_DOUBT])
    found: list[FineTuneJob] = []
    errors: list[FtsdkError] = []
    for one in targets:
        try:
            found += client.reconcile(one.id)
        except FtsdkError as error:
            if len(targets) == 1:
                raise
            errors.append(error)  # one provider out of reach must not keep the others waiting
            found.append(client.get_job(one.id))
    if as_json:
        emit(
            {"jobs": [job_document(one) for one in found], "errors": [e.to_dict() for e in errors]}
        )
    else:
        for one in found:
            _tell_reconciled(client, one)
        if not found:
            say("No job is in doubt.")
    if errors:
        if not as_json:
            for each in errors:
                note(clean(each.what))
        raise typer.Exit(max(each.exit_code for each in errors))


def _tell_reconciled(client: Client, job: FineTuneJob) -> None:
    from ftsdk.types.status import JobStatus

    if job.status is JobStatus.IN_DOUBT:
        yet = "" if job.needs_decision else " yet"
        told = f"not found{yet}, looking for {job.snapshot.tag}"
        _tell(client, job, told, "reconcile", "resolve")
    elif job.status.is_remote:
        theirs = clean(job.provider_job_id)
        _tell(client, job, f"found at {job.provider} as {theirs}; nothing was sent again", "watch")
    else:
        _tell(client, job, clean(job.snapshot.message) or "was never sent", "resolve")


def resolve(
    job: Job,
    adopt_: Annotated[
        str | None, typer.Option("--adopt", metavar="ID", help="It is this job of the provider.")
    ] = None,
    send_again: Annotated[
        bool, typer.Option("--send-again", help="Send it again; it may then exist twice.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Let it be; it counts as failed.")
    ] = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Decide a job in doubt: adopt the provider's id, send it again, or give up."""
    from ftsdk.types.status import JobStatus

    client = open_client(profile)
    one = find(client, job)
    if sum((adopt_ is not None, send_again, give_up)) != 1:
        raise UsageError(
            "Give exactly one decision",
            where=f"job {one.id}, {status_words(one.status)}",
            hint=f"ftsdk resolve {one.id} --adopt ID, or --send-again, or --give-up",
        )
    if (
        send_again
        and one.status is not JobStatus.CREATED
        and not decide(
            "It may then exist, and cost, twice. Send it again?",
            yes=yes,
            no_input=no_input or as_json,
            default=False,
            unasked="sending a job again may make, and cost, it twice",
            hint="say --yes to accept that",
        )
    ):
        raise stop("Nothing was sent.")
    done = client.resolve(one.id, adopt=adopt_, send_again=send_again, give_up=give_up)
    if as_json:
        emit(job_document(done))
    elif give_up:
        _tell(client, done, "given up", "show")
    else:
        _tell(client, done, f"is {clean(done.provider_job_id)} at {done.provider}", "watch")


def adopt(
    provider: Annotated[
        str,
        typer.Argument(
            metavar="PROVIDER", help="Where it runs.", autocompletion=completion.providers
        ),
    ],
    provider_job_id: Annotated[str, typer.Argument(metavar="ID", help="Its id there.")],
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Take a job that was made elsewhere into the journal; the same job is taken once."""
    from ftsdk.spending.reserve import line_of

    client = open_client(profile)
    one = client.adopt_job(provider, provider_job_id)
    if as_json:
        emit(job_document(one))
    else:
        current = clean(one.provider_job_id or provider_job_id)
        before = "" if current == provider_job_id else f", restarted from {clean(provider_job_id)}"
        _tell(client, one, f"is {current} at {clean(provider)}{before}", "show")
        if line_of(client, one.snapshot).counted is None:
            note("  what it costs is not known; a budget is closed until you say it: ",
                 command(f"ftsdk costs --settle {one.id} --usd AMOUNT"))  # fmt: skip


def download(
    job: Job,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New or empty.")],
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Copy the weights of the result into a folder."""
    client = open_client(profile)
    handle = find(client, job).result()
    with busy(f"copying {size(handle.size_bytes)}", quiet=as_json):
        path = handle.download(folder)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    total = sum(p.stat().st_size for p in files)
    if as_json:
        emit({
            "job_id": handle.job_id, "path": path, "size_bytes": total,
            "files": [str(p.relative_to(path)) for p in files],
        })  # fmt: skip
        return
    say(f"{clean(path)}   {len(files)} files, {size(total)}")
