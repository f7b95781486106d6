"""The rows of a run as token ids and loss masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_rows


def fast_tokenizer_folder(base_model: Path, converted: Path) -> Path:
    """The base model's folder, or `converted`, to which its slow tokenizer is written as a fast one."""
    if (base_model / "tokenizer.json").is_file():
        return base_model
    if not (converted / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            base_model, trust_remote_code=False, local_files_only=True
        )
        tokenizer.save_pretrained(converted)
    return converted


def load_rows(
    path: Path, tokenizer: ChatTokenizer, *, max_length: int, truncate: bool
) -> list[Rendered]:
    """Tokenize all rows of a JSON-lines file.

    Raises `Failed`, which names every row that cannot be trained on: rows longer than `max_length`
    tokens (unless `truncate` cuts them), rows without a trained token, and a file without rows.
    """
    rows, faults = render_rows(
        _read_rows(path), tokenizer, max_length=max_length, truncate=truncate
    )
    if faults:
        raise _bad_rows(path.name, faults)
    if not rows:
        raise Failed(f"{path.name} has no rows.", "nothing_to_learn", "give at least one chat row")
    return rows


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file of the run directory; only a line feed ends a record."""
    with path.open("rb") as handle:
        for line in handle:
            yield json.loads(line)


def _bad_rows(name: str, faults: Sequence[RowFault]) -> Failed:
    """One failure for all rows that cannot be trained on."""
    first = faults[0]
    others = f" ({len(faults)} such rows)" if len(faults) > 1 else ""
    numbers = ", ".join(str(f.row) for f in faults[:10]) + (", …" if len(faults) > 10 else "")
    hint = f"correct rows {numbers} of {name}"
    if all(fault.code == "too_long" for fault in faults):
        longest = max(fault.tokens or 0 for fault in faults)
        hint = (
            f"raise max_length to {longest}, shorten or drop rows {numbers}, "
            "or set the option truncate to cut their ends off"
        )
    learns_nothing = all(f.code in ("no_assistant", "nothing_trained") for f in faults)
    listed = [{"row": f.row, "code": f.code, "message": f.message} for f in faults]
    kind = "nothing_to_learn" if learns_nothing else first.code
    return Failed(f"{name}, {first}{others}.", kind, hint, faults=listed)
