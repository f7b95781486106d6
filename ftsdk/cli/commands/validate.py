"""`validate`: every fault of a dataset, before anything is sent to a provider."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.backends.registry import load_backend
from ftsdk.cli.context import open_client
from ftsdk.cli.local_models import model_folder
from ftsdk.cli.options import (
    AllowFindings,
    Json,
    Model,
    Profile,
    Provider,
    RowDrop,
    RowFormat,
    RowMap,
    Rows,
    row_map,
)
from ftsdk.cli.view.findings import show_findings
from ftsdk.cli.view.formatting import clean, clean_line
from ftsdk.cli.view.output import busy, console, emit, say
from ftsdk.client import Client
from ftsdk.dataset import RULES, DatasetReport, fix
from ftsdk.errors import UsageError
from ftsdk.types.spec import METHODS

_FAULTY = 3
_LONG_BYTES = 20 << 20
_LONG_PACKED_BYTES = 4 << 20
"""For files that are slower to read: compressed ones, tables, JSON arrays."""


def validate(
    dataset: Rows,
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DATA", help="More files, each checked by itself."),
    ] = None,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="|".join(METHODS), help="The training method the rows are for."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option(metavar="DATA", help="Validation rows to check as well.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail on notices as well: duplicates, secrets, outliers."),
    ] = False,
    fixed: Annotated[
        Path | None,
        typer.Option("--fix", metavar="FILE", help="Also write a corrected copy; no row is lost."),
    ] = None,
    row_format: RowFormat = None,
    columns: RowMap = None,
    drop: RowDrop = None,
    allow_findings: AllowFindings = None,
    near_duplicates: Annotated[
        bool | None,
        typer.Option(
            "--near-duplicates/--no-near-duplicates",
            help="Look for nearly identical rows; by default in files up to 16 MiB.",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Report rows that are longer.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a dataset and list every fault with its line.

    Exits with 3 when there is a fault.
    """
    if method not in (None, *METHODS):
        raise UsageError(
            f"No method is called {method!r}", where="--method", hint=f"one of {', '.join(METHODS)}"
        )
    client = open_client(profile)
    if provider is not None:
        load_backend(provider)  # refuses a wrong name, which would otherwise pass as another target
    if more and fixed is not None:
        raise UsageError("--fix writes one file", where="--fix", hint="fix one file at a time")
    reports = []
    for path in [dataset, *(more or [])]:
        with reading(path, quiet=as_json) as on_bytes:
            report = client.validate(
                path,
                provider=provider,
                model=model,
                method=method,
                validation=validation,
                tokenizer=model_folder(client, _setting(client, "model", model)),
                format=row_format,
                map=row_map(columns),
                drop=drop,
                allow_findings=allow_findings or False,
                near_duplicates=near_duplicates,
                max_length=max_length,
                on_bytes=on_bytes,
            )
        reports.append(report)
        if not as_json:
            show_findings(report)
            for hint in _hints(report, fixed):
                say((hint, "dim"))
    fix_report = None
    if fixed is not None:
        fix_report = _fix(dataset, fixed, row_map(columns), drop, quiet=as_json)
    if as_json and more:
        emit({"ok": all(r.ok for r in reports), "reports": [r.to_dict() for r in reports]})
    elif as_json:
        emit(reports[0].to_dict() | ({} if fix_report is None else {"fix": fix_report}))
    if any(not r.ok or (strict and r.notices) for r in reports):
        raise typer.Exit(_FAULTY)


@contextlib.contextmanager
def reading(path: Path, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar for a long file on a terminal, and a spinner for a short one.

    Yields what is to be called with each count of bytes read, or None.
    """
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


def _hints(report: DatasetReport, fixed: Path | None) -> Iterator[str]:
    """Yield where all findings are listed, and what `--fix` could do."""
    if sum(report.counts.values()) > len(report.by_code()):
        yield "every finding with its line and field: the same command with --json"
    codes = [code for code in report.by_code() if code in RULES and RULES[code].fixable]
    if codes and fixed is None:
        yield f"--fix FILE writes a copy that corrects what it can of {', '.join(codes)}"


def _fix(
    dataset: Path, fixed: Path, names: dict[str, str] | None, drop: list[str] | None, *, quiet: bool
) -> dict[str, Any]:
    report = fix(dataset, fixed, map=names, drop=drop)
    if not quiet:
        for line in str(report).split("\n"):
            say(clean_line(line))
    return report.to_dict()
