"""Options that several commands share, and reading `NAME=VALUE`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli import completion
from ftsdk.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="The profile of ftsdk.toml to use.",
        autocompletion=completion.profiles,
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The provider that trains.", autocompletion=completion.providers
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="The base model: a short name, a hub id, a folder, or a provider's name.",
        autocompletion=completion.models,
    ),
]
Rows = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="The dataset: a file (.jsonl, .json, .csv, …), or hf:OWNER/NAME."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to questions.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Exit with 7 instead of asking.")]
RowFormat = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="The format of the rows, where the guess is wrong."
    ),
]
RowMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="COLUMN=NAME,…",
        help="Which columns are which: question=prompt,sql=completion.",
    ),
]
RowDrop = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="KEY",
        help="Leave out a key of the rows, or messages.KEY; may be repeated.",
    ),
]
AllowFindings = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CODE|CODE:VALUE|all",
        help="Acknowledge secrets or personal data: FT406, or values such as 'FT406:*@ourcompany.com'.",
    ),
]
MaxTokens = Annotated[
    int, typer.Option(metavar="N", min=1, help="Maximum length of an answer in tokens.")
]
MaxTokensOr256 = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", metavar="N", min=1,
        help="Maximum length of an answer in tokens; 256 by default.",
    ),
]  # fmt: skip
ChatOptions = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A further chat option, such as top_p=1."),
]
Schema = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The JSON schema that answers must fit.")
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Rows with the same value do not vary independently."),
]
Repeats = Annotated[
    int, typer.Option(metavar="N", min=1, help="How often each model answers each row.")
]
RightsOrigin = Annotated[
    str | None,
    typer.Option(
        metavar="ORIGIN",
        help="Where the training answers came from: own, internal-classifier, "
        "'cleared: REASON', unknown.",
    ),
]
Concurrency = Annotated[int, typer.Option(metavar="N", min=1, help="The most requests at once.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and ask nothing.")]
_JOB_HELP = "The job: its id or the start of it, its name, or the provider's id."
Job = Annotated[str, typer.Argument(metavar="JOB", help=_JOB_HELP, autocompletion=completion.jobs)]
MaybeJob = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help=f"{_JOB_HELP} The newest by default.", autocompletion=completion.jobs
    ),
]
MaybeJobs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="The jobs, by id or name. All that have not ended by default.",
        autocompletion=completion.jobs,
    ),
]


def pairs(given: Iterable[str] | None, option: str) -> dict[str, str]:
    """Return `["a=1", "b=x"]` as a dict of strings. Raises `UsageError` for anything else."""
    found: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"{option} {item!r} is not NAME=VALUE",
                where="the command line",
                hint=f"e.g. {option} team=cx",
            )
        if name.strip() in found:
            raise UsageError(
                f"{option} {name.strip()} is given twice",
                where="the command line",
                hint="give it once",
            )
        found[name.strip()] = value
    return found


def row_map(given: Iterable[str] | None) -> dict[str, str] | None:
    """Return `["question=prompt,sql=completion"]` as a dict; None for none."""
    if not given:
        return None
    return pairs((one for item in given for one in item.split(",") if one.strip()), "--map")


def values(given: Iterable[str] | None, option: str = "--set") -> dict[str, Any]:
    """Return the same with each value read as JSON where it is JSON: `3`, `true`, `[1, 2]`."""
    return {name: _value(text) for name, text in pairs(given, option).items()}


def chat_options(given: Iterable[str] | None, max_tokens: int | None) -> dict[str, Any]:
    """Return what `--set` and `--max-tokens` ask for. Raises `UsageError` where they contradict."""
    found = values(given)
    if max_tokens is None:
        return found
    limits = sorted({"max_tokens", "max_completion_tokens"} & set(found))
    if limits:
        raise UsageError(
            f"--max-tokens and --set {limits[0]} both limit the answers",
            where="the command line",
            hint="give one of them",
        )
    return {**found, "max_tokens": max_tokens}


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text
