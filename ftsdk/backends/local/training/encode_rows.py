"""The rows of a run as token ids and loss masks."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ftsdk.backends.local.training.outcome import Failed
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_rows, render_sequences

E = TypeVar("E")


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
        raise _no_rows(path.name, "chat")
    return rows


def encode_each(
    path: Path, encode: Callable[[Mapping[str, Any], int], list[E]], *, kind: str
) -> list[E]:
    """The examples of all rows of a JSON-lines file; `encode` gets a row and its number, from 1.

    Raises `Failed`, which names every row for which `encode` raises `RowFault`; `kind` names rows of
    the format for a file without any.
    """
    done: list[E] = []
    faults: list[RowFault] = []
    for number, row in enumerate(_read_rows(path), start=1):
        try:
            done.extend(encode(row, number))
        except RowFault as fault:
            faults.append(fault)
    if faults:
        raise _bad_rows(path.name, faults)
    if not done:
        raise _no_rows(path.name, kind)
    return done


def is_text(path: Path) -> bool:
    """Whether the first row of a JSON-lines file is plain text."""
    first = next(_read_rows(path), {})
    return "text" in first and "messages" not in first


def load_text(
    path: Path, tokenizer: ChatTokenizer, *, max_length: int, packing: bool
) -> list[Rendered]:
    """Tokenize all documents of a JSON-lines file, in pieces of at most `max_length` tokens.

    A piece begins with a document, or, with `packing`, wherever the one before is full: then all
    but the last are full. Raises `Failed` as `load_rows` does.
    """

    def whole(row: Mapping[str, Any], number: int) -> list[Rendered]:
        [(_, document)] = render_sequences({"text": row.get("text")}, tokenizer, number=number)
        return [document]

    documents = encode_each(path, whole, kind="text")
    if packing:
        joined = array("i")
        for document in documents:
            joined.extend(document.ids)
        documents = [Rendered(joined, b"\x01" * len(joined))]
    rows = [piece for document in documents for piece in _pieces(document, max_length)]
    if not rows:
        raise Failed(f"{path.name} has no text of two tokens.", "nothing_to_learn", "give text")
    return rows


def _pieces(document: Rendered, max_length: int) -> Iterator[Rendered]:
    """The document in pieces of at most `max_length` tokens.

    The first token of a piece is not predicted, so it is the last one of the piece before: every
    token but the first of the document is predicted once.
    """
    for start in range(0, len(document) - 1, max_length - 1):
        ids = document.ids[start : start + max_length]
        yield Rendered(ids, b"\x01" * len(ids))


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file of the run directory; only a line feed ends a record."""
    with path.open("rb") as handle:
        for line in handle:
            yield json.loads(line)


def _no_rows(name: str, kind: str) -> Failed:
    return Failed(f"{name} has no rows.", "nothing_to_learn", f"give at least one {kind} row")


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
