"""`inspect`: rows as the model sees them, on the terminal or as an HTML page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.options import (
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
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import busy, columns, emit, note, say
from ftsdk.dataset import Fault, InspectionReport
from ftsdk.dataset.inspection.rows import InspectedRow
from ftsdk.errors import UsageError
from ftsdk.util.files import atomic_write_bytes
from ftsdk.util.names import plural

_PAGE = 10_000
"""Rows in the HTML page, and rows that a comparison of two models reads."""


def inspect(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with what this model sees.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an HTML page with a histogram and all rows."),
    ] = None,
    line: Annotated[
        int | None, typer.Option(metavar="N", help="Show the row at this line.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(metavar="N", help="Rows to show; 3 by default, 10,000 with --html."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Mark rows that are longer.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Show token ids.")] = False,
    row_format: RowFormat = None,
    columns: RowMap = None,
    drop: RowDrop = None,
    as_json: Json = False,
) -> None:
    """Show rows as the model sees them: text, tokens, loss mask."""
    client = open_client(profile)
    base = client.config.setting("model", model)
    name = None if base is None else str(base.value)
    shown = rows if rows is not None else _PAGE if html is not None else 3
    kept = shown if against is None else max(shown, _PAGE)

    def inspection(wanted: str | None) -> InspectionReport:
        with busy(f"inspecting {dataset.name}", quiet=as_json):
            return client.inspect(
                dataset, model=wanted, provider=provider, format=row_format, map=row_map(columns),
                drop=drop, max_length=max_length, rows=kept, line=line,
            )  # fmt: skip

    seen = inspection(name)
    other = None if against is None else inspection(against)
    difference = None if other is None else seen.diff(other)
    seen = replace(seen, shown=_first(seen.shown, shown), findings=_at(line, seen.findings))
    if line is not None and seen.visible and not (seen.shown or seen.findings):
        raise UsageError(
            f"there is no row at line {line}",
            where=dataset.name,
            hint=f"the last row is at line {seen.last_line:,}",
        )
    if html is not None:
        atomic_write_bytes(html, seen.to_html().encode("utf-8", "surrogatepass"))
    if as_json:
        emit(seen.to_dict() | ({} if difference is None else {"against": difference.to_dict()}))
        return
    _print_report(seen, difference, html, ids=ids, with_rows=html is None or line is not None)


def _print_report(
    seen: InspectionReport,
    difference: object | None,
    html: Path | None,
    *,
    ids: bool,
    with_rows: bool,
) -> None:
    _show(seen, ids=ids, with_rows=with_rows)
    if difference is not None:
        for text in str(difference).split("\n"):
            say(clean(text))
    shown = _rows_of(seen.shown)
    if html is not None:
        say("Wrote ", (clean(html), "bold"), f": {shown:,} rows; open it in a browser")
    elif seen.visible and seen.summary is not None and seen.summary.rows > shown:
        more = seen.summary.rows - shown
        note((f"{more:,} more rows: --line N, --rows N, or --html FILE", "dim"))


def _first(shown: Sequence[InspectedRow], rows: int) -> tuple[InspectedRow, ...]:
    """Return the sequences of the first `rows` rows."""
    lines = set(list(dict.fromkeys(row.line for row in shown))[:rows])
    return tuple(row for row in shown if row.line in lines)


def _at(line: int | None, findings: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Return the findings of the row at `line`; all findings without a line."""
    return findings if line is None else tuple(f for f in findings if f.line == line)


def _rows_of(shown: Sequence[InspectedRow]) -> int:
    """Return how many rows the shown sequences come from."""
    return len({row.line for row in shown})


def _show(seen: InspectionReport, *, ids: bool, with_rows: bool) -> None:
    say((clean(seen.headline()), "bold"))
    if not seen.visible:
        say(
            ("  not visible", "yellow"),
            ": the tokens this model is trained on",
        )
        for fact in seen.known:
            say(f"  · {clean(fact)}")
        return
    bars = seen.histogram(12)
    most = max((b[2] for b in bars), default=1) or 1
    columns(
        [[f"{low:,}–{high - 1:,}", ("█" * max(count > 0, round(30 * count / most)), "cyan"), f"{count:,}"]
         for low, high, count, _ in bars if count],
        right=(0,),
    )  # fmt: skip
    if seen.refused:
        say(("  ✗ ", "red"), f"{plural(seen.refused, 'row')} cannot be trained on this model")
    for finding in seen.findings[:10]:
        say(
            ("  ! ", "yellow") if finding.severity == "notice" else ("  ✗ ", "red"),
            clean(str(finding)),
            (f"   {clean(finding.hint)}" if finding.hint else "", "dim"),
        )
    for row in seen.shown if with_rows else ():
        say()
        say((row.title(), "bold"), f"   {row.tokens:,} tokens, {row.trained:,} trained")
        say(*_coloured(row, ids=ids))


def _coloured(row: InspectedRow, *, ids: bool) -> list[Any]:
    """Return trained tokens in green and context dimmed; without colour, trained text in ⟦ ⟧."""
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if not ids and not colours:
        return [_printable(row.marked())]
    cells: list[Any] = []
    on = False
    for piece in row.pieces:
        if not colours and piece.trained is not on:
            cells.append("⟦" if piece.trained else "⟧")
            on = piece.trained
        style = "black on green" if piece.trained else "dim"
        if piece.special:
            style += " bold" if piece.trained else ""
        cells.append((_printable(piece.text), style))
        if ids:
            cells.append(("·" + "+".join(map(str, piece.ids)) + " ", "blue"))
    return [*cells, "⟧"] if on else cells


def _printable(text: str) -> str:
    """Return a row's text without control characters; line feeds and tabs remain."""
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in text)
