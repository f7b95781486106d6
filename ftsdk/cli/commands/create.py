"""`create`: show what would be sent, ask, send it once, watch it."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli.context import job_document, open_client, short_id
from ftsdk.cli.errors import INTERRUPTED
from ftsdk.cli.job_options import Asked, JobOptions, takes_a_job
from ftsdk.cli.options import Json, NoInput, Yes
from ftsdk.cli.prompts import decide, stop
from ftsdk.cli.view.cost_line import figures
from ftsdk.cli.view.formatting import clean, cost_words
from ftsdk.cli.view.output import command, emit, note, say
from ftsdk.cli.view.plan_view import show_plan
from ftsdk.cli.view.upload_bar import sending
from ftsdk.errors import Unavailable

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.planning.prepare import PreparedJob
    from ftsdk.types.cost import Cost

__all__ = ["create"]

TWIN_WITHIN = dt.timedelta(minutes=10)

Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Your own mark: the same key twice is one job, never two."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Make the very same job a second time, within minutes.")
]
AllowFindings = Annotated[
    list[str] | None,
    typer.Option(metavar="CODE|all", help="Send rows with these secrets or personal data: FT406."),
]
Detach = Annotated[
    bool, typer.Option("--detach", "--no-wait", "-d", help="Return once it is accepted.")
]


@takes_a_job()
def create(
    said: JobOptions,
    key: Key = None,
    again: Again = False,
    allow_findings: AllowFindings = None,
    yes: Yes = False,
    no_input: NoInput = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Check the rows, show the plan, ask, start one job, and watch it.

    --json never asks: without --yes it refuses with exit code 7, whatever the cost. With it, the
    job is printed once it is accepted (--detach), else once it has ended.
    """
    from ftsdk.planning.prepare import check_key

    check_key(key)
    client = open_client(said.profile)
    asked = said.asked(client)
    silent = no_input or as_json
    prepared = _prepared(client, asked, yes=yes, no_input=silent, quiet=as_json)
    made = prepared.plan
    there = _already_there(client, key)
    if not as_json and there is None:
        show_plan(made, asked.adapter)
    first_after = None
    if key is None and not _may_be_a_twin(client, prepared, again=again, yes=yes):
        first_after = _first_after(client, prepared, no_input=silent)
    if there is None and not _agreed(made.cost, said.max_cost, yes=yes, no_input=silent):
        raise stop("Nothing was started.")
    agreed = None if yes or said.max_cost else made.cost.high  # --max-cost is the job's own cap
    allowed = allow_findings or ()
    job = _send(client, prepared, key, allowed, agreed, first_after, quiet=as_json)
    _follow(client, job, there=there is not None, detach=detach, as_json=as_json)


def _prepared(
    client: Client, asked: Asked, *, yes: bool, no_input: bool, quiet: bool
) -> PreparedJob:
    """The job, checked and planned; a base model that is missing is fetched first, when wanted."""
    try:
        return asked.prepared(client, quiet=quiet, fetch=True)
    except Unavailable as error:
        missing = getattr(error, "missing_model", None)
        if missing is None:
            raise
        if not decide(
            f"{missing} is not on this machine yet. Fetch it now?",
            yes=yes,
            no_input=no_input,
            default=True,
            unasked=error.what,
            hint=f"ftsdk models pull {missing}, or --yes",
        ):
            raise
    from ftsdk.cli.commands.models import pull_with_bar

    pull_with_bar(client.home, missing, quiet=quiet)
    return asked.prepared(client, quiet=quiet, fetch=True)


def _may_be_a_twin(client: Client, prepared: PreparedJob, *, again: bool, yes: bool) -> bool:
    """Whether the very same job may be made twice unasked: where it is meant, or costs nothing."""
    free = client.backend(prepared.spec.provider).capabilities.price == "free"
    return again or (yes and free)


def _first_after(client: Client, prepared: PreparedJob, *, no_input: bool) -> dt.datetime:
    """Ask before the very same job is made a second time within minutes.

    That is nearly always a slip or a script that tries again, so where it may cost something not
    even --yes answers this one: --again does, or a --key, which makes the second call harmless.
    Returns the time after which this job must be the first of its kind when it is journaled.
    """
    from ftsdk.planning.prepare import twin_of
    from ftsdk.store.duplicates import already_made

    twin = twin_of(client, prepared, TWIN_WITHIN)
    if twin is None:
        return client.clock.now() - TWIN_WITHIN
    minutes = round((client.clock.now() - twin.created_at).total_seconds() / 60)
    ago = "just now" if minutes < 1 else f"{minutes} min ago"
    unasked, hint = already_made(twin.id, ago)
    if not decide(
        f"{short_id(client, twin.id)}, made {ago}, is this very job. Make it again?",
        yes=False,
        no_input=no_input,
        default=False,
        unasked=unasked,
        hint=hint,
    ):
        raise stop("Nothing was started.")
    return twin.created_at


def _already_there(client: Client, key: str | None) -> FineTuneJob | None:
    """The accepted job of this key: creating it again starts and spends nothing."""
    if key is None:
        return None
    same = (job for job in client.list_jobs() if job.snapshot.key == key)
    return next((job for job in same if job.status.is_remote), None)


def _agreed(cost: Cost, max_cost: str | None, *, yes: bool, no_input: bool) -> bool:
    if cost.high is None:
        question, default = "Start, though its cost is not known?", False
    elif cost.high > 0:
        limit = cost.high if max_cost is None else Decimal(max_cost)
        question, default = f"Spend up to ${limit:.2f}?", False
    else:
        question, default = "Start?", True
    return decide(
        question,
        yes=yes,
        no_input=no_input,
        default=default,
        unasked=f"create asks before it starts a job ({cost_words(cost)})",
        hint="say --yes to start it without a question",
    )


def _send(
    client: Client,
    prepared: PreparedJob,
    key: str | None,
    allowed: Collection[str],
    agreed: Decimal | None,
    first_after: dt.datetime | None,
    *,
    quiet: bool,
) -> FineTuneJob:
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.planning.prepare import submit

    before = {job.id for job in client.list_jobs()}
    try:
        with sending(quiet=quiet):
            acknowledged = "all" in allowed or allowed
            sent = submit(client, prepared, key, acknowledged, agreed, first_after)
    except KeyboardInterrupt:
        fresh = [job for job in client.list_jobs(limit=5) if job.id not in before]
        if not fresh:
            raise
        note(
            f"Interrupted while {fresh[0].id} was being sent; it may exist. Do not create it again:"
        )
        note("  ", command(f"ftsdk reconcile {fresh[0].id}"), ("  finds out", "dim"))
        raise typer.Exit(INTERRUPTED) from None
    return FineTuneJob(client, sent)


def _follow(client: Client, job: FineTuneJob, *, there: bool, detach: bool, as_json: bool) -> None:
    from ftsdk.cli.commands.watch import follow_jobs
    from ftsdk.spending.reserve import line_of

    short = short_id(client, job.id) if sys.stdout.isatty() else job.id
    if as_json and detach:
        emit(job_document(job))
        return
    if not as_json:
        theirs = f" as {clean(job.provider_job_id)}" if job.provider_job_id != job.id else ""
        how = "was there already" if there else f"accepted{theirs}"
        say((short, "bold"), f"  {how}", ("  ·  watch: ", "dim") if detach else "",
            command(f"ftsdk watch {short}") if detach else "")  # fmt: skip
        line = line_of(client, job.snapshot)
        if line.quoted is not None:
            say(("  " + figures(line), "dim"))
    if not detach:
        follow_jobs(client, [job], quiet=as_json, as_json=as_json)
