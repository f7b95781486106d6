"""`validate`: every fault of the data on one screen, before anything is sent anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk.cli.options import Json, Model, Profile, Provider, Rows
from ftsdk.cli.output import busy, emit, say
from ftsdk.cli.words import clean, clean_line
from ftsdk.errors import UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.dataset import DatasetReport

__all__ = ["show_findings", "validate"]

_FAULTY = 3


def validate(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    method: Annotated[
        str | None, typer.Option(metavar="sft|dpo", help="What the rows are for.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="DATA", help="Held-out rows, checked as well.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Notices fail it too: repeats, secrets, odd rows.")
    ] = False,
    mended: Annotated[
        Path | None,
        typer.Option("--fix", metavar="FILE", help="Also write a mended copy, losing nothing."),
    ] = None,
    row_format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="The rows' format, where the guess is wrong."
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Name the rows that are longer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every row and list all faults with their lines. Exit code 3 when there is one."""
    from ftsdk.backends.registry import load_backend
    from ftsdk.cli.data import model_folder
    from ftsdk.cli.session import open_client

    if method not in (None, "sft", "dpo"):
        raise UsageError(f"No method is called {method!r}", where="--method", mend="sft or dpo")
    client = open_client(profile)
    if provider is not None:
        load_backend(provider)  # a wrong name is told here, not silently taken for another target
    with busy(f"checking {dataset.name}", quiet=as_json):
        report = client.validate(
            dataset,
            provider=provider,
            model=model,
            method=method,  # type: ignore[arg-type]  # checked above
            validation=validation,
            tokenizer=model_folder(client, _setting(client, "model", model)),
            format=row_format,
            max_length=max_length,
        )
    if mended is not None:
        _mend(dataset, mended, quiet=as_json)
    if as_json:
        emit(report.to_dict())
    else:
        show_findings(report)
        if not report.ok or report.notices:
            say((f"details: ftsdk validate {clean(dataset)} --json", "dim"))
    if not report.ok or (strict and report.notices):
        raise typer.Exit(_FAULTY)


def _setting(client: Client, name: str, argument: str | None) -> str | None:
    found = client.config.setting(name, argument)
    return None if found is None else str(found.value)


def _mend(dataset: Path, mended: Path, *, quiet: bool) -> None:
    from ftsdk.dataset import fix

    report = fix(dataset, mended)
    if not quiet:
        for line in str(report).split("\n"):
            say(clean_line(line))


def show_findings(report: DatasetReport, *, stderr: bool = False) -> None:
    """The report's own lines, each kind of finding in its colour."""
    head, *rest = str(report).split("\n")
    say((clean_line(head), "bold"), stderr=stderr)
    for line in rest:
        body = line.rstrip()
        mark = body.lstrip()[:1]
        style = {"✗": "red", "!": "yellow", "·": "dim"}.get(mark)
        if style is None:
            say(clean_line(body), stderr=stderr)
            continue
        before, _, after = body.partition(mark)
        say(before, (mark, style), clean_line(after), stderr=stderr)
