"""`convert`, `split`, `fix`: commands that write new dataset files."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.context import open_client
from ftsdk.cli.local_models import model_folder
from ftsdk.cli.options import Json, RowDrop, RowFormat, RowMap, Rows, row_map
from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import busy, command, emit, note, say
from ftsdk.dataset import Dataset
from ftsdk.dataset import convert as convert_rows
from ftsdk.dataset import fix as fix_rows
from ftsdk.errors import UsageError

Out = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
OutOrPipe = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE|-", help="The file to write; - prints the rows."),
]


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
    row_format: RowFormat = None,
    columns: RowMap = None,
    drop: RowDrop = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="For tokenized: the model whose tokens to write; it must be on this machine.",
        ),
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="For tokenized: refuse longer rows.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in another format.

    Fields that the format does not have are an error; nothing is dropped.
    """
    tokenizer = None if model is None else model_folder(open_client(None), model) or model
    printed = str(output) == "-"
    if printed and as_json:
        raise UsageError(
            "--json and -o - both use standard output", where="convert", hint="-o FILE"
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows" if printed else output
        with busy(f"converting {dataset.name}", quiet=as_json):
            rows = convert_rows(
                dataset, to, target, format=row_format, map=row_map(columns), drop=drop,
                tokenizer=tokenizer, max_length=max_length,
            )  # fmt: skip
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
        float, typer.Option(metavar="0.1", help="The fraction for validation.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Random seed of the split.")] = 0,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Keep rows with the same value together: a key of the file, such as metadata.customer.",
        ),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Hold out the same fraction of each value: a key of the file, or messages.-1.content.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The output folder; the dataset's own by default.",
        ),
    ] = None,
    row_format: RowFormat = None,
    columns: RowMap = None,
    drop: RowDrop = None,
    as_json: Json = False,
) -> None:
    """Split a dataset into training and validation files.

    Rows with the same prompt stay together, and a row keeps its side when the dataset grows.
    """
    with busy(f"splitting {dataset.name}", quiet=as_json):
        whole = Dataset.load(dataset, format=row_format, map=row_map(columns), drop=drop)
        parts = whole.split(fraction, seed=seed, group_by=group_by, stratify=stratify)
        place = folder or (dataset.parent if dataset.is_file() else Path())
        place.mkdir(parents=True, exist_ok=True)
        stem = re.split(r"[.?]", dataset.name)[0]
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
        bool, typer.Option("--drop-duplicates", help="Leave out duplicate rows.")
    ] = False,
    columns: RowMap = None,
    drop: RowDrop = None,
    as_json: Json = False,
) -> None:
    """Write a corrected copy of a dataset.

    The copy is JSON lines, with the columns' standard names. Only corrections that lose nothing are
    made, and each is listed; --map and --drop say which columns are which.
    """
    with busy(f"fixing {dataset.name}", quiet=as_json):
        report = fix_rows(
            dataset, output, map=row_map(columns), drop=drop, drop_duplicates=drop_duplicates
        )
    if as_json:
        emit(report.to_dict())
        return
    for line in str(report).split("\n"):
        say(clean(line) if not line.startswith("  ") else "  " + clean(line))
    if report.counts or report.also:
        note(("what is left: ", "dim"), command(f"ftsdk validate {clean(output)}"))
    else:
        note(("nothing was found that a program can correct; what a person has to: ", "dim"),
             command(f"ftsdk validate {clean(output)}"))  # fmt: skip
