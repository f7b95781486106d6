"""`validate`: every fault of the data on one screen, before anything is sent anywhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.options import Json, Model, Profile, Provider, Rows
from ftsdk.cli.view.formatting import clean, clean_line
from ftsdk.cli.view.output import busy, console, emit, say
from ftsdk.errors import UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.dataset import DatasetReport

__all__ = ["show_findings", "validate"]

_FAULTY = 3
_LONG_BYTES = 20 << 20
_LONG_PACKED_BYTES = 4 << 20
"""Of a container that is slower to read: compressed, a table, an array."""


def validate(
    dataset: Rows,
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[DATA]...", help="More files, each on its own.")
    ] = None,
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
    near_duplicates: Annotated[
        bool | None,
        typer.Option(
            "--near-duplicates/--no-near-duplicates",
            help="Look for rows that are nearly the same [up to 16 MiB].",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Name the rows that are longer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every row and list all faults with their lines. Exit code 3 when there is one."""
    from ftsdk.backends.registry import load_backend
    from ftsdk.cli.commands.data import model_folder
    from ftsdk.cli.context import open_client

    if method not in (None, "sft", "dpo"):
        raise UsageError(f"No method is called {method!r}", where="--method", hint="sft or dpo")
    client = open_client(profile)
    if provider is not None:
        load_backend(provider)  # a wrong name is told here, not silently taken for another target
    if more and mended is not None:
        raise UsageError("--fix writes one file", where="--fix", hint="mend one file at a time")
    reports = []
    for path in [dataset, *(more or [])]:
        with reading(path, quiet=as_json) as on_bytes:
            report = client.validate(
                path,
                provider=provider,
                model=model,
                method=method,  # type: ignore[arg-type]  # checked above
                validation=validation,
                tokenizer=model_folder(client, _setting(client, "model", model)),
                format=row_format,
                near_duplicates=near_duplicates,
                max_length=max_length,
                on_bytes=on_bytes,
            )
        reports.append(report)
        if not as_json:
            show_findings(report)
            for hint in _hints(report, mended):
                say((hint, "dim"))
    told = None if mended is None else _mend(dataset, mended, quiet=as_json)
    if as_json and more:
        emit({"ok": all(r.ok for r in reports), "reports": [r.to_dict() for r in reports]})
    elif as_json:
        emit(reports[0].to_dict() | ({} if told is None else {"fix": told}))
    if any(not r.ok or (strict and r.notices) for r in reports):
        raise typer.Exit(_FAULTY)


@contextlib.contextmanager
def reading(path: Path, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A bar while a long file is read on a terminal; a spinner for a short one."""
    size = path.stat().st_size if path.is_file() else 0
    long = _LONG_BYTES if path.suffix == ".jsonl" else _LONG_PACKED_BYTES
    if quiet or size < long or not sys.stderr.isatty():
        with busy(f"checking {path.name}", quiet=quiet):
            yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"checking {clean(path.name)}", total=size)
        yield lambda count: bar.advance(task, count)


def _setting(client: Client, name: str, argument: str | None) -> str | None:
    found = client.config.setting(name, argument)
    return None if found is None else str(found.value)


def _hints(report: DatasetReport, mended: Path | None) -> Iterator[str]:
    """Where to read more, and what `--fix` could do."""
    from ftsdk.dataset import RULES

    if report.ok and not report.notices:
        return
    yield "details, and how to mend each: the same command with --json"
    codes = [code for code in report.by_code() if code in RULES and RULES[code].fixable]
    if codes and mended is None:
        yield f"--fix FILE writes a copy with what can be mended of {', '.join(codes)}"


def _mend(dataset: Path, mended: Path, *, quiet: bool) -> dict[str, Any]:
    from ftsdk.dataset import fix

    report = fix(dataset, mended)
    if not quiet:
        for line in str(report).split("\n"):
            say(clean_line(line))
    return report.to_dict()


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
