"""`evaluate`: compare models on the same rows, with paired statistics and a gate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.artifacts.bundle import MANIFEST
from ftsdk.cli import completion
from ftsdk.cli.context import open_client
from ftsdk.cli.options import (
    ChatOptions,
    Cluster,
    Concurrency,
    DryRun,
    Json,
    MaxTokensOr256,
    NoInput,
    Profile,
    Repeats,
    Rows,
    Schema,
    Yes,
    chat_options,
)
from ftsdk.cli.prompts import agree_to_spend
from ftsdk.cli.view import evaluation_view as view
from ftsdk.cli.view.capture_view import progress
from ftsdk.cli.view.output import emit_blocks
from ftsdk.errors import UsageError
from ftsdk.evaluation.arguments import EvaluationArguments
from ftsdk.evaluation.captured import Captured
from ftsdk.evaluation.evaluate import Evaluating
from ftsdk.evaluation.junit import junit_xml
from ftsdk.evaluation.models import place_of
from ftsdk.evaluation.options import margin_of, options_of
from ftsdk.evaluation.participants import GivenModel, Prompt
from ftsdk.util.files import atomic_file, atomic_write_bytes

_WORK = "ftsdk evaluate"


def evaluate(
    data: Rows,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A candidate: a job's id, a model's name, `base`, or a capture's folder. "
            "May be given several times.",
        ),
    ] = None,
    reference: Annotated[
        str,
        typer.Option(metavar="MODEL", help="What the candidates are compared with."),
    ] = "base",
    provider: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose models they are.", autocompletion=completion.providers
        ),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[PROVIDER:]MODEL",
            help="A candidate that is asked with a prompt: --system, and --examples. "
            "May be given several times.",
        ),
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The system message of each --prompt.")
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Show each --prompt the K training rows that are nearest to the question. Rows that "
            "may hold its answer are never shown.",
        ),
    ] = 0,
    examples_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the examples come from; by default what the first tuned model was trained on.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A metric, the primary one first; chosen by the rows by default: exact, "
            "normalized, label, number, json, json_fields, tool_calls, chrf, loss.",
        ),
    ] = None,
    schema: Schema = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="[PROVIDER:]MODEL",
            help="A model that compares each candidate's answers with the reference's, in both orders.",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS", help="The loss that is accepted, in points. Stated before the run."
        ),
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="KEY",
            help="Compare parts by themselves: label, length, language, or a key of the rows.",
        ),
    ] = None,
    cluster: Cluster = None,
    repeats: Repeats = 1,
    max_tokens: MaxTokensOr256 = None,
    option: ChatOptions = None,
    budget: Annotated[
        str | None, typer.Option(metavar="USD", help="The most that the evaluation may cost.")
    ] = None,
    concurrency: Concurrency = 8,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Keep rows that a model was trained on.")
    ] = False,
    show: Annotated[
        str | None, typer.Option(metavar="flips", help="Print the rows on which the models differ.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a JUnit report for a CI system.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the whole report as JSON."),
    ] = None,
    no_texts: Annotated[
        bool, typer.Option("--no-texts", help="Leave the texts of rows and answers out of reports.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_input: NoInput = False,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Compare models on the same rows, with a verdict.

    Each is better, at parity or worse. The last message of a row is the right answer. Rows that a model
    was trained on are left out. Exits with 0 where every candidate passes, 8 where one is worse, 7 where
    the rows are too few to say, and 4 where answers are missing.
    """
    if show not in (None, "flips"):
        raise UsageError(f"Nothing is shown as {show!r}", where=_WORK, hint="--show flips")
    prompts = _prompts(prompt or (), system, examples, examples_from)
    if not model and not prompts:
        raise UsageError("No candidate is given", where=_WORK, hint="give --model or --prompt")
    client = open_client(profile)
    given: EvaluationArguments = {
        "provider": provider,
        "metrics": metric or "auto",
        "judge": judge,
        "schema": None if schema is None else json.loads(schema.read_text("utf-8")),
        "margin": None if margin is None else margin_of(margin),
        "slices": slices or (),
        "cluster": cluster,
        "repeats": repeats,
        "options": chat_options(option, max_tokens),
        "budget": budget,
        "concurrency": concurrency,
        "allow_overlap": allow_overlap,
    }
    models = [*(_given(one) for one in (reference, *(model or ()))), *prompts]
    with (
        progress(quiet=as_json) as on_progress,
        Evaluating(client.session, data, models, options_of(given), on_progress) as one,
    ):
        plan = one.plan()
        if not as_json or dry_run:
            view.plan(plan, as_json=as_json)
        if dry_run:
            return
        agree_to_spend(
            "evaluation", plan.to_ask, plan.cost.high, yes=yes, no_input=no_input or as_json
        )
        report = one.run(plan)
    if html is not None:
        atomic_write_bytes(html, report.to_html(texts=not no_texts).encode())
    if junit is not None:
        atomic_write_bytes(junit, junit_xml(report, texts=not no_texts))
    if output is not None:
        with atomic_file(output) as handle:
            handle.writelines(report.json_blocks(texts=not no_texts))
    if as_json:
        emit_blocks(report.json_blocks(texts=not no_texts))
    else:
        view.report(report)
        if show == "flips":
            view.flips(report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _given(name: str) -> GivenModel:
    """Return a capture for the folder of one, else the name."""
    return Captured(name) if (Path(name) / MANIFEST).is_file() else name


def _prompts(
    names: Sequence[str], system: str | None, examples: int, source: Path | None
) -> list[Prompt]:
    """Return a prompt for each name. Raises `UsageError` for options that belong to none."""
    if not names and (system or examples or source):
        raise UsageError(
            "--system and --examples belong to a prompt",
            where=_WORK,
            hint="name the model that is asked with it: --prompt openai:gpt-6-luna",
        )
    return [
        Prompt(
            system,
            model if provider else name,
            provider or None,
            examples or (),
            f"prompt on {model if provider else name}",
            source,
        )
        for name in names
        for provider, model in [place_of(name)]
    ]
