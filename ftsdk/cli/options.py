"""Options that several commands share, and how `NAME=VALUE` is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli import completion
from ftsdk.errors import UsageError

__all__ = [
    "Job",
    "Json",
    "MaybeJob",
    "MaybeJobs",
    "Model",
    "NoInput",
    "Profile",
    "Provider",
    "Rows",
    "Yes",
    "pairs",
    "values",
]

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, nothing else.")
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="A profile of ftsdk.toml.",
        autocompletion=completion.profiles,
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Where to train.", autocompletion=completion.providers),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="The base model: a short name, a hub id, a folder, or the provider's own name.",
        autocompletion=completion.models,
    ),
]
Rows = Annotated[Path, typer.Argument(metavar="DATA", help="The rows: .jsonl, .json, .csv, …")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Start without asking.")]
NoInput = Annotated[
    bool, typer.Option("--no-input", help="Refuse (exit code 7) instead of asking.")
]
_JOB_HELP = "A job: its id, the beginning of it, the provider's id, or its name."
Job = Annotated[str, typer.Argument(metavar="JOB", help=_JOB_HELP, autocompletion=completion.jobs)]
MaybeJob = Annotated[
    str | None,
    typer.Argument(
        metavar="JOB", help=f"{_JOB_HELP} The newest if left out.", autocompletion=completion.jobs
    ),
]
MaybeJobs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="Jobs, by id or name. All that have not ended if left out.",
        autocompletion=completion.jobs,
    ),
]


def pairs(given: Iterable[str] | None, option: str) -> dict[str, str]:
    """`["a=1", "b=x"]` as a dict of words. Raises `UsageError` for anything else."""
    found: dict[str, str] = {}
    for item in given or ():
        name, mark, value = item.partition("=")
        if not mark or not name.strip():
            raise UsageError(
                f"{option} {item!r} is not NAME=VALUE",
                where="the command line",
                hint=f"for instance {option} team=cx",
            )
        if name.strip() in found:
            raise UsageError(
                f"{option} {name.strip()} is given twice",
                where="the command line",
                hint="give it once",
            )
        found[name.strip()] = value
    return found


def values(given: Iterable[str] | None, option: str = "--set") -> dict[str, Any]:
    """Like `pairs`, each value read as JSON where it is JSON: `3`, `true`, `[1, 2]`, else a word."""
    return {name: _value(word) for name, word in pairs(given, option).items()}


def _value(word: str) -> Any:
    try:
        return json.loads(word, parse_constant=lambda name: name)
    except ValueError:
        return word
