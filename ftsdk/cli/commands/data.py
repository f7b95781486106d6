"""`inspect`, `convert`, `split`, `fix`: a look at the rows as the model sees them, and new files."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.options import Json, Model, Profile, Provider, Rows
from ftsdk.cli.view.formatting import clean, many
from ftsdk.cli.view.output import busy, columns, emit, note, say
from ftsdk.errors import UsageError

if TYPE_CHECKING:
    from ftsdk.client import Client
    from ftsdk.dataset import Xray
    from ftsdk.dataset.findings.report import Fault
    from ftsdk.dataset.inspection.report import XrayRow

__all__ = ["convert", "fix", "inspect", "model_folder", "split"]

_PAGE = 10_000
"""Rows in the page, and rows that two models are compared by."""

Format = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="The rows' format, where the guess is wrong."),
]
Out = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
OutOrPipe = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE|-", help="The file to write; - prints the rows."),
]


def model_folder(client: Client, model: str | None) -> Path | None:
    """The folder of a model that is on this machine; None for any other."""
    from ftsdk.backends.local.models.resolve import is_pulled, resolve_model

    if model is None or not is_pulled(model, home=client.home):
        return None
    return resolve_model(model, home=client.home).path


def inspect(
    dataset: Rows,
    profile: Profile = None,
    provider: Provider = None,
    model: Model = None,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with what this model sees.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page: histogram and all rows.")
    ] = None,
    line: Annotated[
        int | None, typer.Option(metavar="N", help="Show the row at this line.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(metavar="N", help="Rows to show [3], or in the page [10,000].")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="Mark longer rows.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Show token ids.")] = False,
    row_format: Format = None,
    as_json: Json = False,
) -> None:
    """Show the rows as the model sees them: exact text, tokens, and which of them it learns."""
    from ftsdk.cli.context import open_client
    from ftsdk.dataset import inspect as look

    client = open_client(profile)
    chosen, base = (
        client.config.setting("provider", provider),
        client.config.setting("model", model),
    )
    name = None if base is None else str(base.value)
    shown = rows if rows is not None else _PAGE if html is not None else 3
    kept = shown if against is None else max(shown, _PAGE)

    def xray(wanted: str | None) -> Xray:
        with busy(f"looking at {dataset.name}", quiet=as_json):
            return look(
                dataset, model=wanted, tokenizer=model_folder(client, wanted), format=row_format,
                provider=None if chosen is None else str(chosen.value), max_length=max_length,
                rows=kept, line=line,
            )  # fmt: skip

    seen = xray(name)
    other = None if against is None else xray(against)
    told = None if other is None else seen.diff(other)
    seen = replace(seen, shown=_first(seen.shown, shown), findings=_at(line, seen.findings))
    if line is not None and seen.visible and not (seen.shown or seen.findings):
        raise UsageError(
            f"there is no row at line {line}",
            where=dataset.name,
            hint=f"the last row stands at line {seen.last_line:,}",
        )
    if html is not None:
        from ftsdk.util.files import atomic_write_bytes

        atomic_write_bytes(html, seen.to_html().encode("utf-8", "surrogatepass"))
    if as_json:
        emit(seen.to_dict() | ({} if told is None else {"against": told.to_dict()}))
        return
    _show(seen, ids=ids, with_rows=html is None or line is not None)
    if told is not None:
        for said in str(told).split("\n"):
            say(clean(said))
    if html is not None:
        say(
            ("Wrote ", ""),
            (clean(html), "bold"),
            f": {_rows_of(seen.shown):,} rows; open it in a browser",
        )
    elif (
        seen.visible
        and seen.summary is not None
        and (more := seen.summary.rows - _rows_of(seen.shown)) > 0
    ):
        note((f"{more:,} more rows: --line N, --rows N, or --html FILE", "dim"))


def _first(shown: Sequence[XrayRow], rows: int) -> tuple[XrayRow, ...]:
    """The sequences of the first rows."""
    lines = set(list(dict.fromkeys(row.line for row in shown))[:rows])
    return tuple(row for row in shown if row.line in lines)


def _at(line: int | None, findings: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """The findings of the row that was asked for; all of them where none was."""
    return findings if line is None else tuple(f for f in findings if f.line == line)


def _rows_of(shown: Sequence[XrayRow]) -> int:
    """How many rows the shown sequences are of."""
    return len({row.line for row in shown})


def _show(seen: Xray, *, ids: bool, with_rows: bool) -> None:
    say((clean(seen.headline()), "bold"))
    if not seen.visible:
        say(
            ("  not visible", "yellow"),
            ": what this model is shown, token by token",
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
        say(("  ✗ ", "red"), f"{many(seen.refused, 'row')} cannot be trained on this model")
    for finding in seen.findings[:10]:
        say(
            ("  ! ", "yellow") if finding.severity == "notice" else ("  ✗ ", "red"),
            clean(str(finding)),
            (f"   {clean(finding.hint)}" if finding.hint else "", "dim"),
        )
    for row in seen.shown if with_rows else ():
        say()
        say((row.title(), "bold"), f"   {row.tokens:,} tokens, {row.trained:,} learned")
        say(*_coloured(row, ids=ids))


def _coloured(row: XrayRow, *, ids: bool) -> list[Any]:
    """Learned tokens in green on their own; context dim; without colour the marks ⟦ ⟧ tell."""
    import os
    import sys

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
    """A row's text without what could steer a terminal; line feeds and tabs stay."""
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in text)


def convert(
    dataset: Rows,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT|PROVIDER",
            help="chat, gemini, converse, sharegpt, …; a provider; or tokenized (Parquet).",
        ),
    ],
    output: OutOrPipe,
    row_format: Format = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FOLDER", help="For tokenized: whose tokens; it must be here."),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="For tokenized: refuse longer rows.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the rows in another format; what it cannot carry is named, never dropped."""
    from ftsdk.cli.context import open_client
    from ftsdk.dataset import convert as write

    tokenizer = None if model is None else model_folder(open_client(None), model) or model
    printed = str(output) == "-"
    if printed and as_json:
        raise UsageError(
            "--json and -o - both want standard output", where="convert", hint="-o FILE"
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows" if printed else output
        with busy(f"converting {dataset.name}", quiet=as_json):
            rows = write(
                dataset, to, target, format=row_format, tokenizer=tokenizer, max_length=max_length
            )
        if printed:
            with target.open("rb") as written:
                shutil.copyfileobj(written, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            note(f"{rows:,} rows as {clean(to)}")
            return
    if as_json:
        emit({"rows": rows, "to": to, "path": str(output)})
    else:
        say("Wrote ", (clean(output), "bold"), f": {rows:,} rows as {clean(to)}")


def split(
    dataset: Rows,
    fraction: Annotated[
        float, typer.Option(metavar="0.1", help="The share that goes to validation.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    group_by: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Keep rows of one value together: metadata.customer"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Where to write; beside the data if left out."
        ),
    ] = None,
    row_format: Format = None,
    as_json: Json = False,
) -> None:
    """Split into training and validation files, by content: a row keeps its side as data grows."""
    from ftsdk.dataset import Dataset

    with busy(f"splitting {dataset.name}", quiet=as_json):
        parts = Dataset.load(dataset, format=row_format).split(
            fraction, seed=seed, group_by=group_by
        )
        place = folder or dataset.parent
        place.mkdir(parents=True, exist_ok=True)
        stem = dataset.name.split(".")[0]
        paths = [
            p.write_jsonl(place / f"{stem}.{side}.jsonl")
            for p, side in zip(parts, ("train", "validation"), strict=True)
        ]
        counts = [p.rows for p in parts]
    if as_json:
        emit(
            {
                side: {"path": str(path), "rows": rows}
                for side, path, rows in zip(("train", "validation"), paths, counts, strict=True)
            }
        )
        return
    for path, rows in zip(paths, counts, strict=True):
        say("Wrote ", (clean(path), "bold"), f": {rows:,} rows")


def fix(
    dataset: Rows,
    output: Out,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Leave out rows that stood before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a mended copy (JSON lines) and list what was done; only mends that lose nothing."""
    from ftsdk.dataset import fix as fix_rows

    with busy(f"mending {dataset.name}", quiet=as_json):
        report = fix_rows(dataset, output, drop_duplicates=drop_duplicates)
    if as_json:
        emit(report.to_dict())
        return
    for told in str(report).split("\n"):
        say(clean(told) if not told.startswith("  ") else "  " + clean(told))
