"""Checks of tokenised rows in Parquet files, by the rules that Together documents.

The columns are from together 3.1.1 (`lib/constants.py`). All columns of a row must have the same
length (page on data preparation, read 2026-11-23).
"""

from __future__ import annotations

import io
import json
from typing import Any

from ftsdk.testing.lab.fake_training import rows_of

_COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids")


def rows_of_parquet(content: bytes) -> bytes:
    """Return the rows of a Parquet file as JSON lines; one invalid line when it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowInvalid:
        return b"not Parquet"
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def tokenised_fault(rows: bytes) -> tuple[int, str] | None:
    """Return number and message of the first row that Together would refuse, or None."""
    found = list(rows_of(rows))
    if not found:
        return 0, "it has no examples"
    faults = ((number, _row_fault(row)) for number, row in found)
    return next(((number, fault) for number, fault in faults if fault is not None), None)


def _row_fault(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "not a Parquet file"
    unknown = [name for name in row if name not in _COLUMNS]
    if unknown:
        return f"unexpected column {unknown[0]}"
    missing = [name for name in _COLUMNS[:2] if not row.get(name)]
    if missing:
        return f"missing {missing[0]}"
    lengths = {name: len(values) for name, values in row.items() if values is not None}
    return None if len(set(lengths.values())) == 1 else f"columns of different lengths: {lengths}"
