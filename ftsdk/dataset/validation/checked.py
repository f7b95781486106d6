"""The values that a validation pass works on: the opened rows, their target, and what was found."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.findings.finding import Fault, Findings
from ftsdk.dataset.findings.registry import RULES
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.reader import AS_DETECTED, Reading
from ftsdk.dataset.readers.canonical_copy import CanonicalCopy
from ftsdk.dataset.readers.lines import Stop
from ftsdk.dataset.readers.source import Source, open_source
from ftsdk.dataset.row import Read
from ftsdk.dataset.rules.duplicates import Duplicates
from ftsdk.dataset.rules.language import Sample
from ftsdk.dataset.rules.outliers import Outliers
from ftsdk.dataset.rules.token_counts import Counting


@dataclass(frozen=True)
class Opened:
    """A source with the format of its rows, a filter of rows, and the longest row it may have."""

    source: Source
    reading: Reading
    keep: Callable[[Read], bool] | None
    max_row_bytes: int
    name: str


def open_rows(
    source: Any, reading: Reading, name: str | None, max_row_bytes: int
) -> Opened | Fault:
    """Open whatever `Dataset.load` takes; the fault that says why it cannot be opened."""
    if isinstance(source, Dataset):
        return opened_dataset(source, reading, name)
    try:
        opened = open_source(source, name=name)
    except Stop as stop:
        return stop.fault
    return Opened(opened, reading, None, max_row_bytes, opened.name)


def opened_dataset(
    dataset: Dataset,
    reading: Reading = AS_DETECTED,
    name: str | None = None,
) -> Opened:
    """The source of a dataset, read in another way or under another name where one is given."""
    return Opened(dataset._source, dataset._reading.with_more(reading), dataset._keep,
                  dataset.max_row_bytes, name or dataset.name)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """The target of a validation: provider limits, model, method and longest row in tokens."""

    limits: Limits | None = None
    provider: str | None = None
    model: str | None = None
    method: str = "sft"
    max_length: int | None = None
    tokenizer: str | Path | None = None
    allowed: tuple[str, ...] = ()
    """Values that are no findings, by code and pattern (see `rules.secrets.allowed_values`)."""

    def longest_of(self, format_name: str | None) -> int | None:
        """`max_length` for rows of a format: None for plain text where it is trained in pieces."""
        in_pieces = format_name == "text" and self.limits is not None and self.limits.cuts_text
        return None if in_pieces else self.max_length


@dataclass
class Checked:
    """The result of one pass over rows, or over a part of a file; parts can be joined."""

    counting: Counting | None = None
    copy: CanonicalCopy | None = None
    found: Findings = field(default_factory=Findings)
    duplicates: Duplicates = field(default_factory=Duplicates)
    outliers: Outliers = field(default_factory=Outliers)
    sample: Sample = field(default_factory=Sample)
    rows: int = 0
    records: int = 0
    image_rows: int = 0
    format: str | None = None
    facts: dict[str, int] = field(default_factory=dict)
    """What was taken as what, each with the line where it was first."""

    def arrays(self) -> list[array[int]]:
        """The arrays with one number a row, in the order in which a worker sends them."""
        of_rows = self.duplicates
        arrays = [of_rows.prompts, of_rows.answers, of_rows.lines, of_rows.lengths]
        if self.counting is not None:
            counts = self.counting
            arrays += [counts.totals, counts.lines, counts.learned, counts.longest]
        return arrays

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays and the sample, as JSON values for `join`."""
        data: dict[str, Any] = {
            "format": self.format,
            "rows": self.rows,
            "image_rows": self.image_rows,
            "kept": [asdict(fault) for fault in self.found.kept],
            "counts": self.found.counts,
            "row_counts": self.found.rows,
            "texts": self.outliers.texts,
            "scripts": self.outliers.scripts,
            "script_lines": self.outliers.script_lines,
            "facts": self.facts,
        }
        if self.counting is not None:
            data["refused"] = [asdict(fault) for fault in self.counting.refused]
            data["trained"] = self.counting.trained
            data["dropped_reasoning"] = self.counting.dropped_reasoning
            data["exact"] = self.counting.counter.exact
        return data

    def join(self, part: dict[str, Any], arrays: list[array[int]], first_line: int) -> None:
        """Add the result of the next part, whose lines count from `first_line`."""
        self.rows += part["rows"]
        self.records += part["rows"]
        self.image_rows += part["image_rows"]
        kept = (_moved(one, first_line) for one in part["kept"])
        self.found.join(kept, part["counts"], part["row_counts"])
        for fact, line in part["facts"].items():
            self.facts.setdefault(fact, line + first_line)
        self.outliers.join(part["texts"], part["scripts"], part["script_lines"], first_line)
        for whole, more in zip(self.arrays(), arrays, strict=True):
            is_lines = whole is self.duplicates.lines or (
                self.counting is not None and whole is self.counting.lines
            )
            moved = is_lines and first_line
            whole.extend(array(more.typecode, [n + first_line for n in more]) if moved else more)
        self.duplicates.trim()
        if self.counting is not None:
            self.counting.refused.extend(_moved(one, first_line) for one in part["refused"])
            self.counting.trained += part["trained"]
            dropped, line = part["dropped_reasoning"]
            if dropped:
                self.counting.add_dropped(dropped, line + first_line)
            if not part["exact"]:
                self.counting.counter.exact = False


ARRAY_CODES = "qqIIIIII"
"""The type codes of the arrays that `Checked.arrays` lists."""


def _moved(fault: dict[str, Any], first_line: int) -> Fault:
    line = fault["line"] + first_line if fault["line"] else 0
    return Fault(**{**fault, "line": line, "lines": tuple(n + first_line for n in fault["lines"])})


def file_fault(code: str, message: str) -> Fault:
    """A fault of a registered code about a file as a whole."""
    rule = RULES[code]
    return Fault(code=code, severity=rule.severity, line=0, message=message, hint=rule.hint)
