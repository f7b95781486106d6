"""A dataset: rows from anywhere, read lazily into canonical rows, hashed, split and written."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import orjson

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.formats.registry import FORMATS
from ftsdk.dataset.inspection.inspect_rows import findings_of_rows, inspect_rows
from ftsdk.dataset.inspection.report import InspectionReport
from ftsdk.dataset.provider_limits import Limits, limits_for
from ftsdk.dataset.reader import AS_DETECTED, Reading, RowReader
from ftsdk.dataset.readers.canonical_copy import CanonicalCopy
from ftsdk.dataset.readers.lines import DEFAULT_MAX_ROW_BYTES, Stop
from ftsdk.dataset.readers.source import Source, open_source
from ftsdk.dataset.row import Read, Row, canonical_bytes, prompt_of
from ftsdk.dataset.splitting import Key, below, border_of, placer, side_of, stratified
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.errors import StoreError, UsageError
from ftsdk.util import files
from ftsdk.util.arguments import (
    COUNT,
    MAPPING,
    NUMBER,
    PATH,
    TEXT,
    TEXTS,
    WHOLE,
    Check,
    checked,
    is_text,
)
from ftsdk.util.cancellation import until_cancelled

MODEL = Check("a name or a folder", lambda v: is_text(v) or isinstance(v, Path))
TOKENIZER = Check(
    "a folder, the name of an encoding, or a ChatTokenizer",
    lambda v: is_text(v) or isinstance(v, Path | ChatTokenizer),
)
_LIMITS = Check("Limits", lambda v: isinstance(v, Limits))
_GROUP = Check("a key or a function", lambda v: is_text(v) or callable(v))


class Dataset:
    """Rows of one format, iterated as canonical rows (see `ftsdk.dataset.formats.registry`).

    Iterating reads the source each time and keeps one row in memory; the first row that cannot be
    read raises `DatasetError`. `ftsdk.validate` reports all of them instead.
    """

    def __init__(
        self,
        source: Source,
        *,
        reading: Reading = AS_DETECTED,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
        keep: Callable[[Read], bool] | None = None,
    ) -> None:
        self._source = source
        self._reading = reading
        self._keep = keep
        self._copy: CanonicalCopy | None = None
        self._copy_keep = keep  # the rows of the copy are those that it lets through
        self.max_row_bytes = max_row_bytes
        self.name = source.name
        self.path = source.path

    @classmethod
    @checked(format=TEXT, name=TEXT, max_row_bytes=COUNT, map=MAPPING, drop=TEXTS, method=TEXT)
    def load(
        cls,
        source: Any,
        *,
        format: str | None = None,  # noqa: A002  # the public word for it
        map: Mapping[str, str] | None = None,  # noqa: A002  # as `--map`
        drop: Iterable[str] | None = None,
        method: str | None = None,
        name: str | None = None,
        max_row_bytes: int = DEFAULT_MAX_ROW_BYTES,
    ) -> Dataset:
        """A dataset from a path, another `Dataset`, rows, an iterable, a data frame, or a hub.

        Files: `.jsonl`, `.jsonl.gz`, `.jsonl.zst` (or `.gz`, `.zst`), `.json` (an array), `.csv`,
        `.parquet`. A dataset of Hugging Face's hub is named `hf:tatsu-lab/alpaca`, with
        `?config=…&split=…&revision=…` where needed; without a split, `train`. Its name then has the
        commit. Rows in memory are copied. Raises `DatasetError` when there is nothing to read;
        rows are checked when they are read.

        `format` is the row format, where the guess is wrong. `map` says which columns are which
        (`{"question": "prompt", "sql": "completion"}`), `drop` names keys to leave out (`"id"`, or
        `"messages.name"` for a key of every message). `method` (`sft`, `dpo`, `kto`, `orpo`) decides where rows can
        be read as chat and as pairs.
        """
        if isinstance(source, Dataset):
            reading = source._reading.with_more(Reading.of(format, map, drop, method))
            is_same = reading == source._reading or (
                source.has_copy and not (format or map or drop)
            )
            if is_same and name is None:
                return source
            again = cls(
                source._source,
                reading=reading,
                max_row_bytes=source.max_row_bytes,
                keep=source._keep,
            )
            again.name = source.name
            return again
        try:
            opened = open_source(source, name=name)
        except Stop as stop:
            shown = name or (str(source) if isinstance(source, (str, Path)) else "rows")
            raise_stop(shown, stop.fault)
        reading = Reading.of(format, map, drop, method)
        return cls(opened, reading=reading, max_row_bytes=max_row_bytes)

    def with_copy(self, copy: CanonicalCopy, format_name: str | None) -> Dataset:
        """This dataset with its rows, hash and count from a `copy` of them, not from the source.

        `copy` has exactly the rows of this dataset, which are of the format `format_name`.
        """
        copied = Dataset(
            self._source, reading=self._reading, max_row_bytes=self.max_row_bytes, keep=self._keep
        )
        copied.name = self.name
        copied.__dict__.update(format=format_name, _facts=(copy.rows, copy.sha256))
        copied._copy = copy if copy.is_whole else None
        return copied

    @property
    def has_copy(self) -> bool:
        """Whether the rows come from a copy, so that reading them does not read the source."""
        return self._copy is not None

    @property
    def _whole_copy(self) -> CanonicalCopy | None:
        """The copy, when it has exactly the rows of this dataset."""
        return self._copy if self._keep is self._copy_keep else None

    # --- reading ------------------------------------------------------------------------------

    def _reader(self) -> RowReader:
        return RowReader(self._source, self._reading, max_row_bytes=self.max_row_bytes)

    def _reads(self) -> Iterator[Read]:
        for item in self._reader() if self._copy is None else _copied(self._copy):
            if isinstance(item, Fault):
                if item.severity == "fault":
                    raise_stop(self.name, item)
                continue
            if self._keep is None or self._keep(item):
                yield item

    def _field(self, read: Read, canonical: str) -> str:
        """The path in the source of a canonical path of a row; as it is where the row is a copy."""
        if self._copy is not None:
            return canonical
        fmt = replace(FORMATS[self.format or "chat"], columns=self._reading.columns)
        return fmt.field(canonical, read.raw)

    def __iter__(self) -> Iterator[Row]:
        for item in self._reads():
            yield item.row

    @cached_property
    def _facts(self) -> tuple[int, str]:
        digest = hashlib.sha256()
        rows = 0
        for row in self:
            digest.update(canonical_bytes(row))
            digest.update(b"\n")
            rows += 1
        return rows, digest.hexdigest()

    @property
    def rows(self) -> int:
        """The number of rows (reads the source once)."""
        return self._facts[0]

    def __len__(self) -> int:
        return self.rows

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical bytes, as `write_jsonl` writes them (reads the source once)."""
        return self._facts[1]

    @cached_property
    def format(self) -> str | None:
        """The name of the row format, from the first row that has one."""
        reader = self._reader()
        for _ in reader:
            if reader.format is not None:
                break
        return reader.format

    @checked(path=PATH)
    def write_jsonl(self, path: str | Path) -> Path:
        """Write the canonical rows, one JSON object a line, whole or not at all.

        Raises `StoreError` when the file cannot be written.
        """
        target = Path(path)
        try:
            if not target.name or target.is_dir():
                raise UsageError("The rows need a file name", where=str(target))
            self.save(target)
        except OSError as error:
            raise StoreError(
                f"The rows cannot be written: {error.strerror or error}",
                where=str(target),
                hint="give a file in a folder that exists and has space",
            ) from error
        return target

    def save(self, target: Path) -> None:
        """As `write_jsonl`, but raises `OSError`."""
        if self._whole_copy is not None:
            self._whole_copy.save(target)
            return
        with files.atomic_file(target) as handle:
            for row in self:
                handle.write(canonical_bytes(row))
                handle.write(b"\n")

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, container={self._source.container!r})"

    @checked(
        model=MODEL,
        tokenizer=TOKENIZER,
        provider=TEXT,
        max_length=COUNT,
        rows=COUNT,
        line=COUNT,
        limits=_LIMITS,
    )
    def inspect(
        self,
        *,
        model: str | None = None,
        tokenizer: Any = None,
        provider: str | None = None,
        max_length: int | None = None,
        rows: int = 200,
        line: int | None = None,
        limits: Limits | None = None,
    ) -> InspectionReport:
        """The rows as `model` is shown them, token by token, and which tokens are trained.

        `tokenizer` is a model folder or a `ChatTokenizer`; `model` may itself be a folder, or the
        short name of a pulled model. `rows` rows are kept in full, or only the one at `line`.
        `limits` are the provider's dataset limits; without them they are looked up by `provider`.
        Raises `DatasetError` at a row that cannot be read.
        """
        return inspect_rows(
            self._reads(),
            name=self.name,
            model=model,
            tokenizer=tokenizer,
            provider=provider,
            limits=limits or limits_for(provider, model),
            max_length=max_length,
            rows=rows,
            line=line,
        )

    # --- splitting ----------------------------------------------------------------------------

    @checked(fraction=NUMBER, seed=WHOLE, group_by=_GROUP, stratify=_GROUP)
    def split(
        self,
        fraction: float,
        seed: int = 0,
        group_by: Key | None = None,
        stratify: Key | None = None,
    ) -> tuple[Dataset, Dataset]:
        """`(train, validation)`, where about `fraction` of the rows go to validation.

        Rows with the same prompt are always on the same side; case and white space do not count. The
        side depends on the prompt and the seed alone, so a row stays there when you add, remove or
        move other rows. Rows without a prompt, and rows that all have the same one, go by their whole
        content. Chance alone leaves no side empty.

        `group_by` keeps rows together that belong together, such as those of one customer. It is a
        dotted path in the source's row or else in the canonical one (`"metadata.customer"`), or a
        function of the canonical row. `stratify` is a path or function too: it holds out the same
        fraction of each value, such as each label, and at least one where there are two. A number in a
        path is a place in a list: `"messages.-1.content"` is the answer. With `stratify`, a few rows may
        change sides when you add rows.
        """
        if not 0 < fraction < 1:
            raise UsageError(
                f"the fraction {fraction} is not between 0 and 1",
                where="split",
                hint="use 0.1 for a tenth",
            )
        whole = self
        if self._copy is not None and (isinstance(group_by, str) or isinstance(stratify, str)):
            whole = Dataset.load(self, name=self.name)  # the copy has canonical rows alone
        place = placer(seed, group_by or prompt_of)
        border = border_of(fraction, map(place, whole._reads()))
        if border is None and group_by is None:
            place = placer(seed, None)
            border = border_of(fraction, map(place, whole._reads()))
        is_held_out = below(place, fraction if border is None else border)
        if stratify is not None:
            is_held_out = stratified(whole._reads(), place, fraction, stratify)
        sides = []
        for side, inside in (("train", False), ("validation", True)):
            part = Dataset(
                self._source,
                reading=self._reading,
                max_row_bytes=self.max_row_bytes,
                keep=side_of(self._keep, is_held_out, inside=inside),
            )
            part.name = f"{self.name} ({side})"
            part._copy, part._copy_keep = whole._copy, whole._copy_keep
            sides.append(part)
        return sides[0], sides[1]


def inspect(
    source: Any,
    *,
    format: str | None = None,  # noqa: A002  # the public word for it
    map: Mapping[str, str] | None = None,  # noqa: A002  # as `--map`
    drop: Iterable[str] | None = None,
    model: str | None = None,
    tokenizer: Any = None,
    provider: str | None = None,
    max_length: int | None = None,
    rows: int = 200,
    line: int | None = None,
    limits: Limits | None = None,
) -> InspectionReport:
    """As `Dataset.inspect`, for whatever `Dataset.load` takes."""
    return Dataset.load(source, format=format, map=map, drop=drop).inspect(
        model=model,
        tokenizer=tokenizer,
        provider=provider,
        max_length=max_length,
        rows=rows,
        line=line,
        limits=limits,
    )


def findings_of_sample(
    dataset: Dataset, tokenizer: Any, max_length: int | None, rows: int
) -> tuple[Fault, ...]:
    """What the first `rows` rows lose on their way to the model of `tokenizer`; see `inspect`."""
    reads = itertools.islice(dataset._reads(), rows)
    return findings_of_rows(reads, tokenizer, max_length)


def _copied(copy: CanonicalCopy) -> Iterator[Read]:
    for index, raw in enumerate(until_cancelled(copy)):
        yield Read(copy.line_of(index), None, raw, orjson.loads(raw), plain=False)


def raise_stop(name: str, fault: Fault) -> NoReturn:
    """Raise the `DatasetError` of one fault that ends reading."""
    report = DatasetReport(
        name=name, rows=0, faults=(fault,), counts={fault.code: 1}, row_counts={fault.code: 1}
    )
    raise report.error()
