"""The embedding of a model on this machine, read row by row: which tokens were never trained.

Only the headers of the safetensors files and the rows that are asked for are read.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

_NAMES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
_BYTES = {"BF16": 2, "F16": 2, "F32": 4}
_FORMAT = {"BF16": "H", "F16": "e", "F32": "f"}
_TINY = 1e-16
"""No weight of a row that was trained is this small."""
_MOST_HEADER = 100 << 20


class _Table(NamedTuple):
    path: Path
    start: int
    dtype: str
    rows: int
    width: int


def untrained_tokens(folder: Path, ids: Iterable[int]) -> list[int]:
    """The tokens of `ids` whose rows are zero, or the same as another's; in order.

    Empty where the weights are not here as safetensors, or are of a type that is not read.
    """
    table = _embedding(folder)
    if table is None:
        return []
    with table.path.open("rb") as handle:
        rows = {i: _row(handle, table, i) for i in sorted(set(ids)) if 0 <= i < table.rows}
    same = Counter(rows.values())
    return [i for i, raw in rows.items() if same[raw] > 1 or _is_zero(raw, table.dtype)]


def _row(handle: Any, table: _Table, index: int) -> bytes:
    size = table.width * _BYTES[table.dtype]
    handle.seek(table.start + index * size)
    raw: bytes = handle.read(size)
    return raw


def _is_zero(raw: bytes, dtype: str) -> bool:
    numbers = struct.unpack(f"<{len(raw) // _BYTES[dtype]}{_FORMAT[dtype]}", raw)
    if dtype == "BF16":  # the upper half of a 32-bit number; struct has no such type
        numbers = struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}I", *(n << 16 for n in numbers)))  # fmt: skip
    return all(abs(number) <= _TINY for number in numbers)


def _embedding(folder: Path) -> _Table | None:
    """The embedding of the tokens; None where it is not found."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as handle:
            (size,) = struct.unpack("<Q", handle.read(8).ljust(8, b"\0"))
            if size > _MOST_HEADER:
                return None
            header: dict[str, Any] = json.loads(handle.read(size) or b"{}")
        for name, entry in header.items():
            if name.endswith(_NAMES) and entry["dtype"] in _BYTES and len(entry["shape"]) == 2:
                return _Table(path, 8 + size + entry["data_offsets"][0], entry["dtype"], *entry["shape"])  # fmt: skip
    return None
