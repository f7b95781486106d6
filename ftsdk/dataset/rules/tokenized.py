"""Rules for a tokenized row: Together's Parquet of `input_ids`, `attention_mask` and `labels`.

The columns are those of Together's page on data preparation and of `together.lib.utils.check_file`
(together 3.1.1, read 2026-11-23): `input_ids` and `attention_mask` must be there, `labels` and
`position_ids` may, and no other column.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import note, row_rule
from ftsdk.dataset.row import kind_of
from ftsdk.dataset.tokenize.render import IGNORED

Row = dict[str, Any]

COLUMNS = ("input_ids", "attention_mask", "labels", "position_ids")

_MOST = 2**31 - 1


def _numbers(row: Row, column: str) -> list[int] | None:
    """The column as a list of integers; None when it is anything else."""
    values = row.get(column)
    if isinstance(values, list) and all(type(v) is int for v in values):
        return values
    return None


def _not_numbers(row: Row, column: str) -> Hit:
    values = row.get(column)
    if not isinstance(values, list):
        what = "missing" if values is None else f"{kind_of(values)}, not a list"
        return Hit(column, f"the {column} are {what}", values)
    at = next(i for i, v in enumerate(values) if type(v) is not int)
    return Hit(f"{column}[{at}]", f"{values[at]!r} is no whole number", values[at])


@row_rule("FT140", "fault", "write the ids of the model's own tokenizer, a list of whole numbers a row",
          shape="tokens")  # fmt: skip
def input_ids_are_there(row: Row) -> Iterator[Hit]:
    """The token ids of a row are missing, empty, or invalid.

    `input_ids` is a list of whole numbers, none below zero.
    """
    ids = _numbers(row, "input_ids")
    if ids is None:
        yield _not_numbers(row, "input_ids")
    elif not ids:
        yield Hit("input_ids", "there are no tokens")
    else:
        at = next((i for i, n in enumerate(ids) if not 0 <= n <= _MOST), None)
        if at is not None:
            yield Hit(f"input_ids[{at}]", f"{ids[at]} is no token id", ids[at])


@row_rule(
    "FT141", "fault", "write a 1 for each token, and a 0 for each that is padding", shape="tokens"
)
def attention_mask_fits(row: Row) -> Iterator[Hit]:
    """The attention mask is missing, has another length than the ids, or other values than 0 and 1.

    Together asks for `attention_mask` in every row.
    """
    yield from _as_long(row, "attention_mask", "attention_mask" in row)
    mask = _numbers(row, "attention_mask")
    at = next((i for i, n in enumerate(mask or ()) if n not in (0, 1)), None)
    if "attention_mask" not in row:
        yield Hit("attention_mask", "the attention_mask is missing")
    elif mask is not None and at is not None:
        yield Hit(f"attention_mask[{at}]", f"{mask[at]} is neither 0 nor 1", mask[at])


@row_rule("FT142", "fault", "write one number for each token; -100 leaves the token out of the loss",
          shape="tokens")  # fmt: skip
def labels_fit(row: Row) -> Iterator[Hit]:
    """Labels or positions have another length than the ids, or are not whole numbers.

    A label is a token id, or -100 where the token is not trained.
    """
    for column in ("labels", "position_ids"):
        yield from _as_long(row, column, column in row)
        for i, n in enumerate(_numbers(row, column) or ()):
            if n < 0 and not (column == "labels" and n == IGNORED):
                yield Hit(f"{column}[{i}]", f"{n} is no token id and not -100" if column == "labels"
                          else f"{n} is no position", n)  # fmt: skip
                break


def _as_long(row: Row, column: str, there: bool) -> Iterator[Hit]:
    if not there:
        return
    values, ids = _numbers(row, column), row.get("input_ids")
    if values is None:
        yield _not_numbers(row, column)
    elif isinstance(ids, list) and len(values) != len(ids):
        yield Hit(column, f"{len(values):,} numbers for {len(ids):,} tokens", None)


@row_rule("FT143", "fault", "give the tokens of the answer their own ids as labels", shape="tokens")
def some_label_counts(row: Row) -> Iterator[Hit]:
    """Every label is -100: nothing is trained.

    The first label is never counted, as no token comes before it.
    """
    labels = _numbers(row, "labels")
    if labels and all(n == IGNORED for n in labels[1:]):
        yield Hit("labels", "every label is -100: nothing to learn")


@row_rule("FT144", "notice", "write each token's own id as its label, or -100; the trainer shifts them",
          shape="tokens")  # fmt: skip
def labels_are_the_tokens(row: Row) -> Iterator[Hit]:
    """A label that is neither -100 nor the token at its place.

    The trainer itself shifts labels by one. Labels that are shifted already teach the model to skip
    every other token. A label on padding (attention 0) is learned as well.
    """
    ids, labels = _numbers(row, "input_ids"), _numbers(row, "labels")
    if not ids or labels is None or len(ids) != len(labels):
        return
    odd = [i for i, n in enumerate(labels) if n != ids[i] and n != IGNORED]
    if odd:
        moved = sum(i + 1 < len(ids) and labels[i] == ids[i + 1] for i in odd)
        why = "the labels are moved by one place" if moved > len(odd) / 2 else (
            f"the label {labels[odd[0]]} is at the token {ids[odd[0]]}")  # fmt: skip
        yield Hit(f"labels[{odd[0]}]", f"{why} ({len(odd):,} of {len(ids):,})", labels[odd[0]])
        return
    mask = _numbers(row, "attention_mask")
    at = next(
        (i for i, n in enumerate(mask or ()) if not n and i < len(labels) and labels[i] != IGNORED),
        None,
    )
    if at is not None:
        yield Hit(f"labels[{at}]", "a label counts where the attention mask is 0", labels[at])


@row_rule("FT145", "fault", "leave the column out", shape="tokens")
def columns_are_known(row: Row) -> Iterator[Hit]:
    """An unknown column in tokenized rows.

    Together takes `input_ids`, `attention_mask`, `labels` and `position_ids`, and refuses a file
    with any other column.
    """
    for key in row:
        if key not in COLUMNS:
            yield Hit(key, f"the column {key[:40]!r} is not one of tokenized rows", row[key])


note("FT146", "fault", "A token id that the model's tokenizer does not have",
     "tokenize the rows with the tokenizer of the base model",
     "Checked when the model's tokenizer is on this machine. An id beyond its last token comes "
     "from another tokenizer.")  # fmt: skip


def token_bound(folder: Path) -> int | None:
    """One more than the last token id of a model folder's tokenizer; None when it has none here."""
    path = folder / "tokenizer.json"
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    if not path.is_file():
        return None
    return 1 + max(
        Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True).values(), default=-1
    )


def beyond(row: Row, bound: int, name: str) -> Iterator[Hit]:
    """The first id of a column that is not below `bound`."""
    for column in ("input_ids", "labels"):
        at = next((i for i, n in enumerate(_numbers(row, column) or ()) if n >= bound), None)
        if at is not None:
            number = row[column][at]
            yield Hit(
                f"{column}[{at}]",
                f"the tokenizer of {name} ends at {bound - 1:,}, this is {number:,}",
                number,
            )
