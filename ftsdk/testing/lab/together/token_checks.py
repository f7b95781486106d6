"""Tokenised rows at the Together double: read from Parquet, and held against what Together's page says.

The columns are those of together 3.1.1 (`lib/constants.py`); that each row has as many numbers in
every column as it has tokens is what the page on data preparation asks (read 2026-11-23).
"""

from __future__ import annotations

import io
import json
from typing import Any

from ftsdk.testing.lab.fake_training import rows_of

__all__ = ["rows_of_parquet", "tokenised_fault"]

_COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids")


def rows_of_parquet(content: bytes) -> bytes:
    """The rows of a Parquet file as JSON lines; one line that is no row when it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowInvalid:
        return b"no Parquet"
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def tokenised_fault(rows: bytes) -> tuple[int, str] | None:
    """The first thing that Together would refuse, as row and words; None when the rows are fine."""
    found = list(rows_of(rows))
    faults = ((number, _row_fault(row)) for number, row in found)
    told = next(((number, fault) for number, fault in faults if fault is not None), None)
    return (0, "it has no examples") if not found else told


def _row_fault(row: Any) -> str | None:
    if not isinstance(row, dict):
        return "not a Parquet file"
    odd = [name for name in row if name not in _COLUMNS]
    if odd:
        return f"unexpected column {odd[0]}"
    missing = [name for name in _COLUMNS[:2] if not row.get(name)]
    if missing:
        return f"missing {missing[0]}"
    lengths = {name: len(values) for name, values in row.items() if values is not None}
    return None if len(set(lengths.values())) == 1 else f"columns of other lengths: {lengths}"
