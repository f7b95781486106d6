"""`migrate`: replace the fine-tunes of a provider that closes, and show that the new ones are as good."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli import completion
from ftsdk.cli.context import open_client
from ftsdk.cli.options import (
    AllowFindings,
    ChatOptions,
    Cluster,
    Concurrency,
    DryRun,
    Json,
    MaxTokensOr256,
    NoInput,
    Profile,
    Repeats,
    RightsOrigin,
    Schema,
    Yes,
    chat_options,
    values,
)
from ftsdk.cli.prompts import ask_to_spend
from ftsdk.cli.rights_question import ask_rights
from ftsdk.cli.view import migration_view as view
from ftsdk.cli.view.output import emit
from ftsdk.errors import UsageError
from ftsdk.evaluation.options import margin_of
from ftsdk.migration.arguments import MigrationArguments
from ftsdk.migration.migrate import Migrating
from ftsdk.migration.migrate_options import migration_options_of
from ftsdk.types.migration import MigrationPlan

_WORK = "ftsdk migrate"
_REQUESTS = re.compile(r"([0-9][0-9,_]*)(?:/(day|month))?")


def migrate(
    provider: Annotated[
        str,
        typer.Argument(
            metavar="PROVIDER",
            help="The provider to leave: openai, azure.",
            autocompletion=completion.providers,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Rows to compare on; by default the validation file of each old job.",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to",
            metavar="PROVIDER[:MODEL],…",
            help="Where to train the replacements: together, local, azure, together:Qwen/Qwen3-8B.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="A fine-tune to replace; all of them by default."
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER:MODEL",
            help="A model to compare with a plain prompt; by default the one that the provider names "
            "as the replacement. `none` compares no prompt.",
        ),
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Show each prompt the K training rows of the old model that are nearest to the question.",
        ),
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The migration's name; the provider by default."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Receipts and reports; migration-NAME by default."),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(
            metavar="N/month", help="Your traffic, for the costs: 300000/month, 10000/day."
        ),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option(
            metavar="N/s",
            help="Requests in your busiest second, for the replicas of a model by the hour; three "
            "times the mean by default.",
        ),
    ] = None,
    margin: Annotated[
        float, typer.Option(metavar="POINTS", help="The loss that is accepted, in points.")
    ] = 3.0,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A metric, the primary one first; chosen by the rows by default."
        ),
    ] = None,
    schema: Schema = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice", metavar="KEY", help="Compare parts too: label, length, language, or a key."
        ),
    ] = None,
    cluster: Cluster = None,
    repeats: Repeats = 1,
    max_tokens: MaxTokensOr256 = None,
    option: ChatOptions = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A hyperparameter of the new jobs, such as learning_rate=1e-4.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The seed of the new jobs.")
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Your copy of the training rows, where the provider has none."
        ),
    ] = None,
    rights: RightsOrigin = None,
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that all of it may cost.")
    ] = None,
    lease_hours: Annotated[
        float,
        typer.Option(
            metavar="HOURS", min=0.1, help="The longest that a deployment may run to be compared."
        ),
    ] = 1.0,
    retry: Annotated[
        bool, typer.Option("--retry", help="Create jobs again that failed or were cancelled.")
    ] = False,
    uncompared: Annotated[
        bool,
        typer.Option(
            "--uncompared",
            help="Train also where ftsdk cannot ask the new model, as at Azure. It is not compared.",
        ),
    ] = False,
    batch: Annotated[
        bool | None,
        typer.Option("--batch/--no-batch", help="Capture by batches only, or by none."),
    ] = None,
    recoverable: Annotated[
        bool,
        typer.Option(
            "--recoverable", help="Ask providers to keep each answer, so that a kill loses none."
        ),
    ] = False,
    allow_findings: AllowFindings = None,
    concurrency: Concurrency = 8,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Replace a provider's fine-tunes, and show that the new ones are as good.

    Fetches the account, keeps the old models' answers, trains at the targets, compares the new models and a
    plain prompt with what was kept, and writes a report. Each step leaves a receipt: interrupted, the same
    command continues, and nothing is paid twice. Exits with 0 where each model has a replacement that
    passes, 8 where one has none, 7 where the rows are too few to say, and 4 where answers are missing.
    """
    given: MigrationArguments = {
        "to": to,
        "models": model,
        "prompts": None if prompt is None else [one for one in prompt if one != "none"],
        "name": name,
        "folder": folder,
        "examples": examples,
        "requests": _per_month(requests),
        "peak": peak,
        "uncompared": uncompared,
        "margin": margin_of(margin),
        "metrics": metric or "auto",
        "schema": None if schema is None else json.loads(schema.read_text("utf-8")),
        "slices": slices or (),
        "cluster": cluster,
        "repeats": repeats,
        "options": chat_options(option, max_tokens),
        "hyperparameters": values(train, "--train"),
        "seed": seed,
        "training": training,
        "rights": rights,
        "budget": budget,
        "lease_hours": lease_hours,
        "retry": retry,
        "batch": batch,
        "recoverable": recoverable,
        "concurrency": concurrency,
        "allow_findings": allow_findings is not None
        and ("all" in allow_findings or list(allow_findings)),
    }
    client = open_client(profile)
    options = migration_options_of(provider, given)
    with (
        view.Steps(quiet=as_json) as steps,
        Migrating(client.session, provider, data, options, steps.progress, steps.step) as one,
    ):
        plan = one.plan()
        steps.pause()
        if dry_run or not as_json:
            _show(plan, as_json=as_json)
        if dry_run:
            return
        _agree(plan, yes=yes, no_input=no_input or as_json)
        if _needs_rights(plan) and not (yes or no_input or as_json) and sys.stdin.isatty():
            one.give_rights(ask_rights())
        found = one.run(plan)
    if as_json:
        emit({**found.model_dump(mode="json"), "result": found.result if found.models else None})
    else:
        view.migrated(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _show(plan: MigrationPlan, *, as_json: bool) -> None:
    if as_json:
        emit(plan.model_dump(mode="json"))
    else:
        view.plan(plan)


def _agree(plan: MigrationPlan, *, yes: bool, no_input: bool) -> None:
    """Ask whether to spend; exits where the answer is no. Nothing is asked for what is free."""
    if plan.high == 0:
        return
    high = plan.high
    if plan.budget is not None:
        left = max(plan.budget - plan.spent_usd, plan.budget * 0)
        high = left if high is None else min(high, left)
    ask_to_spend("migration", high, yes=yes, no_input=no_input)


def _needs_rights(plan: MigrationPlan) -> bool:
    return any(
        one.rights.origin == "unknown"
        and any(each.kind == "tuned" and each.can_run for each in one.candidates)
        for one in plan.models
    )


def _per_month(text: str | None) -> int | None:
    """Return requests a month from `300000/month`, `10000/day` or a number."""
    if text is None:
        return None
    found = _REQUESTS.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"The traffic is given as {text!r}", where=_WORK, hint="--requests 300000/month"
        )
    number = int(found[1].replace(",", "").replace("_", ""))
    return number * 30 if found[2] == "day" else number
