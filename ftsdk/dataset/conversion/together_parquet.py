"""Chat rows as token ids in Together's Parquet, rendered as the trainer renders them.

Each row becomes the sequences that `render` shows to a model: `input_ids`, an `attention_mask` of
ones (nothing is padded) and `labels`, which repeat the tokens that are learned and say -100 to the
others. The trainer moves the labels by one itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.findings.finding import Fault, Findings, Hit
from ftsdk.dataset.findings.registry import RULES, fault_of
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.provider_limits import limits_for
from ftsdk.dataset.row import Read, shape_of
from ftsdk.dataset.rules import chat, content, tools
from ftsdk.dataset.rules.provider import at_provider, row_hits
from ftsdk.dataset.rules.token_counts import RENDER_CODES
from ftsdk.dataset.rules.tokenized import COLUMNS
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import IGNORED, Rendered, RowFault, render_parts
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder
from ftsdk.errors import MissingExtra, UsageError
from ftsdk.util import files

_BATCH = 512
_REGISTERED = (chat, content, tools)  # the rules of chat rows


def write_tokenized(dataset: Dataset, output: Path, tokenizer: Any, max_length: int | None) -> int:
    """Write chat rows as tokens of `tokenizer`; returns the number of sequences.

    `tokenizer` is a model folder, the short name of a pulled model, or a `ChatTokenizer`; rows that
    are tokens already need none. Raises `DatasetError` with every row that cannot be rendered, or
    is longer than `max_length`, and writes nothing then.
    """
    pa, pq = _arrow()
    if output.suffix != ".parquet":
        raise UsageError("tokenized rows are written as Parquet", where=str(output),
                         hint=f"name the file {output.stem}.parquet")  # fmt: skip
    writing = _Writing(dataset, _tokenizer(tokenizer), max_length)
    facts = {} if writing.chat is None else {
        "ftsdk.tokenizer": writing.chat.name, "ftsdk.chat_template_sha256": writing.chat.template_sha256}  # fmt: skip
    schema = pa.schema(
        [
            (name, pa.list_(pa.int64() if name == "labels" else pa.int32()))
            for name in writing.columns()
        ],
        metadata=facts,
    )
    with files.atomic_file(output) as handle:
        with pq.ParquetWriter(handle, schema) as writer:
            for batch in _batches(writing.rows()):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        writing.raise_faults()  # then the file is not put in its place
    return writing.written


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(
            "Writing .parquet files needs the package pyarrow.", hint="pip install 'ftsdk[data]'"
        ) from error
    return pa, pq


def _tokenizer(given: Any) -> ChatTokenizer | None:
    if given is None or isinstance(given, ChatTokenizer):
        return given
    folder = model_folder(given)
    if folder is None:
        raise UsageError(
            f"the tokenizer of {given!r} is not on this machine", where="convert to tokenized",
            hint="name a model folder with tokenizer.json and a chat template, or pull the model: "
            "`ftsdk models pull`",
        )  # fmt: skip
    return ChatTokenizer.from_folder(folder)


class _Writing:
    """One pass: the rows as tokens, and the faults of those that cannot be."""

    def __init__(
        self, dataset: Dataset, chat: ChatTokenizer | None, max_length: int | None
    ) -> None:
        self.dataset, self.chat, self.max_length = dataset, chat, max_length
        self.limits = limits_for("local")  # the same renderer makes its tokens
        self.found = Findings()
        self.read = self.written = 0

    def columns(self) -> tuple[str, ...]:
        """The columns of the file: those of the rendered rows, or all that tokenized rows have."""
        if self.dataset.format != "tokenized":
            return COLUMNS[:3]
        there = {key for row in self.dataset for key in row}
        return tuple(name for name in COLUMNS if name in there)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every tokenized row; after the first fault the rest are only checked."""
        for read in self.dataset._reads():
            self.read += 1
            sequences = self._sequences(read)
            if not self.found.counts:
                self.written += len(sequences)
                yield from sequences

    def raise_faults(self) -> None:
        """Raise `DatasetError` when a row had a fault, or there was none."""
        if not self.read:
            self.found.add(fault_of("FT004", 0, Hit("", f"{self.dataset.name} has no rows")))
        if self.found.counts:
            raise DatasetReport(
                name=self.dataset.name, rows=self.read, faults=tuple(self.found.kept),
                format=self.dataset.format, counts=self.found.counts, row_counts=self.found.rows,
            ).error()  # fmt: skip

    def _sequences(self, read: Read) -> list[dict[str, Any]]:
        shape = shape_of(read.row)
        if shape == "tokens":
            return self._short(read, [read.row]) if self._is_sound(read, "tokens") else []
        if shape != "chat":
            hit = Hit("", f"tokenized rows are made from chat rows, this is a {shape} row")
            self.found.add(fault_of("FT216", read.line, hit, offset=read.offset))
            return []
        if self.chat is None:
            raise UsageError("tokens are made by the base model's own tokenizer, and none was named",
                             where="convert to tokenized", hint="name it: tokenizer=, or --model")  # fmt: skip
        if not read.plain and not self._is_sound(read, "chat"):
            return []
        try:
            parts = render_parts(read.row, self.chat, number=read.line)
        except RowFault as error:
            hit = Hit(self.dataset._field(read, "messages"), error.message)
            code = RENDER_CODES.get(error.code, "FT506")
            self.found.add(fault_of(code, read.line, hit, offset=read.offset))
            return []
        return self._short(read, [_row(part) for part in parts])

    def _is_sound(self, read: Read, shape: str) -> bool:
        """Whether a row has no fault; what tokens cannot carry is one, and all of them are added."""
        before = sum(self.found.counts.values())
        for rule in RULES.values():
            if rule.check and rule.severity == "fault" and rule.shape in (shape, "any"):
                for hit in rule.check(read.row):
                    self.found.add(self._fault(rule.code, read, hit))
        if shape == "chat" and self.limits is not None:
            for code, fact, hit in row_hits(read.row, self.limits):
                self.found.add(at_provider(self._fault(code, read, hit), fact))
        return sum(self.found.counts.values()) == before

    def _fault(self, code: str, read: Read, hit: Hit) -> Fault:
        placed = hit._replace(field=self.dataset._field(read, hit.field))
        return fault_of(code, read.line, placed, offset=read.offset)

    def _short(self, read: Read, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows, or none when one is longer than `max_length`."""
        longest = max(len(row["input_ids"]) for row in rows)
        if self.max_length is None or longest <= self.max_length:
            return rows
        hit = Hit("", f"{longest:,} tokens, max_length is {self.max_length:,}")
        fault = fault_of("FT502", read.line, hit, offset=read.offset)
        self.found.add(replace(fault, severity="fault"))
        return []


def _row(rendered: Rendered) -> dict[str, Any]:
    labels = [
        i if learned else IGNORED for i, learned in zip(rendered.ids, rendered.trained, strict=True)
    ]
    return {"input_ids": list(rendered.ids), "attention_mask": [1] * len(labels), "labels": labels}


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
