"""`capture`: keep a model's answers to your rows, before the model is gone."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.artifacts.bundle import verify as verify_bundle
from ftsdk.cli import completion
from ftsdk.cli.context import open_client
from ftsdk.cli.options import (
    ChatOptions,
    Concurrency,
    DryRun,
    Json,
    MaxTokensOr256,
    NoInput,
    Profile,
    RightsOrigin,
    Yes,
    chat_options,
)
from ftsdk.cli.prompts import agree_to_spend
from ftsdk.cli.rights_question import ask_rights
from ftsdk.cli.view import capture_view as view
from ftsdk.cli.view.bundle_view import verified
from ftsdk.cli.view.output import emit, note
from ftsdk.client import Client
from ftsdk.errors import UsageError
from ftsdk.migration.arguments import CaptureArguments
from ftsdk.migration.capture import Capturing
from ftsdk.migration.capture_all import AllPlanned, CapturingAll
from ftsdk.migration.options import CaptureOptions, options_of
from ftsdk.types.capture import CapturePlan

_WORK = "ftsdk capture"


def capture(
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="The model: its name, or the id of its job."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="Rows to ask; without them, the validation file of the model's job.",
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose model it is.", autocompletion=completion.providers
        ),
    ] = None,
    all_models: Annotated[
        bool,
        typer.Option(
            "--all", help="Every fine-tune of the account, the first to end first, in one budget."
        ),
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="FOLDER", help="The bundle; in FTSDK_HOME by default."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often the model answers each row.")
    ] = 1,
    base: Annotated[bool, typer.Option(help="Ask the untuned base as well, once.")] = True,
    batch: Annotated[
        bool | None,
        typer.Option(
            "--batch/--no-batch",
            help="Batches only, or none; by default where the provider has them for the model.",
        ),
    ] = None,
    traffic: Annotated[bool, typer.Option(help="Fetch the chats that the account stored.")] = True,
    max_tokens: MaxTokensOr256 = None,
    option: ChatOptions = None,
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that the capture may cost.")
    ] = None,
    rights: RightsOrigin = None,
    training: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A further training file to compare the rows with."),
    ] = None,
    concurrency: Concurrency = 8,
    recoverable: Annotated[
        bool,
        typer.Option(
            "--recoverable", help="Ask the provider to keep each answer, so that a kill loses none."
        ),
    ] = False,
    dry_run: DryRun = False,
    verify: Annotated[
        Path | None,
        typer.Option("--verify", metavar="FOLDER", help="Check a bundle instead. Sends nothing."),
    ] = None,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Keep a model's answers to your rows before it is gone.

    They go into a sealed bundle, for evaluation afterwards. Rows that the model was trained on are left
    out. Every answer is stored before the next is asked: interrupted, the same command continues, and
    nothing that was answered is asked again. The bundle holds private data and can be read by you alone.
    Exits with 4 where requests got no answer.
    """
    if verify is not None:
        verified(verify, verify_bundle(verify), as_json=as_json)
        return
    _check(model, all_models=all_models)
    if all_models and data is None and model is not None:
        data = Path(model)  # `ftsdk capture --all DATA`
    client = open_client(profile)
    given: CaptureArguments = {
        "repeats": repeats,
        "base": base,
        "batch": batch,
        "traffic": traffic,
        "options": chat_options(option, max_tokens),
        "budget": budget,
        "rights": rights,
        "training": training,
        "concurrency": concurrency,
        "recoverable": recoverable,
    }
    ask = _Asking(yes=yes, no_input=no_input, dry_run=dry_run, as_json=as_json)
    if all_models:
        _capture_all(client, provider or "openai", data, into, options_of(given), ask)
    else:
        _capture_one(client, str(model), data, provider, into, options_of(given), ask)


def _check(model: str | None, *, all_models: bool) -> None:
    if model is None and not all_models:
        raise UsageError(
            "Name a model, or capture them all",
            where=_WORK,
            hint="ftsdk capture MODEL DATA; ftsdk capture --all DATA; `ftsdk inventory openai` "
            "shows the models",
        )


class _Asking:
    """Whether to go on after the plan was shown."""

    def __init__(self, *, yes: bool, no_input: bool, dry_run: bool, as_json: bool) -> None:
        self.yes, self.no_input = yes, no_input or as_json
        self.dry_run, self.as_json = dry_run, as_json

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer a question."""
        return not (self.yes or self.no_input) and sys.stdin.isatty()

    def agree(self, cost: Decimal | None, requests: int) -> None:
        """Ask whether to spend; exits where the answer is no."""
        agree_to_spend("capture", requests, cost, yes=self.yes, no_input=self.no_input)


def _capture_one(
    client: Client,
    model: str,
    data: Path | None,
    provider: str | None,
    into: Path | None,
    options: CaptureOptions,
    ask: _Asking,
) -> None:
    with (
        view.progress(quiet=ask.as_json) as on_progress,
        Capturing(
            client.session,
            model,
            data,
            provider=provider,
            into=into,
            options=options,
            on_progress=on_progress,
        ) as one,
    ):
        plan = one.plan()
        if ask.dry_run:
            _show_plans([plan], ask)
            return
        if not ask.as_json:
            view.plan(plan)
        ask.agree(plan.cost.high, plan.to_ask)
        if one.rights().origin == "unknown" and ask.can_ask:
            one.give_rights(ask_rights())
        found = one.run(plan)
    if ask.as_json:
        emit({**found.model_dump(mode="json"), "is_complete": found.is_complete})
    else:
        view.captured(found)
    if not found.is_complete:
        raise typer.Exit(4)


def _show_plans(plans: list[CapturePlan], ask: _Asking) -> None:
    if ask.as_json:
        emit({"plans": [plan.model_dump(mode="json") for plan in plans]})
        return
    for plan in plans:
        view.plan(plan)
    note("  nothing was asked")


def _capture_all(
    client: Client,
    provider: str,
    data: Path | None,
    into: Path | None,
    options: CaptureOptions,
    ask: _Asking,
) -> None:
    with view.progress(quiet=ask.as_json) as on_progress:
        work = CapturingAll(
            client.session, provider, data, into=into, options=options, on_progress=on_progress
        )
        planned: AllPlanned = work.plan()
        if ask.dry_run:
            _show_plans(list(planned.plans), ask)
            view.failures(planned.failed)
            return
        if not ask.as_json:
            for plan in planned.plans:
                view.plan(plan)
            view.failures(planned.failed)
        high, requests = planned.high, sum(plan.to_ask for plan in planned.plans)
        capped = high if options.budget is None or high is None else min(high, options.budget)
        ask.agree(capped, requests)
        found = work.run()
    if ask.as_json:
        emit({
            "captures": [one.model_dump(mode="json") for one in found.captures],
            "failed": {model: error.to_dict() for model, error in found.failed},
            "is_complete": found.is_complete,
        })  # fmt: skip
    else:
        for one in found.captures:
            view.captured(one)
        view.failures(found.failed)
    if not found.is_complete:
        raise typer.Exit(4)
