"""`create`: check the data, show the plan, ask, send the job once, follow it."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.errors import INTERRUPTED
from ftsdk.cli.follow import follow_jobs
from ftsdk.cli.job_options import JobArguments, takes_job_arguments
from ftsdk.cli.local_models import pull_with_bar
from ftsdk.cli.options import Json, NoInput, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.cost_line import cost_figures
from ftsdk.cli.view.formatting import clean, cost_text
from ftsdk.cli.view.jobs import job_document, short_id
from ftsdk.cli.view.output import command, emit, note, say
from ftsdk.cli.view.plan_view import show_plan
from ftsdk.cli.view.upload_bar import show_upload
from ftsdk.client import Client
from ftsdk.errors import NeedsDecision, StoreError, Unavailable
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.submit import (
    age_of,
    check_key,
    continue_creating,
    duplicate_rule,
    same_job,
    same_job_message,
    submit,
)
from ftsdk.planning.prepare import PreparedJob
from ftsdk.spending.ledger import line_of
from ftsdk.types.cost import Cost
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus

Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Idempotency key: using it again returns the same job."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Create a job that is identical to a recent one.")
]
Detach = Annotated[
    bool, typer.Option("--detach", "--no-wait", "-d", help="Return once the job is accepted.")
]


@takes_job_arguments()
def create(
    job: JobArguments,
    key: Key = None,
    again: Again = False,
    yes: Yes = False,
    no_input: NoInput = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Check the data, show the plan, ask, then start one job.

    It follows the job until it ends, unless --detach is given. --json never asks: without --yes it
    refuses with exit code 7. It prints the job once it has ended, or once it is accepted with
    --detach.
    """
    check_key(key)
    client = open_client(job.profile)
    silent = no_input or as_json
    prepared = _prepare(client, job, yes=yes, no_input=silent, quiet=as_json)
    cost = prepared.plan.cost
    existing, same, besides = _accepted_job(client, key), None, tuple[str, ...]()
    if key is None and not again:
        same, besides = _same_job(client, prepared, yes=yes, no_input=silent)
        existing = same
    if not as_json and existing is None:
        show_plan(prepared.plan, prepared.spec.adapter)
    hourly = prepared.backend.training_usd_per_hour(prepared.spec) is not None
    if existing is None and not _confirm(cost, job.max_cost, hourly, yes=yes, no_input=silent):
        raise stop("Nothing was started.")
    if same is not None:
        sent = _continued(client, same)
    else:
        agreed = None if job.max_cost else cost.high  # --max-cost is the job's own cap
        sent = _send(
            client,
            prepared,
            key,
            job.allow_findings or (),
            agreed,
            again or besides,
            asked=not yes,
            quiet=as_json,
        )
    try:
        _follow(client, sent, existed=existing is not None, detach=detach, as_json=as_json)
    except StoreError as error:  # the job is at the provider: creating it again would pay twice
        error.job_id, error.submitted = sent.id, "yes"
        look = f"`ftsdk watch {sent.id}`; do not create it again"
        error.hint = f"{error.hint}; then {look}" if error.hint else look
        raise


def _prepare(
    client: Client, job: JobArguments, *, yes: bool, no_input: bool, quiet: bool
) -> PreparedJob:
    """Check and plan the job; offer to download a base model that is missing."""
    try:
        return job.prepare(client.session, quiet=quiet, fetch=True)
    except Unavailable as error:
        missing = getattr(error, "missing_model", None)
        if missing is None:
            raise
        if not decide(
            f"{missing} is not on this machine yet. Download it now?",
            yes=yes,
            no_input=no_input,
            default=True,
            unasked=error.what,
            hint=f"ftsdk models pull {missing}, or --yes",
        ):
            raise
    pull_with_bar(client.home, missing, quiet=quiet)
    return job.prepare(client.session, quiet=quiet, fetch=True)


def _same_job(
    client: Client, prepared: PreparedJob, *, yes: bool, no_input: bool
) -> tuple[FineTuneJob | None, tuple[str, ...]]:
    """Return the very same job where there is one, to go on with instead of creating a second one.

    Where somebody can answer, it is asked whether to create a second one; where that may cost
    something, --yes does not answer this question. When it is to be created, the id of the first one
    is returned, so that it does not count. A job that was never sent is no question: it is sent now.
    """
    rule = duplicate_rule(prepared)
    if not rule.may_cost and not yes:
        rule = replace(rule, may_cost=True)  # it costs nothing, but a person would want to know
    same = same_job(client.session, prepared, rule)
    if same is None:
        return None, ()
    now = client.clock.now()
    if same.status is JobStatus.CREATED:
        return None, ()
    message = same_job_message(same, now)
    try:
        again = decide(
            f"{short_id(client.journal, same.id)}, created {age_of(same, now)}, is identical. "
            "Create it again?",
            yes=False,
            no_input=no_input,
            default=False,
            unasked=message,
            hint="--again",
        )
    except NeedsDecision:
        _say(message)
        return FineTuneJob(client.session, same), ()
    if not again:
        watch = f"ftsdk watch {short_id(client.journal, same.id)}"
        note("The first one goes on.   ", command(watch))
        raise stop("Nothing was started.")
    return None, (same.id,)


def _continued(client: Client, existing: FineTuneJob) -> FineTuneJob:
    """Return an existing job; one that no provider has accepted yet is looked for first."""
    snapshot = continue_creating(client.session, existing.snapshot, say=_say)
    if not snapshot.is_accepted:
        raise _not_accepted_yet(snapshot)
    return FineTuneJob(client.session, snapshot)


def _say(line: str) -> None:
    note(("! ", "yellow"), clean(line))


def _accepted_job(client: Client, key: str | None) -> FineTuneJob | None:
    """Return the accepted job with this key: creating it again sends and spends nothing."""
    if key is None:
        return None
    same = client.journal.find_key(key)
    if same is None or not same.is_accepted:
        return None
    return FineTuneJob(client.session, same)


def _confirm(cost: Cost, max_cost: str | None, hourly: bool, *, yes: bool, no_input: bool) -> bool:
    if cost.high is None:
        question, default = "Start, though its cost is not known?", False
    elif cost.high > 0:
        limit = cost.high if max_cost is None else Decimal(max_cost)
        end = " The job is cancelled there." if hourly else ""
        question, default = f"Spend up to ${limit:.2f}?{end}", False
    else:
        question, default = "Start?", True
    return decide(
        question,
        yes=yes,
        no_input=no_input,
        default=default,
        unasked=f"create asks before it starts a job ({cost_text(cost)})",
        hint="--yes starts it without asking",
    )


def _send(
    client: Client,
    prepared: PreparedJob,
    key: str | None,
    allowed: Collection[str],
    agreed: Decimal | None,
    again: bool | Collection[str],
    *,
    asked: bool,
    quiet: bool,
) -> FineTuneJob:
    before = set(client.journal.ids())
    try:
        with show_upload(quiet=quiet):
            acknowledged = "all" in allowed or allowed
            snapshot = submit(
                client.session,
                prepared,
                key=key,
                allow_findings=acknowledged,
                agreed=agreed,
                needs_quote=asked,
                again=again,
                say=_say,
            )
    except KeyboardInterrupt:
        fresh = [job for job in client.list_jobs(limit=5) if job.id not in before]
        if not fresh:
            raise
        if fresh[0].status is JobStatus.CREATED:
            note(f"Interrupted before {fresh[0].id} was sent. The same command sends it.")
            raise typer.Exit(INTERRUPTED) from None
        note(
            f"Interrupted while {fresh[0].id} was being sent: it may exist. Do not create it again."
        )
        note("  ", command(f"ftsdk reconcile {fresh[0].id}"), ("  finds out", "dim"))
        raise typer.Exit(INTERRUPTED) from None
    if not snapshot.is_accepted:
        raise _not_accepted_yet(snapshot)
    return FineTuneJob(client.session, snapshot)


def _not_accepted_yet(snapshot: JobSnapshot) -> NeedsDecision:
    """Return the error for a job that another process is still sending."""
    return NeedsDecision(
        "Another process is sending the job, and no provider has accepted it yet",
        where=f"provider {snapshot.provider}",
        hint=f"ftsdk watch {snapshot.id}",
        job_id=snapshot.id,
        tag=snapshot.tag,
        submitted="no" if snapshot.status is JobStatus.CREATED else "maybe",
    )


def _follow(
    client: Client, job: FineTuneJob, *, existed: bool, detach: bool, as_json: bool
) -> None:
    short = short_id(client.journal, job.id) if sys.stdout.isatty() else job.id
    if as_json and detach:
        emit(job_document(job.snapshot))
        return
    if not as_json:
        theirs = f" as {clean(job.provider_job_id)}" if job.provider_job_id != job.id else ""
        how = "already exists" if existed else f"accepted{theirs}"
        say((short, "bold"), f"  {how}", ("  ·  watch: ", "dim") if detach else "",
            command(f"ftsdk watch {short}") if detach else "")  # fmt: skip
        line = line_of(client.session, job.snapshot)
        if line.quoted is not None:
            say(("  " + cost_figures(line), "dim"))
    if not detach:
        follow_jobs(client, [job], quiet=as_json, as_json=as_json)
