"""Rows kept as JSON lines in memory, or in a temporary file when they are many."""

from __future__ import annotations

import io
import math
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import orjson

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers.lines import Record, Stop
from ftsdk.dataset.readers.strict_json import MAX_DEPTH
from ftsdk.util.cancellation import until_cancelled

_IN_MEMORY = 32 << 20


class RowBuffer:
    """Serialized rows that can be read many times; a row that is not JSON is kept as its fault.

    The rows are copied, so a list that changes later changes nothing here.
    """

    def __init__(self) -> None:
        self._file: BinaryIO = io.BytesIO()
        self._on_disk = False
        self._faults: dict[int, Fault] = {}
        self.rows = 0
        self.size_bytes = 0

    @classmethod
    def of(cls, rows: Any) -> RowBuffer:
        """A buffer of a list, an iterable, a pandas or polars frame, or a Hugging Face dataset."""
        buffer = cls()
        for row in until_cancelled(iterate(rows)):
            buffer.add(row)
        return buffer

    def add(self, row: Any) -> None:
        """Append one row."""
        self.rows += 1
        raw = encode(row, self.rows)
        if isinstance(raw, Fault):
            self._faults[self.rows] = raw
            raw = b""
        self._file.write(raw)
        self._file.write(b"\n")
        self.size_bytes += len(raw) + 1
        if not self._on_disk and self.size_bytes > _IN_MEMORY:
            self._to_disk()

    def _to_disk(self) -> None:
        """Move the rows to a temporary file without a name, which is gone when the buffer is."""
        disk = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the finalizer
        weakref.finalize(self, disk.close)
        disk.write(cast("io.BytesIO", self._file).getbuffer())
        self._file = cast("BinaryIO", disk)
        self._on_disk = True

    def records(self) -> Iterator[Record | Fault]:
        """Every row in order: 1-based number, no byte offset, its JSON."""
        position = 0
        for number in range(1, self.rows + 1):
            # Two readers may interleave; each knows its own place.
            self._file.seek(position)
            raw = self._file.readline()
            position += len(raw)
            fault = self._faults.get(number)
            yield fault if fault is not None else (number, None, raw[:-1])


def iterate(rows: Any) -> Iterator[Any]:
    """The rows of any container of rows; raises `Stop` when there are none to read.

    A table has every column in every row: a cell that is missing is left out, as in Parquet.
    """
    if hasattr(rows, "to_dicts") and hasattr(rows, "iter_rows"):  # polars
        yield from map(without_nulls, rows.iter_rows(named=True))
    elif hasattr(rows, "itertuples") and hasattr(rows, "to_dict"):  # pandas
        names = [str(c) for c in rows.columns]
        for values in rows.itertuples(index=False, name=None):
            cells = zip(names, values, strict=True)
            row = {name: _plain(cell) for name, cell in cells if not _is_missing(cell)}
            yield _whole_weights(without_nulls(row))
    elif hasattr(rows, "column_names") and hasattr(rows, "features"):  # Hugging Face
        plain = (
            rows.with_format(None) if hasattr(rows, "with_format") else rows
        )  # no arrays, no frames
        yield from map(without_nulls, plain)
    elif hasattr(rows, "to_batches") and hasattr(rows, "column_names"):  # a table of pyarrow
        for batch in rows.to_batches():
            yield from map(without_nulls, batch.to_pylist())
    elif hasattr(rows, "collect") and hasattr(rows, "lazy"):  # polars, before it has run
        raise Stop(_no_rows("a lazy frame has no rows yet", "pass frame.collect()"))
    elif isinstance(rows, Mapping) and any(hasattr(part, "column_names") for part in rows.values()):
        parts = ", ".join(repr(name) for name in rows)
        raise Stop(_no_rows(f"several datasets: {parts}", "pass one of them: data['train']"))
    elif isinstance(rows, Mapping):
        raise Stop(_no_rows("one dict is one row, not a dataset", "put it in a list: [row]"))
    elif isinstance(rows, (bytes, bytearray)):
        raise Stop(_no_rows("bytes are no dataset", "pass a path, or a list of rows"))
    elif isinstance(rows, Iterable):
        yield from rows
    else:
        raise Stop(
            _no_rows(
                f"cannot read rows from {type(rows).__name__}",
                "pass a path, a list of rows, an iterable, a pandas or polars frame, "
                "or a Hugging Face dataset",
            )
        )


def without_nulls(value: Any) -> Any:
    """A value of a table: every struct has all keys of its column, and null is for those it has not.

    Arguments of a tool call keep their nulls: whether the tool declares them is seen later.
    """
    if isinstance(value, dict):
        return {
            k: v if k == "arguments" and isinstance(v, dict) else without_nulls(v)
            for k, v in value.items()
            if v is not None
        }
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


def _whole_weights(row: Any) -> Any:
    """A row whose weights numpy wrote as floats: it does so where other messages have none."""
    turns = row.get("messages") if isinstance(row, dict) else None
    for turn in turns if isinstance(turns, list) else ():
        weight = turn.get("weight") if isinstance(turn, dict) else None
        if type(weight) is float and weight.is_integer():
            turn["weight"] = int(weight)
    return row


def _is_missing(cell: Any) -> bool:
    """Whether a cell of pandas is empty: it writes that as NaN, NA or NaT."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return type(cell).__name__ in ("NAType", "NaTType")


def _no_rows(message: str, hint: str) -> Fault:
    return Fault(code="FT024", severity="fault", line=0, message=message, hint=hint)


def encode(row: Any, number: int) -> bytes | Fault:
    """A Python row as JSON bytes; a fault when it has values that JSON cannot represent."""
    try:
        row = _plain(row)
        raw = orjson.dumps(row)
    except RecursionError:  # deeper than Python goes, or a row that contains itself
        return Fault(
            code="FT015",
            severity="fault",
            line=number,
            message=f"nested deeper than {MAX_DEPTH} levels",
            hint="flatten the row",
        )
    except (TypeError, orjson.JSONEncodeError) as error:
        return Fault(
            code="FT024",
            severity="fault",
            line=number,
            message=f"not JSON data: {str(error)[:80]}",
            hint="use dicts with string keys, lists, strings, numbers, booleans and None",
        )
    if b"null" in raw and _has_nan(row):
        return Fault(
            code="FT013",
            severity="fault",
            line=number,
            message="NaN and Infinity are not JSON",
            hint="use None, or leave the field out",
        )
    return raw


def _plain(value: Any) -> Any:
    """Mappings, arrays and pydantic models as plain dicts and lists; the rest unchanged."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int or kind is float:
        return value
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(exclude_none=True))
    if hasattr(value, "tolist"):  # numpy arrays and scalars, as parquet and pandas give them
        return _plain(value.tolist())
    return value


def _has_nan(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            return True
    return False
