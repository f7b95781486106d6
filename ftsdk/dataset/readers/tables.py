"""CSV and Parquet as JSON records: a column is a key, and CSV cells with JSON are parsed."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

import orjson

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.readers.lines import Record, Stop
from ftsdk.dataset.readers.row_buffer import encode, without_nulls
from ftsdk.errors import MissingExtra

JSON_COLUMNS = frozenset(
    (
        "messages", "conversations", "contents", "tools", "preferred_output",
        "non_preferred_output", "systemInstruction", "parallel_tool_calls", "metadata",
    )
)  # fmt: skip
"""Columns whose cells are JSON; in all others a cell is text."""

TEXT_OR_JSON = {"input": '"messages"', "prompt": '"role"', "chosen": '"role"', "rejected": '"role"',
           "system": '"text"'}  # fmt: skip
"""Columns of text or JSON, with a string that JSON has there; a text, too, may be `[3, 1, 2]`."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_csv(handle: BinaryIO, *, max_row_bytes: int) -> Iterator[Record | Fault]:
    """Rows of a CSV (or TSV) file with a header; `line` is the row's number, header not counted."""
    text = io.TextIOWrapper(
        io.BufferedReader(cast("io.RawIOBase", handle)), encoding="utf-8-sig", newline=""
    )
    # The limit is the csv module's own and global; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), max_row_bytes))
    try:
        lines = iter(text.readline, "")
        first = next(lines, "")
        reader = csv.reader(
            itertools.chain([first], lines), delimiter=_delimiter(first), strict=True
        )
        header = next(reader, None)
        # A first name may be empty: pandas writes the index of a frame like that.
        if (
            not header
            or any(not name.strip() for name in (header[1:] or header))
            or len(set(header)) != len(header)
        ):
            raise _stop(
                1,
                "the header has empty or repeated names" if header else "there is no header",
            )
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            if len(cells) != len(header):
                yield _fault(number, f"{len(cells)} cells where the header has {len(header)}")
                continue
            risky = next(
                (n for n, c in zip(header, cells, strict=True) if c.startswith(_FORMULA)),
                None,
            )
            if risky is not None:
                yield _formula(number, risky, cells[header.index(risky)])
            yield _record(number, dict(zip(header, cells, strict=True)), max_row_bytes)
    except csv.Error as error:
        yield _fault(0, f"not a table: {error}")
    except UnicodeDecodeError as error:
        yield Fault(
            "FT011",
            "fault",
            0,
            f"not UTF-8: byte 0x{error.object[error.start]:02x}",
            "save the file as UTF-8; spreadsheets call it CSV UTF-8",
        )
    finally:
        text.detach().detach()  # the caller closes the raw file


_QUOTED = re.compile(r'"[^"]*"')


def _delimiter(header: str) -> str:
    """The delimiter of a table by its header: a comma, tab, semicolon or bar, whichever is most frequent."""
    names = _QUOTED.sub("", header)
    return max((",", "\t", ";", "|"), key=names.count)


def _record(number: int, cells: dict[str, str], limit: int) -> Record | Fault:
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        if "\x00" in cell:
            return Fault("FT016", "fault", number, "a NUL byte", "remove it; text has none", field=name)  # fmt: skip
        if _holds_json(name, cell):
            value = strict_json.parse(cell.encode())
            if isinstance(value, strict_json.Flaw):
                message = f"the cell {name}: {value.message}"
                return Fault(value.code, "fault", number, message, value.hint, field=name)
            row[name] = value
        elif name == "parallel_tool_calls" and cell.lower() in ("true", "false"):
            row[name] = cell.lower() == "true"
        elif cell or not (name in JSON_COLUMNS or name in TEXT_OR_JSON):
            row[name] = cell
    raw = orjson.dumps(row)
    if len(raw) > limit:
        return Fault(
            "FT009",
            "fault",
            number,
            f"the row is longer than {limit >> 20} MiB",
            "split it, or pass max_row_bytes=",
        )
    return (number, None, raw)


def _holds_json(name: str, cell: str) -> bool:
    if cell.lstrip()[:1] not in ("[", "{"):
        return False
    return name in JSON_COLUMNS or (name in TEXT_OR_JSON and TEXT_OR_JSON[name] in cell)


def _formula(number: int, column: str, cell: str) -> Fault:
    return Fault(
        "FT312",
        "notice",
        number,
        "a cell starts like a spreadsheet formula",
        "spreadsheets run it when they open the file; it is plain text here",
        field=column,
        value=cell[:40].encode("unicode_escape").decode(),
    )


def read_parquet(
    handle: BinaryIO, *, on_bytes: Callable[[int], None] | None = None
) -> Iterator[Record | Fault]:
    """Rows of a Parquet file, batch by batch; null columns are left out.

    `on_bytes` is called with shares of the file's size, as columns are stored apart from each other.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(
            "Reading .parquet files needs the package pyarrow.",
            hint="pip install 'ftsdk[data]', or convert the file to JSON lines",
        ) from error
    try:
        number = reported = 0
        file, size = pq.ParquetFile(handle), os.fstat(handle.fileno()).st_size
        for batch in file.iter_batches(batch_size=512):
            for row in batch.to_pylist():
                number += 1
                raw = encode(without_nulls(row), number)
                yield raw if isinstance(raw, Fault) else (number, None, raw)
            if on_bytes is not None:
                now = size * number // file.metadata.num_rows
                on_bytes(now - reported)
                reported = now
    except (pa.ArrowException, OSError) as error:
        yield _fault(0, f"not a sound Parquet file: {str(error)[:80]}")


def _fault(number: int, message: str) -> Fault:
    return Fault("FT025", "fault", number, message, "check quotes, commas and columns")


def _stop(number: int, message: str) -> Stop:
    return Stop(_fault(number, message))
